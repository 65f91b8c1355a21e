// Ten thousand volumes and two hundred servers: found, sorted, gone through in pages, and refreshed every two
// seconds. volmgr's part is made up here, of what the real one says of one of each; t/bench/web measures the real one.
import { openPage } from './page.js';

const VOLUMES = 10000, SERVERS = 200, PER_HOST = 5, AWAY = 3, LIVE = 10;
const PLACE_MS = 2000, LIVE_MS = 1000; // of a processor: how busy the machine is does not count

const STATES = [[{ state: 'ready', spare: 2 }, 9990], [{ state: 'ready', spare: 1 }, 9], [{ state: 'failed', spare: 0, message: 'The metadata cannot be read.' }, 1]];
const byNumber = (a, b) => a.localeCompare(b, 'en', { numeric: true });
const trouble = (v) => (v.state === 'failed' ? 4 : v.spare < v.m ? 1 : 0);
const SORTS = { name: (a, b) => byNumber(a.name, b.name), used: (a, b) => a.used - b.used, size: (a, b) => a.size - b.size, busy: (a, b) => a.rates.reads - b.rates.reads, state: (a, b) => trouble(a) - trouble(b) };

function made({ volumes: [volume], servers: [server], status }) {
	const states = STATES.flatMap(([state, n]) => Array(n).fill(state));
	const volumes = Array.from({ length: VOLUMES }, (_, i) => ({ ...volume, id: i + 1, name: `volume-${i}`, ...states[(i * 7919) % VOLUMES], size: (1 + i % 900) * 2 ** 30, used: (i % 400) * 2 ** 20, rates: { ...volume.rates, reads: (i * 31) % 997 } }));
	const servers = Array.from({ length: SERVERS }, (_, i) => ({ ...server, number: i + 1, name: `server-${i + 1}`, host: `host-${1 + Math.floor(i / PER_HOST)}`, address: `tcp:10.0.${Math.floor(i / 250)}.${i % 250}:10810`, size: 16 * 2 ** 40, free: (16 - i % 13) * 2 ** 40, ...(i < AWAY ? { state: 'down', message: 'connection refused' } : {}) }));
	const busy = (list, n) => Object.fromEntries(list.slice(0, n).map((x, i) => [x.name, { ...server.rates, reads: 100 + i, read_bytes: 4096 * i, read_us: 90 + i }]));
	return { volumes, servers, status: { ...status, volumes: VOLUMES, servers: { up: SERVERS - AWAY, total: SERVERS }, state: 'degraded', message: `${AWAY} of ${SERVERS} servers are not up: server-1 is down (connection refused).`, size: SERVERS * 16 * 2 ** 40, free: SERVERS * 9 * 2 ** 40 },
		live: (i) => ({ ...status, rates: { ...server.rates, reads: 12345 + i, read_bytes: 1e9 }, busy: busy(volumes, 500), busy_servers: Object.fromEntries(servers.map((s, n) => [s.name, { ...server.rates, read_bytes: 1e6 * ((n + i) % 90), write_bytes: 1e5 * n, read_us: 90 + (n + i) % 9 }])), last_event: 1, servers: { up: SERVERS - AWAY, total: SERVERS } }) };
}

// As volmgr does: a part of the name, sorted, a piece of it.
function page(all, parameters) {
	const q = (parameters.get('q') ?? '').toLowerCase(), sort = SORTS[parameters.get('sort') ?? 'name'], sign = parameters.get('order') === 'desc' ? -1 : 1;
	const kept = all.filter((x) => x.name.toLowerCase().includes(q)).sort((a, b) => sign * sort(a, b));
	const offset = Number(parameters.get('offset') ?? 0);
	return { list: kept.slice(offset, offset + Number(parameters.get('limit') ?? all.length)), total: kept.length };
}

// The stream of events: one for each time it is asked for, until it waits for what it is to tell.
async function stream(other, first) {
	const text = (event) => `event: live\ndata: ${JSON.stringify(event)}\n\n`;
	const tell = (route, events) => route.fulfill({ contentType: 'text/event-stream', body: events.map(text).join('') });
	let held = null;
	await other.route('**/api/v1/live', (route) => (held ? held(route) : tell(route, [first])));
	let waiting;
	return {
		next: async () => {
			waiting = await new Promise((asked) => (held = asked));
		},
		tell: async (events) => {
			const route = waiting;
			held = () => {}; // and nothing after it
			await tell(route, events);
		},
	};
}

// Processor time of the page's thread, in milliseconds.
async function meter(other) {
	const session = await other.context().newCDPSession(other);
	await session.send('Performance.enable', { timeDomain: 'threadTicks' });
	return async () => (await session.send('Performance.getMetrics')).metrics.find((m) => m.name === 'TaskDuration').value * 1000;
}

async function volumes(w, other, all, asked) {
	const { ok } = w;
	await other.goto(`${w.base}/#/volumes`);
	const first = () => other.locator('.list tbody tr th').first().textContent();
	const says = (text) => other.getByText(text, { exact: true }).waitFor().then(() => true, () => false);
	ok(await says('1–50 of 10,000') && await other.locator('.list tbody tr').count() === 50 && await first() === 'volume-0', 'of ten thousand volumes there is a page', await other.locator('.pager').textContent());
	await other.getByRole('button', { name: 'Next' }).click();
	ok(await says('51–100 of 10,000') && await first() === 'volume-50', 'and the next', await first());
	ok(await other.evaluate(() => document.activeElement.getAttribute('aria-label')) === 'Next', 'for who goes on by keys as well');
	await other.getByRole('button', { name: 'Last page' }).click();
	ok(await says('9,951–10,000 of 10,000') && await first() === 'volume-9950' && await other.getByRole('button', { name: 'Next' }).isDisabled(), 'and the last');
	await other.reload();
	ok(await says('9,951–10,000 of 10,000'), 'which is there again when it is loaded anew');
	await other.getByRole('combobox', { name: 'Sort by' }).selectOption('size desc');
	ok(await says('1–50 of 10,000') && await other.locator('.list tbody tr').first().getByText('of 900 GiB').waitFor().then(() => true, () => false), 'sorted by size they begin with the largest');
	await other.getByRole('combobox', { name: 'Sort by' }).selectOption('state desc');
	ok(await other.waitForFunction(() => document.querySelector('.list tbody tr .badge')?.textContent === 'failed').then(() => true, () => false), 'by state with the one that has failed', await other.locator('.list tbody tr').first().textContent());
	asked.length = 0;
	// all of it before the page gets to anything else, so that no pause lies between two letters on a busy machine
	await other.locator('input[type=search]').evaluate((e, text) => {
		for (const c of text) {
			e.value += c;
			e.dispatchEvent(new Event('input', { bubbles: true }));
		}
	}, 'volume-77');
	ok(await says('1–50 of 111'), 'what is typed is found');
	ok(asked.length <= 3, 'without asking for each letter', `${asked.length} times`);
	await other.getByRole('link', { name: all.volumes[77].name, exact: true }).waitFor();
	ok(await other.locator('.list a[href*="volume-5"]').count() === 0, 'and nothing else is shown');
}

async function servers(w, other) {
	const { ok } = w;
	await other.goto(`${w.base}/#/servers`);
	await other.locator('.disk').first().waitFor();
	ok(await other.locator('.disk').count() === SERVERS && await other.locator('.host').count() === SERVERS / PER_HOST, 'two hundred servers are on their hosts');
	ok((await other.locator('.host h2').allTextContents()).slice(0, 3).join() === 'host-1,host-2,host-3', 'which are in the order that people count in');
	await other.getByRole('button', { name: 'Only these' }).click();
	ok(await w.countedIn(other, '.disk', AWAY), 'those that are away are seen alone');
	await other.getByRole('button', { name: 'Only these' }).click();
	await other.fill('input[type=search]', 'server-19');
	ok(await w.countedIn(other, '.disk', 11), 'and a part of a name finds some');
	await other.fill('input[type=search]', 'host-40');
	ok(await w.countedIn(other, '.disk', PER_HOST), 'also of a host');
	await other.fill('input[type=search]', '');
	await w.countedIn(other, '.disk', SERVERS);
}

export async function many(w) {
	const get = async (path) => (await w.page.request.get(`${w.base}/api/v1${path}`)).json();
	const all = made({ volumes: (await get('/volumes?limit=1')).volumes, servers: (await get('/servers?limit=1')).servers, status: await get('/status') });
	const other = await openPage(w.browser), asked = [];
	await other.context().addCookies(await w.page.context().cookies());
	w.countedIn = (p, selector, n) => p.waitForFunction(([s, want]) => document.querySelectorAll(s).length === want, [selector, n]).then(() => true, () => false);
	await other.route('**/api/v1/status', (route) => route.fulfill({ json: all.status }));
	const waits = await stream(other, all.live(0));
	for (const what of ['volumes', 'servers'])
		await other.route(`**/api/v1/${what}?*`, (route) => {
			const { list, total } = page(all[what], new URL(route.request().url()).searchParams);
			asked.push(route.request().url());
			return route.fulfill({ json: { [what]: list, total } });
		});
	const taken = await meter(other);
	await volumes(w, other, all, asked);
	await servers(w, other);
	await other.goto(`${w.base}/#/overview`);
	await other.locator('.hero').waitFor();
	w.ok(await other.getByText('3 of 200 servers cannot be reached.').waitFor().then(() => true, () => false) && await other.getByText('197 of 200').count() === 1, 'the overview counts them');
	const before = await taken();
	for (const place of ['servers', 'volumes', 'volumes/new', 'overview']) {
		await other.evaluate((p) => { location.hash = `#/${p}`; }, place);
		await other.locator('.disk, .list, .stripe, .hero').first().waitFor();
		await other.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
	}
	const places = Math.round(await taken() - before);
	await other.evaluate(() => { location.hash = '#/servers'; });
	await other.locator('.disk').first().waitFor();
	// what is told of all of them every two seconds
	await waits.next();
	const begin = await taken();
	await waits.tell(Array.from({ length: LIVE }, (_, i) => all.live(i + 1)));
	await other.getByText(`↓ ${((3 + LIVE) * 1e6 / 2 ** 20).toFixed(1)} MiB/s`).first().waitFor(); // of server-4, as the last one says
	const live = Math.round(await taken() - begin);
	console.log(`# with 10,000 volumes and 200 servers four places took ${places} ms of a processor, ${LIVE} events ${live} ms`);
	w.ok(places > 0 && places < PLACE_MS, 'places with so much take little', `${places} ms`);
	w.ok(live < LIVE_MS, 'and so does what is told of it', `${live} ms`);
	w.ok(other.faults.length === 0, 'without faults in that page', ...other.faults);
	await other.context().close();
}
