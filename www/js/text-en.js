// English.
const n = (x, one, many) => (x === 1 ? one : many.replace('#', x));

export default {
	// places
	overview: 'Overview', volumes: 'Volumes', servers: 'Servers', files: 'Files', graph: 'Graph', events: 'Events',
	people: 'People', settings: 'Settings', about: 'About', navigation: 'Main', menu: 'Menu', skip: 'Skip to content',
	noSuchPage: 'There is no such page.', noSuchPageHint: 'Choose one on the left.',

	// everywhere
	loading: 'Loading', tryAgain: 'Try again', cancel: 'Cancel', copy: 'Copy', copied: 'Copied', add: 'Add', remove: 'Remove',
	delete: 'Delete', change: 'Change', create: 'Create', done: 'Done', end: 'End', more: 'More', all: 'All', older: 'Older', filter: 'Filter',
	name: 'Name', state: 'State', size: 'Size', used: 'Used', free: 'Free', address: 'Address', host: 'Host', label: 'Label', role: 'Role',
	actions: 'Actions', details: 'Details', data: 'Data', parity: 'Parity', stale: 'Stale', saved: 'Saved',
	previous: 'Previous', next: 'Next', firstPage: 'First page', lastPage: 'Last page', pages: 'Pages', asTable: 'As a table',
	typeName: (name) => `Type the name ${name} to go on`,
	usedOf: (a, b) => `${a} of ${b}`, freeOf: (a, b) => `${a} free of ${b}`, ofN: (a, b) => `${a} of ${b}`, fromToOf: (a, b, c) => `${a}–${b} of ${c}`,
	offline: 'volmgr does not answer.', offlineHint: 'Is it running, and is the network there? The page goes on by itself when it is back.',
	shownIsOld: 'What is shown below is what was known last.', noConnection: 'No connection', strangeAnswer: (s) => `volmgr gave a strange answer (${s}).`,
	tooLarge: 'Something between this browser and volmgr lets nothing of this size through (413). A reverse proxy must pass bodies of 8 MiB: see weft-web(7).',
	nothingFits: 'Nothing fits', nothingFitsText: 'Try a shorter word.', noCharts: 'This installation is without the library for charts.',

	// overview
	fine: 'Everything is fine.', noServersYet: 'There are no servers yet.', noServersYetHint: 'Start nbdsrv on some disks, and add them here.',
	noVolumesYetHint: 'Next: make a volume.', startHere: 'Start here', startHereText: 'A server is one disk. With six of them a volume can lose any two.',
	serversAway: (a, b) => n(a, `1 of ${b} servers cannot be reached.`, `# of ${b} servers cannot be reached.`),
	serversAwayHint: 'Start nbdsrv there, or look at the network. Nothing is lost; data that was missed is rebuilt.',
	capacity: 'Space', rawTotal: 'raw', usableWith: (k, m) => `still fits with ${k} + ${m}`, biggest: 'Largest volumes', recent: 'Last events', activity: 'Activity',
	redundancy: 'Redundancy left', moreServers: (x) => n(x, '1 server', '# servers'), redundancyLess: (x) => n(x, '1 is away already', '# are away already'),
	redundancyFull: 'may be lost at any time', redundancyRebuild: 'may be lost until shards are rebuilt', redundancyLeast: (name) => `may be lost: volume ${name} has no shards to spare`, redundancyNone: (name) => `parts of volume ${name} cannot be read now`, throughput: 'Throughput', requests: 'Requests', latency: 'Latency (99 %)', latency99: 'Latency (99 %)', readLatency: 'Latency (mean)', rebuild: 'Rebuild', rebuildBytes: 'Traffic',
	reads: 'Reads', writes: 'Writes', readsWrites: (r, w) => `${r} reads, ${w} writes`, latencyBoth: (r, w) => `reads ${r}, writes ${w}`,
	clients: 'Clients', clientsN: (x) => n(x, '1 client', '# clients'), routed: 'Routed reads', routedShare: (x) => `${x} % went straight to servers`, serversUp: 'servers are up',
	timeSpan: 'Time span', time: 'Time', span_hour: '30 min', span_day: '1 day',

	// volumes
	newVolume: 'New volume', findVolume: 'Find a volume', sortBy: 'Sort by', byName: 'By name', byBusy: 'Busiest first', byUsed: 'Fullest first',
	bySize: 'Largest first', byState: 'Troubled first', profile: 'Shards', kPlusM: (k, m) => `${k} + ${m}`,
	noVolumes: 'No volumes yet', noVolumesText: 'A volume is a disk for other machines. Its data is spread over several servers, so that some may fail.',
	nameHint: 'Letters, digits, dots, hyphens; clients use this name.', sizeHint: 'As 10G or 1.5T. Space is taken only when it is written.',
	noSize: 'Write a size as 10G, 512M or 1.5T.', dataShards: 'Data shards (k)', parityShards: 'Parity shards (m)', unit: 'Stripe unit',
	unitHint: '64 KiB suits most. Smaller for small random writes, larger for large reads.', createVolume: 'Create volume', whatItMeans: 'What it means',
	stripePicture: (k, m) => `A stripe: ${k} data shards and ${m} parity shards, each on another server`, serverN: (i) => `server ${i}`, missing: 'missing',
	noLoss: 'No server may be lost: this is for what can be made again.',
	mayLose: (m, all) => n(m, `Any one of the ${all} servers may be lost, with its data.`, `Any # of the ${all} servers may be lost at the same time, with their data.`),
	mayLoseShort: (m) => n(m, 'one server may be lost', '# servers may be lost'),
	hostMayGo: (h) => `Any one of the ${h} hosts may fail, with all its servers.`, hostMayNotGo: (x, h) => n(h, 'All servers are on one host: when it fails, the volume waits for it.', `A host may hold ${x} shards of the same data: more hosts would make this safer.`),
	costs: (x) => `1 GiB of data takes ${x} GiB of disks.`, usableNow: (x) => `The free space here holds ${x}.`,
	speedMirror: 'Whole copies: fast small writes, most space used.', speedUsual: 'Small writes touch one data and all parity shards; large ones are written at the speed of many disks.',
	speedWide: 'Many shards save space and read fast; small writes and rebuilds touch more servers.',
	tooFewServers: (need, have) => `This needs ${need} servers that are up, and there are ${have}.`,
	thinTooBig: (size, usable) => `${size} is more than fits now (${usable}). It can be made; add servers before it is full.`,
	volumeCreated: (x) => `Volume ${x} is there.`,

	// a volume
	volumeFailed: (why) => `This volume cannot be used: ${why}`, volumeNotReady: (s) => `This volume is ${s}: clients wait.`,
	volumeEndangered: 'Parts of it cannot be read until more servers are back.', volumeLost: (x) => n(x, 'Blocks of one extent cannot be decoded any more.', 'Blocks of # extents cannot be decoded any more.'), volumeLostHint: 'Everything else can be used. The messages of volmgr say where: restore that from a backup, or bring back a server that is away.',
	volumeRebuilds: (left) => `Not all of its shards are good yet. ${left > 0 ? n(left, 'One server may be lost.', '# servers may be lost.') : 'No server may be lost now.'}`,
	volumeLess: (a, left) => `${n(a, '1 server is away', '# servers are away')}. ${left > 0 ? n(left, 'One more may be lost.', '# more may be lost.') : 'No other may be lost now.'}`.replace('#', a),
	volumeFine: (m) => (m === 0 ? 'Everything is there.' : n(m, 'Everything is there: any server may be lost.', 'Everything is there: any # servers may be lost.')),
	extents: 'Extents', extent: 'Extent', shards: 'Shards', minShards: 'Writes need', degradedReads: 'Degraded reads', crcErrors: 'Checksum failures', waiting: 'Waiting requests',
	attachTitle: 'Attach', attachHere: 'This machine', attachNear: 'It is served on the machine of volmgr only. Start volmgr with --listen tcp:0.0.0.0:10809 for other machines.',
	attachHereText: 'On the machine that volmgr runs on:', attachNow: 'Attach here', detachNow: 'Detach', attachedAs: (x) => `It is attached on the machine of volmgr as ${x}.`, attached: (x) => `${x} is attached.`, detached: (x) => `${x} is detached.`, mkfsHint: 'Make the file system once only; it deletes what is there.', detachText: 'To detach:',
	attachLinux: 'On another Linux machine:', attachQemu: 'As a disk of a virtual machine:', attachWindows: 'With WNBD (the Windows driver of Ceph), as administrator:',
	attachWindowsHint: 'Then make it online and format it in Disk Management.', attachTools: 'With programs that speak NBD:',
	resize: 'Resize', resizeTitle: (x) => `Resize ${x}`, resizeText: (x) => `It has ${x} now. Growing is safe while it is in use; afterwards let the file system grow too (resize2fs, xfs_growfs).`,
	newSize: 'New size', shrink: 'Make it smaller: what lies behind the new end is lost', resized: (x) => `${x} has its new size.`,
	deleteTitle: (x) => `Delete ${x}?`, deleteText: (x) => `The volume and the ${x} written on it are gone then. This cannot be undone.`,
	deleteClients: (x) => n(x, 'A client is using it.', '# clients are using it.'), deleted: (x) => `${x} is deleted.`,
	extentsTitle: 'Where it is', extentsText: (x) => `Each extent (a column) lies on ${x} servers (rows).`, noExtents: 'Nothing has been written yet.',
	extentsFrom: (a, b) => `Extents ${a}–${b}`, mapWords: (x, s, stale) => `${x} extents on ${s} servers; ${stale} shards are stale`,
	cellEmpty: (x, s) => `Extent ${x} has no shard on ${s}`, cellShard: (x, s, i, slot, stale) => `Extent ${x}, shard ${i} on ${s}, slot ${slot}${stale ? ', stale' : ''}`,

	rebuildingShards: (x) => n(x, 'One shard is being rebuilt.', '# shards are being rebuilt.'), rebuildProgress: 'Progress of the rebuild', movingShards: (x) => n(x, 'One shard goes to another server.', '# shards go to other servers.'), movingProgress: 'Progress of the moves', timeLeft: (x) => `${x} left`,
	settingsOf: (x) => `Settings of ${x}`, minOf: (a, b) => `${a} of ${b} shards`, minHint: (a, b) => `From ${a} to ${b}. More is safer, fewer lets writes go on longer when servers are away.`, belowMin: 'With fewer', below_wait: 'writes wait', below_fail: 'writes fail',
	whenFull: 'When servers are full', full_error: 'writes fail', full_wait: 'writes wait', scrub_: 'Scrub', scrubText: 'Reads everything, checks it, and repairs what is damaged.', scrubNow: 'Scrub now', stop: 'Stop', lastTime: 'Last time', looked: 'Looked through', badBlocks: 'Damaged blocks', lostRows: 'Not repairable',

	// servers
	addServer: 'Add server', addServerText: 'Start nbdsrv on the machine with the disk, with the cluster\'s secret:', addressHint: 'HOST:PORT, or unix:/path on this machine.',
	serverNameHint: 'Empty: server-1, server-2, …', hostHint: 'Shards are spread over hosts. Empty: from the address.', serverAdded: (x) => `${x} is added.`,
	noServers: 'No servers yet', noServersText: 'A server is one disk, or one folder of it, that nbdsrv looks after.', sizeUnknown: 'size not known yet',
	errorsN: (x) => n(x, '1 error', '# errors'), drain: 'Drain', replace: 'Replace', drainTitle: (x) => `Drain ${x}?`, drainText: 'Its shards move to other servers, while everything goes on. Then it can be removed.',
	moveServer: 'Change address', moveServerTitle: (x) => `Where is ${x} now?`, moveServerText: 'When its machine has another address, or its disk is in another machine. It must run there, with the same store. Only what was written meanwhile is made anew.', serverMoved: (x, to) => `${x} is at ${to}.`,
	drainStopTitle: (x) => `Stop draining ${x}?`, drainStopText: 'What has moved stays where it is.', replaceTitle: (x) => `Replace ${x}`, replaceText: 'All its shards move to one other server.', replaceBy: 'By',
	lostForGood: 'It is lost for good: make its shards anew on others', removeBegun: (x) => `${x} is being emptied, and removed after that.`,
	wrongStore: 'Another store answers under this address.', serverAway: (s) => `This server is ${s}.`, serverAwayHint: (a) => `Start nbdsrv there (${a}), or look at the network.`,
	serverErrors: 'Its disk has shown errors. What was read was checked and given from other servers; think of a new disk.', serverFine: 'It is up and has shown no errors.',
	badBlocksText: (b) => `It gave back ${n(b, '1 damaged block', '# damaged blocks')}. The data came from other servers.`, badBlocksHint: 'Scrub the volumes. When that finds no more here, this ends.', repairedBlocks: 'Repaired blocks',
	space: 'Space', flushes: 'Flushes', ioErrors: 'Disk errors', log: 'Log', store: 'Store',
	removeServerTitle: (x) => `Remove ${x}?`, removeServerText: 'It is taken out of the cluster. Its files stay on its disk.',
	removeServerHolds: (x) => n(x, 'It holds 1 shard: volmgr will refuse.', 'It holds # shards: volmgr will refuse while volumes need them.'), serverRemoved: (x) => `${x} is removed.`,
	power: 'Power', powerOf: (x) => `Power of ${x}`, powerText: (a, b) => `Servers that are up: ${a} of ${b}.`, powerAction: 'What to do', power_stop: 'Stop its servers', power_start: 'Start its servers', power_off: 'Shut the host down', power_wake: 'Wake the host', powerDo: 'Do it', powerDone: (x) => `The command for ${x} has ended well.`,
	powerNone: 'volmgr has no commands for this: give it some in weft.conf, as weft-web(7) shows.', powerUnavailable: (x) => n(x, 'Without it, parts of one volume cannot be read until it is back.', 'Without it, parts of # volumes cannot be read until it is back.'), powerWaiting: (x) => n(x, 'Without it, writes to one volume wait until it is back.', 'Without it, writes to # volumes wait until it is back.'),
	powerLess: (x) => n(x, 'All volumes go on. One of them survives the loss of fewer servers until it is back.', 'All volumes go on. # of them survive the loss of fewer servers until it is back.'), powerSafe: 'No volume needs it.', powerAnyway: 'Do it all the same',

	// events
	noEvents: 'No events yet', noEventsText: 'What people do and what happens to servers is noted here.', byWhom: (x) => `by ${x}`, byItself: 'by itself', fromAddress: (x) => `from ${x}`,

	// logging in
	logIn: 'Log in', logOut: 'Log out', password: 'Password', register: 'Register', join: 'Welcome', joinText: 'You were invited. Choose a name and a password.',
	joinSubmit: 'Begin', personNameHint: 'Letters, digits, dots, hyphens.', passwordHint: 'At least 8 characters; several words are good.',
	registerText: 'Choose a name and a password.', registerApproval: 'Choose a name and a password. An admin has to approve.', registered: 'Thank you. You can log in when an admin has approved.',
	haveAccount: 'I have an account', nobodyYet: 'Nobody can log in yet', nobodyYetText: 'On the machine of volmgr, this prints a link that makes you the first admin:',
	sessionEnded: 'You are logged out.',

	// people
	account: 'Your account', youAre: (x, r) => `You are ${x} (${r}).`, changePassword: 'Change password', oldPassword: 'Old password', newPassword: 'New password', passwordChanged: 'The password is changed.',
	sessions: 'Where you are logged in', endOthers: 'End all others', endOthersTitle: (x) => n(x, 'End the other session?', 'End # other sessions?'), endOthersText: 'Whoever uses them has to log in again.', thisOne: 'this one', seenAgo: (x) => `last used ${x}`, noLabel: 'unnamed', tokens: 'Tokens for scripts', newToken: 'New token', noTokens: 'None.',
	tokenText: 'A script sends it as "Authorization: Bearer …".', days: 'Days until it ends', tokenMade: 'Your token', tokenOnce: 'It is shown only now: copy it.', endsAt: (x) => `ends ${x}`,
	everybody: 'Everybody', invite: 'Invite', inviteText: 'Makes a link. Whoever opens it first chooses a name and a password. It ends after a week.', inviteLabelHint: 'For whom it is, so that you remember.',
	inviteMade: 'The link', inviteOnce: 'It is shown only now: copy it and pass it on.', rolesHint: 'Admins may do everything, users have files, readers only look.', invitations: 'Open invitations',
	setPassword: 'New password', setPasswordFor: (x) => `New password for ${x}`, roleOf: (x) => `Role of ${x}`, waits: 'waits', approve: 'Approve', active: 'active', lastLogin: 'Last login', never: 'never', you: 'you',
	removePersonTitle: (x) => `Remove ${x}?`, removePersonText: 'Sessions, tokens and shares end at once. Files stay.', noPeople: 'Nobody yet', noPeopleText: 'Invite somebody.', guestText: 'You look as a guest. Log in to do more.',

	// spaces, shares
	spaces: 'Spaces', ownSpace: 'My space', newSpace: 'New space', spaceHint: 'As photos/2024; empty for everything.', forWhom: 'For', right: 'May', toLook: 'to look at', toChange: 'to change', mayLook: 'look', mayWrite: 'change it', mayChangeIt: 'do everything with it', mayWriteHint: 'Nobody takes away what was shared: it comes back from your bin.',
	spacesOn: 'Everybody has a folder of their own. These are there besides.', spacesOff: 'Everybody sees all files. Spaces count when everybody has files of their own:', removeSpaceTitle: (x) => `Take the space ${x} away?`, removeSpaceText: 'Its files stay. What was shared from it ends.',
	spacesSetting: 'Everybody has files of their own', spacesHint: 'Admins see all files; others their own folder, spaces that you give them, and what is shared with them. Guests see no files then. Without it everybody sees all of them.',
	share: 'Share', shares: 'Shares', shareTitle: (x) => `Share ${x}`, shareWith: 'With', byLink: 'Whoever has a link', shareHint: 'A link is for anybody who gets it, without logging in.', shareDaysHint: 'A link has to end; with a person it need not.', linkLabelHint: 'For whom it is, so that you remember.',
	linkMade: 'The link', linkOnce: 'It is shown only now: copy it and pass it on.', sharedWith: (x) => `Shared with ${x}`, received: 'Received', given: 'Given', nothingReceived: 'Nobody has shared anything with you.', nothingGiven: 'You share nothing. Mark a file or folder under Files, then choose Share.',
	endShare: 'End', takeOff: 'Take off the list', withWhom: (x) => `with ${x}`, linkFor: (x) => `link: ${x}`, noEnd: 'without an end', shareGone: 'in the bin', shareOver: 'over',
	sharedBy: (x) => `Shared by ${x}`, linkEnded: 'This link has ended', linkEndedText: 'Ask who gave it to you for a new one.',

	// settings
	thisBrowser: 'This browser', language: 'Language', appearance: 'Appearance', asSystem: 'As the system', light: 'Light', dark: 'Dark', forAll: 'For everybody',
	registration: 'Registration', registration_off: 'Nobody can register', registration_approval: 'With approval by an admin', registration_open: 'Everybody can', registrationHint: 'Invitations work in any case.',
	guests: 'Guests may look', guestsHint: 'Who is not logged in sees everything, and changes nothing.', metrics: 'Metrics without a token', metricsHint: 'Prometheus can read /metrics without logging in.',

	// about
	version: 'Version', runningFor: 'Running for', cluster: 'Cluster', erasureCode: 'Erasure code', nbdAddresses: 'NBD addresses', webAddress: 'Web address',
	forScripts: 'For scripts', forScriptsText: 'Everything here is done by an API that scripts can use too.', manApi: 'describes the API.', manVolctl: 'is the command line.', manMetrics: 'is for Prometheus.',
	licences: 'With thanks to', licencesText: 'This page uses:', licenceTexts: 'Their licences',

	// files
	allFiles: 'All files', folder: 'Folder', newFolder: 'New folder', upload: 'Upload', download: 'Download', downloadZip: 'Download as zip', rename: 'Rename', move: 'Move', open: 'Open', undo: 'Undo', close: 'Close', clear: 'Clear', mark: 'Mark', markAll: 'Mark all', asGraph: 'As a graph', onlyThese: 'Only these', onlyWith: 'Only with this', graphFound: 'What was found', foundN: (x, all) => n(all, '1 found', `${x} found`), entriesN: (x, all) => n(all, '1 entry', `${x} entries`),
	factNames: { codec: 'Codec', width: 'Width', height: 'Height', duration: 'Duration', bitrate: 'Bit rate', samplerate: 'Sample rate', channels: 'Channels', title: 'Title', artist: 'Artist', album: 'Album', author: 'Author', pages: 'Pages', words: 'Words', language: 'Language', encoding: 'Encoding', camera: 'Camera', taken: 'Taken', lines: 'Lines', subject: 'Subject', from: 'From', to: 'To', entries: 'Entries' },
	searchFiles: 'Search: words, tags, names', anyKind: 'Any kind', anyDate: 'Any date', anySize: 'Any size', lastWeek: 'Last week', lastMonth: 'Last month', thisYear: 'This year', thumbnails: 'Pictures',
	sort_best: 'Best first', sort_name: 'By name', sort_newest: 'Newest first', sort_oldest: 'Oldest first', sort_largest: 'Largest first', sort_smallest: 'Smallest first',
	kind: 'Kind', changed: 'Changed', path: 'Path', type: 'Type', tag: 'Tag', tags: 'Tags', newTag: 'New tag', notRead: 'Not read', beingRead: 'being read', filesN: (x) => (x === '1' ? '1 file' : `${x} files`),
	emptyFolder: 'Nothing in here', emptyFolderText: 'Drop files or folders here, or use Upload.', emptyFolderRead: 'Somebody has to put something here.', searchHint: 'Try fewer words. tag:, name:, kind:, size: and date: narrow a search; - leaves out.',
	markOne: (x) => `Mark ${x}`, markedN: (x) => `${x} marked`, archiveMax: (x) => `One zip takes at most ${x}: mark their folder instead.`, deletedN: (x) => n(x, '1 deleted', '# deleted'), tagged: (x) => n(x, '1 file changed', '# files changed'),
	moveTitle: (x) => n(x, 'Move one file', 'Move # files'), moveHint: 'The folder, as photos/2024; empty for the top.', tagTitle: (x) => n(x, 'Tags of one file', 'Tags of # files'), addTags: 'Add', removeTags: 'Take away', tagsHint: 'With commas between them.',
	bin: 'Bin', binEmpty: 'The bin is empty', binText: (x) => n(x, 'What is deleted is kept for a day, less when space is short.', 'What is deleted is kept for # days, less when space is short.'), binHolds: (x) => `It holds ${x}.`, deletedWhen: 'Deleted', keptUntil: 'Kept until', restore: 'Put back', restoredTo: (x) => `Back as ${x}`,
	emptyBin: 'Empty the bin', emptyBinTitle: (x) => n(x, 'Delete what is in the bin for good?', 'Delete all # in the bin for good?'), deleteForGood: 'Delete for good', forGoodTitle: (x) => `Delete ${x} for good?`, forGoodText: 'This cannot be undone.',
	pickTags: 'Filter by tags', pickedTags: (x) => n(x, 'Filtered by one tag', 'Filtered by # tags'), findTag: 'Find a tag', noTags: 'There are no tags.',
	uploaded: 'uploaded', paused: 'paused', pause: 'Pause', resume: 'Go on', uploadsLeft: (x) => n(x, 'One upload', '# uploads'), uploadsDone: 'Everything is uploaded', uploadFolder: 'Upload folder', pauseAll: 'Pause all', resumeAll: 'Go on with all', replaceAll: 'Replace all', bothAll: 'Keep all',
	uploadExists: 'There is one of this name already.', uploadReplace: 'Replace', uploadBoth: 'Keep both', uploadLost: 'choose the file again to go on', uploadChoose: 'Choose the file', uploadOther: (x) => `${x} is another file, or has been changed.`, uploadBroken: (why) => `${why}; it goes on by itself`, uploadsAll: (a, b) => `All uploads: ${a} of ${b}`,
	scrub: 'Look through the film', onlyBeginning: 'Only the beginning is shown.', noPreview: 'There is no preview of this kind of file.', noPlayer: 'This browser cannot play it. Another program may: download it.', alike: 'Alike', sharesTag: (x) => `also ${x}`, tagFrom: (s, f) => `found in its ${s}; ${f} files have it`,

	// graph
	noGraph: 'This installation is without the library for graphs.', graphPicture: 'The graph; the same is in the list below', graphCount: (f, g, e) => `${f} files, ${g} tags, ${e} lines`, graphFind: 'Start from a tag or a file', wholeGraph: 'Whole graph', reset: 'Reset',
	expand: 'Expand', startFrom: 'Start from here', graphStart: 'Where to start?', graphStartText: 'Choose a tag or a file above. Click a node to see what it is, expand it to see what is around it.', graphPart: (a, b) => `${a} of ${b} files: those with most relations.`, graphWhole: 'Everything there is.', otherKinds: 'other',

	// words of the API
	states: { ok: 'fine', degraded: 'degraded', failed: 'failed', 'low on space': 'low on space', rebuilding: 'rebuilding', repaired: 'repaired', waiting: 'waiting', unavailable: 'unavailable', up: 'up', down: 'down', connecting: 'connecting', 'wrong store': 'wrong store',
		ready: 'ready', starting: 'starting', opening: 'opening', deleting: 'being deleted' },
	sentences: { 'low on space': 'Less than a tenth of the space is free.', unavailable: 'Too many servers are away: some data cannot be read until they are back.' },
	roles: { admin: 'admin', user: 'user', 'read-only': 'reader', none: 'guest' },
	kinds: { unknown: "unknown", folder: "folder", link: "link", special: "special", empty: "empty", text: "text", source: "source code", page: "web page", document: "document", mail: "mail", image: "picture", audio: "sound", video: "film", archive: "archive", program: "program", font: "font", data: "data" },
	whys: { tags: "same tags", text: "similar text", picture: "similar picture", link: "linked", folder: "same folder" },
	scrubs: { never: 'never scrubbed', waiting: 'waiting', running: 'running', stopped: 'stopped', done: 'done' },
	duties: { draining: 'It is being emptied.', drained: 'It is empty.', replaced: 'Another server takes its place.', lost: 'It is lost: its shards are made anew on others.' },
	refusals: {},
	eventTexts: {
		'volmgr.started': () => 'volmgr was started',
		'server.added': (x) => `Server ${x} was added`, 'server.removed': (x) => `Server ${x} was removed`,
		'server.up': (x) => `Server ${x} is up again`, 'server.down': (x) => `Server ${x} is away`, 'server.older': (x) => `Server ${x} came back with an older store`,
		'server.changed': (x) => `Server ${x} is somewhere else now`, 'server.drained': (x) => `Server ${x} is to be drained`, 'server.emptied': (x) => `Server ${x} is empty, and may be removed`, 'server.replaced': (x) => `Server ${x} is to be replaced`, 'server.lost': (x) => `Server ${x} was given up as lost`,
		'volume.created': (x, d) => `Volume ${x} was made (${d})`, 'volume.changed': (x, d) => `Volume ${x} was changed (${d})`, 'volume.deleted': (x) => `Volume ${x} was deleted`,
		'cluster.recovered': () => 'The metadata was recovered from the servers',
		'volume.attached': (x, d) => `Volume ${x} was attached here (${d})`, 'volume.detached': (x) => `Volume ${x} was detached here`, 'command.failed': (x, d) => `A command for ${x} failed: ${d}`,
		'host.stopped': (x) => `The servers of ${x} were stopped`, 'host.started': (x) => `The servers of ${x} were started`, 'host.off': (x) => `${x} was shut down`, 'host.woken': (x) => `${x} was woken`,
		'scrub.ordered': () => 'A scrub was ordered',
		login: (x) => `${x} logged in`, 'login.failed': (x) => `Wrong password for ${x}`,
		'person.registered': (x) => `${x} joined`, 'person.added': (x) => `${x} was added`, 'person.approved': (x) => `${x} was approved`,
		'person.role': (x, d) => `${x} has the role ${d} now`, 'person.password': (x) => `The password of ${x} was changed`, 'person.removed': (x) => `${x} was removed`,
		'token.added': (x) => `A token was made: ${x}`, 'token.removed': (x) => `A token was removed: ${x}`, 'session.removed': () => 'A session was ended',
		'invitation.added': () => 'An invitation was made', 'invitation.removed': () => 'An invitation was withdrawn', 'settings.changed': () => 'Settings were changed',
		'file.deleted': (x, d) => `A file was deleted: ${d}`, 'file.restored': (x, d) => `Taken back from the bin: ${d}`, 'bin.emptied': (x, d) => (d ? `Deleted for good: ${d}` : 'The bin was emptied'), 'space.added': (x, d) => `A space was given to ${x || 'everybody'}: ${d}`, 'space.removed': (x, d) => `A space was taken away: ${d}`, 'share.added': (x, d) => (x ? `Shared with ${x}: ${d}` : `Shared by a link: ${d}`), 'share.removed': (x, d) => `A share was ended: ${d}`, 'share.left': (x, d) => `${x} took a share off the list: ${d}`, 'share.opened': (x, d) => `A link was opened: ${d}`,
		'file.moved': (x, d) => `A file was moved: ${d}`, 'folder.made': (x, d) => `A folder was made: ${d}`,
		'tag.renamed': () => 'A tag was renamed', 'tag.deleted': () => 'A tag was deleted',
	},
};
