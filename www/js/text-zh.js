// Simplified Chinese.
export default {
	// places
	overview: '概览', volumes: '卷', servers: '服务器', files: '文件', graph: '关系图', events: '事件',
	people: '用户', settings: '设置', about: '关于', navigation: '主导航', menu: '菜单', skip: '跳到内容',
	noSuchPage: '没有这个页面。', noSuchPageHint: '请从导航中选择。',

	// everywhere
	loading: '加载中', tryAgain: '重试', cancel: '取消', copy: '复制', copied: '已复制', add: '添加', remove: '移除',
	delete: '删除', change: '修改', create: '创建', done: '完成', end: '结束', more: '更多', all: '全部', older: '更早的', filter: '筛选',
	name: '名称', state: '状态', size: '大小', used: '已用', free: '可用', address: '地址', host: '主机', label: '备注', role: '角色',
	actions: '操作', details: '详情', data: '数据', parity: '校验', stale: '过期', saved: '已保存',
	previous: '上一页', next: '下一页', pages: '分页', asTable: '以表格显示',
	typeName: (name) => `请输入名称 ${name} 以继续`,
	usedOf: (a, b) => `${a} / ${b}`, freeOf: (a, b) => `可用 ${a},共 ${b}`, ofN: (a, b) => `${a} / ${b}`, fromToOf: (a, b, c) => `${a}–${b},共 ${c}`,
	offline: 'volmgr 没有响应。', offlineHint: '它在运行吗?网络正常吗?恢复后页面会自动继续。',
	noConnection: '连接中断', strangeAnswer: (s) => `volmgr 返回了异常应答(${s})。`,
	nothingFits: '没有匹配项', nothingFitsText: '请换一个更短的词。', noCharts: '此安装没有图表库。',

	// overview
	fine: '一切正常。', noServersYet: '还没有服务器。', noServersYetHint: '请在一些磁盘上启动 nbdsrv,然后在这里添加。',
	noVolumesYetHint: '下一步:创建一个卷。', startHere: '从这里开始', startHereText: '一台服务器就是一块磁盘。有六台时,卷可以承受任意两台丢失。',
	serversAway: (a, b) => `${b} 台服务器中有 ${a} 台无法连接。`,
	serversAwayHint: '请在那里启动 nbdsrv,或检查网络。数据没有丢失;缺少的部分会重建。',
	capacity: '空间', rawTotal: '原始总量', usable42: '按 4+2 可用', biggest: '最大的卷', recent: '最近事件', activity: '活动',
	redundancy: '剩余冗余', moreServers: (x) => `${x} 台服务器`, redundancyLess: (x) => `已有 ${x} 台离线`,
	redundancyFull: '可随时丢失', throughput: '吞吐量', requests: '请求', latency: '延迟(99 %)', latency99: '延迟(99 %)',
	reads: '读', writes: '写', readsWrites: (r, w) => `读 ${r},写 ${w}`, latencyBoth: (r, w) => `读 ${r},写 ${w}`,
	clients: '客户端', clientsN: (x) => `${x} 个客户端`, routed: '路由读取', routedShare: (x) => `${x} % 直接来自服务器`, serversUp: '台服务器在线',
	timeSpan: '时间范围', time: '时间', span_hour: '30 分钟', span_day: '1 天',

	// volumes
	newVolume: '新建卷', findVolume: '查找卷', sortBy: '排序', byName: '按名称', byBusy: '最忙的在前', byUsed: '用得最多的在前',
	bySize: '最大的在前', byState: '有问题的在前', profile: '分片', kPlusM: (k, m) => `${k} + ${m}`,
	noVolumes: '还没有卷', noVolumesText: '卷是供其他机器使用的磁盘。数据分布在多台服务器上,因此部分服务器可以出故障。',
	nameHint: '字母、数字、点和连字符;客户端使用此名称。', sizeHint: '例如 10G 或 1.5T。写入时才占用空间。',
	noSize: '请按 10G、512M 或 1.5T 的形式填写大小。', dataShards: '数据分片 (k)', parityShards: '校验分片 (m)', unit: '条带单元',
	unitHint: '64 KiB 适合大多数情况。小的随机写入用较小值,大块读取用较大值。', createVolume: '创建卷', whatItMeans: '含义',
	stripePicture: (k, m) => `一个条带:${k} 个数据分片和 ${m} 个校验分片,各在不同服务器上`, serverN: (i) => `服务器 ${i}`, missing: '缺少',
	noLoss: '不能丢失任何服务器:仅用于可以重新生成的数据。',
	mayLose: (m, all) => `${all} 台服务器中任意 ${m} 台可以同时丢失,数据不受影响。`,
	mayLoseShort: (m) => `可丢失 ${m} 台服务器`,
	hostMayGo: (h) => `${h} 台主机中任意一台可以整机故障。`, hostMayNotGo: (x, h) => (h === 1 ? '所有服务器都在一台主机上:它出故障时,卷会等待它恢复。' : `一台主机可能存有同一数据的 ${x} 个分片:主机越多越安全。`),
	costs: (x) => `1 GiB 数据占用 ${x} GiB 磁盘空间。`, usableNow: (x) => `现有可用空间可存放 ${x}。`,
	speedMirror: '完整副本:小块写入快,占用空间最多。', speedUsual: '小块写入涉及一个数据分片和全部校验分片;大块写入可达到多块磁盘的速度。',
	speedWide: '分片多则省空间、读取快;小块写入和重建涉及更多服务器。',
	tooFewServers: (need, have) => `需要 ${need} 台在线服务器,现有 ${have} 台。`,
	thinTooBig: (size, usable) => `${size} 超过现在能存放的 ${usable}。可以创建;请在写满之前添加服务器。`,
	volumeCreated: (x) => `卷 ${x} 已创建。`,

	// a volume
	volumeFailed: (why) => `此卷不可用:${why}`, volumeNotReady: (s) => `此卷${s}:客户端正在等待。`,
	volumeEndangered: (a, m) => `${a} 台服务器离线,最多允许 ${m} 台:部分数据可能要等待它们恢复。`,
	volumeLess: (a, left) => `${a} 台服务器离线。${left > 0 ? `还可以丢失 ${left} 台。` : '现在不能再丢失任何一台。'}`,
	volumeFine: (m) => (m === 0 ? '全部数据都在。' : `全部数据都在:可丢失任意 ${m} 台服务器。`),
	extents: '区段', extent: '区段', shards: '分片', minShards: '写入需要', degradedReads: '降级读取', crcErrors: '校验和错误', waiting: '等待中的请求',
	attachTitle: '挂接', attachHere: '本机', attachNear: '它只在 volmgr 所在的机器上提供服务。要供其他机器使用,请用 --listen tcp:0.0.0.0:10809 启动 volmgr。',
	attachHereText: '在运行 volmgr 的机器上:', attachNow: '在此挂接', detachNow: '解除挂接', attachedAs: (x) => `它在 volmgr 所在的机器上挂接为 ${x}。`, attached: (x) => `${x} 已挂接。`, detached: (x) => `${x} 已解除挂接。`, mkfsHint: '文件系统只需创建一次;创建会清除已有内容。', detachText: '解除挂接:',
	attachLinux: '在另一台 Linux 机器上:', attachQemu: '作为虚拟机的磁盘:', attachWindows: '使用 WNBD(Ceph 的 Windows 驱动),以管理员身份:',
	attachWindowsHint: '然后在磁盘管理中联机并格式化。', attachTools: '使用支持 NBD 的程序:',
	resize: '调整大小', resizeTitle: (x) => `调整 ${x} 的大小`, resizeText: (x) => `现在为 ${x}。使用中也可以安全扩大;之后请扩大文件系统(resize2fs、xfs_growfs)。`,
	newSize: '新的大小', shrink: '缩小:新末端之后的内容将丢失', resized: (x) => `${x} 的大小已调整。`,
	deleteTitle: (x) => `删除 ${x}?`, deleteText: (x) => `卷和写在上面的 ${x} 将被删除,无法撤销。`,
	deleteClients: (x) => `有 ${x} 个客户端正在使用它。`, deleted: (x) => `${x} 已删除。`,
	extentsTitle: '数据位置', extentsText: (x) => `每个区段(一列)位于 ${x} 台服务器(行)上。`, noExtents: '还没有写入任何内容。',
	extentsFrom: (a, b) => `区段 ${a}–${b}`, mapWords: (x, s, stale) => `${x} 个区段位于 ${s} 台服务器上;${stale} 个分片已过期`,
	cellEmpty: (x, s) => `区段 ${x} 在 ${s} 上没有分片`, cellShard: (x, s, i, slot, stale) => `区段 ${x},分片 ${i},位于 ${s},槽位 ${slot}${stale ? ',已过期' : ''}`,

	rebuildingShards: (x) => `正在重建 ${x} 个分片。`, rebuildProgress: '重建进度', timeLeft: (x) => `剩余 ${x}`,
	settingsOf: (x) => `${x} 的设置`, minOf: (a, b) => `${b} 个分片中的 ${a} 个`, minHint: (a, b) => `${a} 到 ${b}。越多越安全;越少则服务器离线时写入能继续更久。`, belowMin: '少于此数时', below_wait: '写入等待', below_fail: '写入失败',
	whenFull: '服务器写满时', full_error: '写入失败', full_wait: '写入等待', scrub_: '巡检', scrubText: '读取并检查全部数据,修复损坏的部分。', scrubNow: '立即巡检', stop: '停止', lastTime: '上次', looked: '已检查', badBlocks: '损坏的块', lostRows: '无法修复',

	// servers
	addServer: '添加服务器', addServerText: '在带有磁盘的机器上,用集群密钥启动 nbdsrv:', addressHint: '主机:端口,或本机的 unix:/路径。',
	serverNameHint: '留空:server-1、server-2……', hostHint: '分片会分散到不同主机。留空:取自地址。', serverAdded: (x) => `${x} 已添加。`,
	noServers: '还没有服务器', noServersText: '一台服务器就是由 nbdsrv 管理的一块磁盘或其中一个文件夹。', sizeUnknown: '大小未知',
	errorsN: (x) => `${x} 个错误`, drain: '清空', replace: '替换', drainTitle: (x) => `清空 ${x}?`, drainText: '它的分片会移到其他服务器,期间一切照常。之后即可移除。',
	drainStopTitle: (x) => `停止清空 ${x}?`, drainStopText: '已移动的部分保持原位。', replaceTitle: (x) => `替换 ${x}`, replaceText: '它的全部分片移到另一台服务器。', replaceBy: '替换为',
	lostForGood: '它已永久丢失:在其他服务器上重新生成它的分片', removeBegun: (x) => `正在清空 ${x},之后会移除。`,
	wrongStore: '此地址上应答的是另一个存储。', serverAway: (s) => `此服务器${s}。`, serverAwayHint: (a) => `请在那里启动 nbdsrv(${a}),或检查网络。`,
	serverErrors: '它的磁盘出现过错误。读取的数据经过校验并由其他服务器提供;请考虑更换磁盘。', serverFine: '在线,没有错误。',
	badBlocksText: (b, r) => `发现 ${b} 个损坏的块,已修复 ${r} 个。`, repairedBlocks: '已修复的块',
	space: '空间', flushes: '刷写', ioErrors: '磁盘错误', log: '日志', store: '存储',
	removeServerTitle: (x) => `移除 ${x}?`, removeServerText: '它将从集群中移出,其文件仍保留在磁盘上。',
	removeServerHolds: (x) => `它存有 ${x} 个分片:只要卷还需要它们,volmgr 就会拒绝。`, serverRemoved: (x) => `${x} 已移除。`,
	power: '电源', powerOf: (x) => `${x} 的电源`, powerText: (a, b) => `它的 ${b} 台服务器中有 ${a} 台在线。`, powerAction: '操作', power_stop: '停止它的服务器', power_start: '启动它的服务器', power_off: '关闭主机', power_wake: '唤醒主机', powerDo: '执行', powerDone: (x) => `针对 ${x} 的命令已成功结束。`,
	powerNone: 'volmgr 没有为此配置命令:请按 weft-web(7) 的说明在 weft.conf 中添加。', powerUnavailable: (x) => `没有它,${x} 个卷的部分数据在它恢复之前无法读取。`, powerWaiting: (x) => `没有它,${x} 个卷的写入会等待它恢复。`,
	powerLess: (x) => `所有卷继续工作。在它恢复之前,其中 ${x} 个能承受的服务器丢失更少。`, powerSafe: '没有卷需要它。', powerAnyway: '仍然执行',

	// events
	noEvents: '还没有事件', noEventsText: '用户的操作和服务器的状况会记录在这里。', byWhom: (x) => `操作者:${x}`, byItself: '自动',

	// logging in
	logIn: '登录', logOut: '退出', password: '密码', register: '注册', join: '欢迎', joinText: '您收到了邀请。请选择名称和密码。',
	joinSubmit: '开始', personNameHint: '字母、数字、点和连字符。', passwordHint: '至少 8 个字符;使用几个词组成更好。',
	registerText: '请选择名称和密码。', registerApproval: '请选择名称和密码。需要管理员批准。', registered: '谢谢。管理员批准后即可登录。',
	haveAccount: '我已有账户', nobodyYet: '还没有人可以登录', nobodyYetText: '在 volmgr 所在的机器上,以下命令会输出一个链接,使您成为第一位管理员:',
	sessionEnded: '您已退出登录。',

	// people
	account: '您的账户', youAre: (x, r) => `您是 ${x}(${r})。`, changePassword: '修改密码', oldPassword: '旧密码', newPassword: '新密码', passwordChanged: '密码已修改。',
	sessions: '已登录的位置', thisOne: '当前', seenAgo: (x) => `最近使用:${x}`, noLabel: '未命名', tokens: '脚本令牌', newToken: '新建令牌', noTokens: '无。',
	tokenText: '脚本以 "Authorization: Bearer …" 发送。', days: '有效天数', tokenMade: '您的令牌', tokenOnce: '只显示这一次:请复制。', endsAt: (x) => `到期:${x}`,
	everybody: '所有用户', invite: '邀请', inviteText: '生成一个链接。首先打开它的人可以选择名称和密码。一周后失效。', inviteLabelHint: '写给谁,方便记住。',
	inviteMade: '链接', inviteOnce: '只显示这一次:请复制并转交。', rolesHint: '管理员可以做任何事,用户拥有文件,只读者只能查看。', invitations: '未使用的邀请',
	setPassword: '新密码', setPasswordFor: (x) => `为 ${x} 设置新密码`, roleOf: (x) => `${x} 的角色`, waits: '等待批准', approve: '批准', active: '有效', lastLogin: '最近登录', never: '从未', you: '您',
	removePersonTitle: (x) => `移除 ${x}?`, removePersonText: '会话和令牌立即失效。', noPeople: '还没有用户', noPeopleText: '请邀请他人。', guestText: '您以访客身份浏览。登录后可以做更多。',

	// settings
	thisBrowser: '此浏览器', language: '语言', appearance: '外观', asSystem: '跟随系统', light: '浅色', dark: '深色', forAll: '对所有人',
	registration: '注册', registration_off: '不允许注册', registration_approval: '需管理员批准', registration_open: '允许任何人', registrationHint: '邀请始终有效。',
	guests: '访客可以查看', guestsHint: '未登录者可以查看一切,但不能修改。', metrics: '无需令牌即可读取指标', metricsHint: 'Prometheus 可以不登录读取 /metrics。',

	// about
	version: '版本', runningFor: '运行时间', cluster: '集群', erasureCode: '纠删码', nbdAddresses: 'NBD 地址', webAddress: '网页地址',
	forScripts: '供脚本使用', forScriptsText: '这里的一切都通过 API 完成,脚本也可以使用。', manApi: '说明 API。', manVolctl: '是命令行工具。', manMetrics: '供 Prometheus 使用。',
	licences: '致谢', licencesText: '此页面使用了:',

	// files
	allFiles: '全部文件', folder: '文件夹', newFolder: '新建文件夹', upload: '上传', download: '下载', downloadZip: '打包下载', rename: '重命名', move: '移动', open: '打开', undo: '撤销', close: '关闭', clear: '清除', mark: '选择',
	searchFiles: '搜索文件:词语、标签、名称', anyKind: '任何类型', anyDate: '任何日期', anySize: '任何大小', lastWeek: '最近一周', lastMonth: '最近一月', thisYear: '今年', thumbnails: '缩略图',
	sort_best: '最相关', sort_name: '按名称', sort_newest: '最新', sort_oldest: '最旧', sort_largest: '最大', sort_smallest: '最小',
	kind: '类型', changed: '修改时间', path: '路径', type: '格式', tag: '标签', tags: '标签', newTag: '新标签', notRead: '未能读取', beingRead: '正在读取', filesN: (x) => `${x} 个文件`,
	emptyFolder: '这里是空的', emptyFolderText: '将文件或文件夹拖到这里,或点击上传。', emptyFolderRead: '还没有人放入内容。', searchHint: '请减少词语。tag:、name:、kind:、size: 和 date: 可缩小范围;- 表示排除。',
	markOne: (x) => `选择 ${x}`, markedN: (x) => `已选 ${x} 项`, deletedN: (x) => `已删除 ${x} 项`, tagged: (x) => `已修改 ${x} 个文件`,
	moveTitle: (x) => `移动 ${x} 项`, moveHint: '文件夹,例如 photos/2024;留空表示最上层。', tagTitle: (x) => `${x} 个文件的标签`, addTags: '添加', removeTags: '移除', tagsHint: '用逗号分隔。',
	pickTags: '按标签筛选', pickedTags: (x) => `按 ${x} 个标签筛选`, findTag: '查找标签', noTags: '没有标签。',
	uploaded: '已上传', paused: '已暂停', pause: '暂停', resume: '继续', uploadsLeft: (x) => `${x} 个上传`, uploadsDone: '全部已上传',
	scrub: '浏览影片', onlyBeginning: '只显示开头部分。', noPreview: '此类文件没有预览。', alike: '相似的文件', sharesTag: (x) => `同样有 ${x}`, tagFrom: (s, f) => `来自 ${s};${f} 个文件有此标签`,

	// graph
	noGraph: '此安装没有关系图库。', graphPicture: '关系图;下面的列表内容相同', graphCount: (f, g, e) => `${f} 个文件,${g} 个标签,${e} 条连线`, graphFind: '从标签或文件开始', wholeGraph: '完整关系图', reset: '重置',
	expand: '展开', startFrom: '从这里开始', graphStart: '从哪里开始?', graphStartText: '请在上方选择标签或文件。点击节点查看详情,展开可查看其周围。', graphPart: (a, b) => `显示 ${b} 个中的 ${a} 个:关系最多的。`, graphWhole: '已全部显示。',

	// words of the API
	states: { ok: '正常', degraded: '降级', failed: '故障', 'low on space': '空间不足', rebuilding: '重建中', repaired: '已修复', waiting: '等待中', up: '在线', down: '离线', connecting: '连接中', 'wrong store': '存储不符',
		ready: '就绪', starting: '启动中', opening: '打开中', deleting: '删除中' },
	sentences: { rebuilding: '正在重建缺少的分片,数据可以照常使用。', waiting: '写入正在等待服务器恢复。', 'low on space': '可用空间不足十分之一。' },
	roles: { admin: '管理员', user: '用户', 'read-only': '只读者', none: '访客' },
	kinds: { unknown: "未知", folder: "文件夹", link: "链接", special: "特殊", empty: "空", text: "文本", source: "源代码", page: "网页", document: "文档", mail: "邮件", image: "图片", audio: "声音", video: "影片", archive: "压缩包", program: "程序", font: "字体", data: "数据" },
	whys: { tags: "标签相同", text: "文本相似", picture: "图片相似", link: "有链接", folder: "同一文件夹" },
	scrubs: { never: '从未巡检', waiting: '等待中', running: '进行中', stopped: '已停止', done: '已完成' },
	duties: { draining: '正在清空。', drained: '已清空。', replaced: '正由另一台服务器替换。', lost: '已丢失:正在其他服务器上重新生成分片。' },
	refusals: {
		wrong_password: '名称和密码不符。', too_many_tries: '错误次数过多,请稍候再试。', waiting_for_approval: '需要管理员先批准。', bad_invitation: '邀请无效、已使用或已过期。',
		name_taken: '此名称已被使用。', bad_name: '名称无效。', bad_password: '密码长度应为 8 到 256 个字节。', not_allowed: '您没有权限。', not_logged_in: '请先登录。',
		registration_off: '这里不允许注册。', last_admin: '这是唯一的管理员。', not_enough_servers: '服务器数量不足。', server_in_use: '服务器上还有卷的分片。',
		cannot_connect: '无法连接到该服务器。', bad_address: '地址无效。', address_taken: '该地址已属于另一台服务器。', no_such_volume: '没有这个卷。', no_such_server: '没有这台服务器。',
		volume_in_use: '有客户端正在使用此卷。', bad_size: '大小无效。', still_going_on: '操作尚未结束,会在后台继续。', busy: '现在太忙,请稍后再试。',
	},
	eventTexts: {
		'volmgr.started': () => 'volmgr 已启动',
		'server.added': (x) => `已添加服务器 ${x}`, 'server.removed': (x) => `已移除服务器 ${x}`,
		'server.up': (x) => `服务器 ${x} 恢复在线`, 'server.down': (x) => `服务器 ${x} 离线`, 'server.older': (x) => `服务器 ${x} 的存储比之前旧`,
		'server.drained': (x) => `将清空服务器 ${x}`, 'server.replaced': (x) => `将替换服务器 ${x}`,
		'volume.created': (x, d) => `已创建卷 ${x}(${d})`, 'volume.changed': (x, d) => `已修改卷 ${x}(${d})`, 'volume.deleted': (x) => `已删除卷 ${x}`,
		'cluster.recovered': () => '已从服务器恢复元数据',
		'volume.attached': (x, d) => `卷 ${x} 已在本机挂接(${d})`, 'volume.detached': (x) => `卷 ${x} 已在本机解除挂接`, 'command.failed': (x, d) => `针对 ${x} 的命令失败:${d}`,
		'host.stopped': (x) => `${x} 的服务器已停止`, 'host.started': (x) => `${x} 的服务器已启动`, 'host.off': (x) => `${x} 已关机`, 'host.woken': (x) => `${x} 已唤醒`,
		'scrub.ordered': () => '已安排数据巡检',
		login: (x) => `${x} 已登录`, 'login.failed': (x) => `${x} 的密码错误`,
		'person.registered': (x) => `${x} 已加入`, 'person.added': (x) => `已添加 ${x}`, 'person.approved': (x) => `已批准 ${x}`,
		'person.role': (x, d) => `${x} 的角色改为 ${d}`, 'person.password': (x) => `${x} 的密码已修改`, 'person.removed': (x) => `已移除 ${x}`,
		'token.added': (x) => `已创建令牌:${x}`, 'token.removed': (x) => `已移除令牌:${x}`, 'session.removed': () => '已结束一个会话',
		'invitation.added': () => '已创建邀请', 'invitation.removed': () => '已撤回邀请', 'settings.changed': () => '设置已修改',
		'file.deleted': (x, d) => `已删除文件 ${d}`, 'file.moved': (x, d) => `已移动文件 ${d}`, 'folder.made': (x, d) => `已新建文件夹 ${d}`,
		'tag.renamed': () => '标签已重命名', 'tag.deleted': () => '标签已删除',
	},
};
