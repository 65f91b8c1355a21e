// What the page says of a cluster in trouble: answers are made here from those of the real one. w is what test.js has.
const json = (route, body) => route.fulfill({ contentType: 'application/json', body: JSON.stringify(body) });

export const REBUILD = { shards: 12, total: 4 << 20, done: 1 << 20, rate: 32 << 10, seconds_left: 97, running: 1, rebuilt: 0, moved: 0, failed: 0, skipped: 0, lost: 0 };

// From now on volmgr says this of itself, of volumes and of servers, by their names; ends with page.unrouteAll().
export async function pretend(w, { status = {}, volumes = {}, servers = {} }) {
	await w.page.unrouteAll({ behavior: 'ignoreErrors' });
	const real = await (await w.page.request.get(`${w.base}/api/v1/status`)).json();
	const live = { rates: {}, busy: {}, busy_servers: {}, last_event: 1, ...real, ...status };
	const answer = (changes, list) => async (route) => {
		const got = await route.fetch(), body = await got.json();
		for (const x of body[list] ?? [body])
			Object.assign(x, changes[x.name]);
		await json(route, body);
	};
	await w.page.route('**/api/v1/status', (route) => json(route, live));
	await w.page.route('**/api/v1/live', (route) => route.fulfill({ contentType: 'text/event-stream', body: `event: live\ndata: ${JSON.stringify(live)}\n\n` }));
	await w.page.route(/\/api\/v1\/volumes(\?.*|\/[^/]*)?$/, answer(volumes, 'volumes'));
	await w.page.route(/\/api\/v1\/servers(\?.*|\/[^/]*)?$/, answer(servers, 'servers'));
	await w.page.goto('about:blank'); // what was shown keeps nothing
}

// And then that, while the page is shown.
async function pretendMore(w, status, servers) {
	const real = await (await w.page.request.get(`${w.base}/api/v1/status`)).json();
	const live = { ...real, rates: {}, busy: {}, busy_servers: {}, ...status };
	await w.page.route(/\/api\/v1\/servers(\?.*)?$/, async (route) => {
		const body = await (await route.fetch()).json();
		for (const s of body.servers)
			Object.assign(s, servers?.[s.name]);
		await json(route, body);
	});
	await w.page.route('**/api/v1/live', (route) => route.fulfill({ contentType: 'text/event-stream', body: `event: live\ndata: ${JSON.stringify(live)}\n\n` }));
}

const text = (w, selector) => w.page.locator(selector).first().innerText();

// The text of a place, when it has become so.
async function says(w, selector, what) {
	return w.page.locator(selector).filter({ hasText: what }).first().waitFor().then(() => true, () => false);
}

// How many servers may be lost: of the weakest, at this moment, and never too many.
export async function redundancy(w) {
	const tile = '.tile:has-text("Redundancy left")';
	for (const [name, status, want] of [
		['when all is there', { spare: 2, weakest: 'demo' }, /2 servers\s*may be lost at any time/],
		['of the weakest, though all servers are up', { spare: 0, weakest: 'bare' }, /0 servers\s*may be lost: volume bare has no shards to spare/],
		['while shards are rebuilt', { spare: 1, weakest: 'demo', state: 'rebuilding', rebuild: REBUILD }, /1 server\s*may be lost until shards are rebuilt/],
		['when a server is away', { spare: 1, weakest: 'demo', servers: { up: 5, total: 6 } }, /1 server\s*1 is away already/],
		['when too many are', { spare: -1, weakest: 'demo', servers: { up: 3, total: 6 } }, /0 servers\s*parts of volume demo cannot be read now/]]) {
		await pretend(w, { status });
		await w.go('overview');
		w.ok(await says(w, tile, want), `redundancy left, ${name}`, await text(w, tile).catch(() => ''));
	}
	const fine = 'Everything is there';
	for (const [name, volume, status, badge, want] of [
		['all shards are good', { spare: 2 }, {}, 'ready', `${fine}: any 2 servers may be lost.`],
		['shards are rebuilt', { spare: 0, rebuild: REBUILD }, { rebuild: REBUILD }, 'rebuilding', 'Not all of its shards are good yet. No server may be lost now.'],
		['some are still away elsewhere', { spare: 1 }, {}, 'degraded', 'Not all of its shards are good yet. One server may be lost.'],
		['it has none on the server that is away', { spare: 2 }, { servers: { up: 5, total: 6 } }, 'ready', '1 server is away. 2 more may be lost.'],
		['parts cannot be read', { spare: -1 }, { servers: { up: 5, total: 6 } }, 'unavailable', 'Parts of it cannot be read until more servers are back.'],
		['blocks are lost', { spare: 0, rebuild: { ...REBUILD, lost: 2 } }, {}, 'rebuilding', 'Blocks of 2 extents cannot be decoded any more.']]) {
		await pretend(w, { status, volumes: { demo: volume } });
		await w.go('volumes/demo');
		const good = await says(w, 'main .notice', want);
		w.ok(good && await text(w, 'main .title .badge') === badge && (await text(w, 'main')).includes(fine) === want.startsWith(fine),
			`a volume says what it can lose when ${name}`, await text(w, 'main .title').catch(() => ''), await text(w, 'main .notice').catch(() => ''));
	}
	await w.page.unrouteAll({ behavior: 'ignoreErrors' });
	// servers that go while it is shown: of each it may have needed a shard, until it has been asked
	const [first, then] = [6, 4].map((up) => ({ up, total: 6 }));
	await pretend(w, { status: { servers: first, spare: 2 }, volumes: { demo: { spare: 2 } } });
	await w.go('volumes/demo');
	await says(w, 'main .notice', fine);
	await w.page.route('**/api/v1/volumes/demo', () => {}); // the answer takes long
	await pretendMore(w, { servers: then, last_event: 2 });
	w.ok(await says(w, 'main .notice', '2 servers are away. No other may be lost now.'), 'servers that go meanwhile are taken off at once');
	await w.page.unrouteAll({ behavior: 'ignoreErrors' });
	await w.page.goto('about:blank');
}

// What each server has, does and got wrong; what is rebuilt or moved there, and how long that takes still.
export async function serversInWork(w) {
	const moves = { shards: 6, bytes: 24 << 20, running: 2, moved: 2, balancing: false, done: 8 << 20, total: 32 << 20, rate: 1 << 20, seconds_left: 25, blocked: '', hint: '' };
	const stat = { reads: 1200, writes: 340, read_bytes: 3 << 20, write_bytes: 5 << 20, flushes: 17, crc_errors: 4, io_errors: 3, log_bytes: 8 << 20, log_used_bytes: 2 << 20 };
	const sick = { size: 100 << 20, free: 25 << 20, bad_blocks: 9, misfit_blocks: 0, repaired_blocks: 8, damaged_blocks: 5, disk_errors: 7, stat };
	await pretend(w, {
		status: { rebuild: REBUILD, moves, busy_servers: { 'server-1': { reads: 10, read_bytes: 2 << 20, writes: 1, write_bytes: 1 << 20, read_us: 1500 } } },
		servers: { 'server-1': sick, 'server-2': { stale_shards: 7 }, 'server-3': { duty: 'draining', progress: { done_bytes: 30 << 20, total_bytes: 120 << 20 } }, 'server-4': { bad_blocks: 6, damaged_blocks: 0, disk_errors: 0, stat: { crc_errors: 6, io_errors: 0 } } },
	});
	await w.go('servers');
	const disk = (name) => w.page.locator('.disk', { hasText: name }).innerText();
	w.ok(await says(w, 'main .notice', /12 shards are being rebuilt\..*1 MiB of 4 MiB · 32 KiB\/s · 1 min left/s), 'servers: what is rebuilt, how fast, and how long it takes', await text(w, 'main'));
	w.ok(await says(w, 'main .notice', /6 shards go to other servers\..*8 MiB of 32 MiB · 1 MiB\/s · 25 s left/s), 'and what goes elsewhere', await text(w, 'main'));
	const [bad, stale, good] = [await disk('server-1'), await disk('server-2'), await disk('server-4')];
	w.ok(/75 MiB of 100 MiB/.test(bad) && /↓ 2 MiB\/s ↑ 1 MiB\/s · 1\.5 ms/.test(bad), 'a server has its space, what it does, and how long reads take', bad);
	w.ok(/12 errors/.test(bad) && !/error/.test(good), 'and its errors, of all kinds together', bad, good);
	w.ok(/7 shards are being rebuilt\./.test(stale), 'and what of it is rebuilt', stale);
	await w.go('servers/server-1');
	const fact = (name) => w.page.locator(`dt:has-text("${name}") + dd`).first().innerText();
	w.ok(await says(w, 'main .notice', /5 damaged blocks/), 'the page of a server says that blocks came back damaged', await text(w, 'main'));
	w.ok(await fact('Checksum failures') === '4' && await fact('Disk errors') === '3', 'and counts what failed', await text(w, 'main dl'));
	w.ok(/75 MiB of 100 MiB/.test(await text(w, 'main dl')), 'and its space', await text(w, 'main dl'));
	await w.go('servers/server-4');
	w.ok(await says(w, 'main .notice.good', /no errors/), 'but not when all was scrubbed since', await text(w, 'main'));
	await w.go('servers/server-2');
	w.ok(await says(w, 'main .notice', /7 shards are being rebuilt\..*1 min left/s), 'one that is rebuilt says how long that takes', await text(w, 'main'));
	await w.go('servers/server-3');
	w.ok(await says(w, 'main .notice', /It is being emptied\..*30 MiB of 120 MiB · 1 min left/s), 'and so does one that is emptied', await text(w, 'main'));
	await w.page.unrouteAll({ behavior: 'ignoreErrors' });
	await w.page.goto('about:blank');
}

// The row of demo in the list, when its requests are so many.
export async function listed(w, volume, status = {}, requests = '') {
	await pretend(w, { status, volumes: { demo: volume } });
	await w.go('volumes');
	const row = w.page.getByRole('row', { name: /demo/ });
	const cell = (name) => row.locator(`td[data-name="${name}"]`).innerText();
	await row.filter({ hasText: requests }).waitFor();
	return { state: await row.locator('.badge').innerText(), requests: await cell('Requests'), latency: await cell('Latency (99 %)'), routed: await cell('Routed reads') };
}

const SHARD = 4 << 20;

// What fits, counted: it decides what people are told before they make a volume.
async function space(w) {
	const got = await w.page.evaluate(async (S) => {
		const { extentsThatFit, usableBytes, worstHost } = await import('./js/space.js');
		return [
			extentsThatFit(Array(6).fill(100 * S), 6), extentsThatFit(Array(5).fill(100 * S), 6), extentsThatFit([10 * S, ...Array(5).fill(100 * S)], 6),
			extentsThatFit([1000 * S, 10 * S, 10 * S], 2), extentsThatFit([S - 1, S], 2), extentsThatFit([], 1), usableBytes(Array(6).fill(100 * S), 4, 2) / S,
			worstHost([6], 6), worstHost([3, 3], 6), worstHost([1, 5], 6), worstHost([2, 2, 2], 6), worstHost([1, 1], 3)].join();
	}, SHARD);
	w.ok(got === '100,0,10,20,0,0,400,6,3,5,2,3', 'what fits on servers is counted', got);
}

// What a new volume means here: space, speed, hosts; and with a server that comes meanwhile.
export async function creating(w) {
	const server = (i, more = {}) => [`server-${i}`, { state: 'up', free: 100 << 20, host: `host-${i % 3}`, ...more }];
	const all = (more) => Object.fromEntries([1, 2, 3, 4, 5].map((i) => server(i)).concat([server(6, more)]));
	const picture = '.picture';
	await pretend(w, { servers: all({ free: 40 << 20 }) });
	await w.go('volumes/new');
	await space(w);
	await w.button('4 + 2').click();
	for (const [name, what] of [
		['how much fits', 'The free space here holds 160 MiB.'], ['what it costs', '1 GiB of data takes 1.5 GiB of disks.'],
		['what of hosts', 'Any one of the 3 hosts may fail, with all its servers.'], ['how fast it is', 'Small writes touch one data and all parity shards'],
		['that it is too big', '10 GiB is more than fits now (160 MiB).']])
		w.ok(await says(w, picture, what), `before a volume is made it is said ${name}`, await text(w, picture));
	await w.page.fill('input[name=size]', '100M');
	w.ok(!(await text(w, picture)).includes('more than fits'), 'what fits is not warned of');
	await w.button('1 + 1').click();
	w.ok(await says(w, picture, 'Whole copies: fast small writes, most space used.') && await says(w, picture, 'The free space here holds 268 MiB.'), 'copies are fast and take space', await text(w, picture));
	await w.button('8 + 3').click();
	w.ok(await says(w, picture, 'Many shards save space and read fast') && await says(w, picture, 'This needs 11 servers that are up, and there are 6.'), 'many shards need many servers', await text(w, picture));
	await w.page.fill('input[name=m]', '0');
	w.ok(await says(w, picture, 'No server may be lost'), 'and without parity none may be lost', await text(w, picture));

	await pretend(w, { servers: all({ state: 'down' }) });
	await w.go('volumes/new');
	await w.button('4 + 2').click();
	w.ok(await says(w, picture, 'This needs 6 servers that are up, and there are 5.'), 'one server too few is said');
	await pretendMore(w, { last_event: 2 }, all({}));
	w.ok(await says(w, picture, 'The free space here holds 400 MiB.') && !(await text(w, picture)).includes('This needs'), 'until it is there', await text(w, picture));
	w.ok(await w.page.locator('button[aria-pressed=true]', { hasText: '4 + 2' }).count() === 1, 'and what was chosen stays');
	await w.page.unrouteAll({ behavior: 'ignoreErrors' });
	await w.page.goto('about:blank');
}

// Sentence, hint and colour of each state; space and events as the API has them.
export async function overviews(w) {
	const away = { up: 5, total: 6 };
	for (const [state, tone, title, ...more] of [
		['degraded', 'warn', '1 of 6 servers cannot be reached.', 'Start nbdsrv there, or look at the network.', { servers: away, message: '1 of 6 servers is not up: server-1 is down (connection refused).', hint: 'Start nbdsrv there (127.0.0.1:1).' }],
		['waiting', 'warn', 'Writes to volume demo wait: it needs 5 good shards of each extent. They go on when server-2 is back.', 'or let writes go on with fewer good shards: volctl volume set demo --min 4',
			{ servers: away, hint: 'Start nbdsrv there; or let writes go on with fewer good shards: volctl volume set demo --min 4' }],
		['failed', 'bad', 'Volume demo cannot be used: the metadata is damaged.', "Look at volmgr's messages.", { hint: "Look at volmgr's messages." }],
		['unavailable', 'bad', 'Too many servers are away: some data cannot be read until they are back.', 'Start nbdsrv on those that are down: volctl server list',
			{ servers: { up: 3, total: 6 }, message: '3 of 6 servers are not up, and volume demo can spare 2: parts of it cannot be read until enough are back.', hint: 'Start nbdsrv on those that are down: volctl server list' }],
		['low on space', 'warn', 'Less than a tenth of the space is free.', 'Add a server', { message: "Less than 10 % of the servers' space is free.", hint: 'Add a server (volctl server add ADDR), delete volumes, or run fstrim in them.' }],
		['rebuilding', 'warn', '12 shards miss writes and are being rebuilt: 25 % done.', '1 min left', { rebuild: REBUILD, hint: '' }]]) {
		const [hint, status] = more;
		await pretend(w, { status: { state, message: title, ...status } });
		await w.go('overview');
		const good = await says(w, 'main .hero h1', title) && await says(w, 'main', hint);
		w.ok(good && await w.page.locator(`.hero.${tone}`).count() === 1, `the overview says what is wrong and what to do: ${state}`, await text(w, 'main'), await w.page.locator('.hero').getAttribute('class'));
	}
	const servers = Object.fromEntries([1, 2, 3, 4, 5, 6].map((i) => [`server-${i}`, { size: 100 << 20, free: 25 << 20, state: 'up' }]));
	await pretend(w, { status: { size: 600 << 20, free: 150 << 20 }, servers });
	await w.go('overview');
	const legend = (await text(w, 'main .legend')).replace(/\s+/g, ' ');
	w.ok(legend === '450 MiB Used (75 %) 150 MiB Free 600 MiB raw 96 MiB still fits with 4 + 2', 'raw, used, free and usable space', legend);
	w.ok(await w.page.locator('.biggest li', { hasText: 'demo' }).count() === 1, 'and the largest volumes');
	const { events } = await (await w.page.request.get(`${w.base}/api/v1/events?limit=6`)).json();
	const shown = await w.page.locator('main ul.events > li').evaluateAll((list) => list.map((e) => e.dataset.key));
	w.ok(events.length > 3 && shown.join() === events.map((e) => e.number).join(), 'and the last events, the newest first', shown.join(), events.map((e) => e.number).join());
	await w.page.unrouteAll({ behavior: 'ignoreErrors' });
	await w.page.goto('about:blank');
}
