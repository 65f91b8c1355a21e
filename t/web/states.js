// What one seldom sees, for screenshots: dialogs, and a cluster in trouble, empty, slow or away. Answers are made
// here from those of the real one.
const json = (route, body, status = 200) => route.fulfill({ status, contentType: 'application/json', body: JSON.stringify(body) });

// A stream of one event, which says the same as /status.
const stream = (status) => ({ contentType: 'text/event-stream', body: `event: live\ndata: ${JSON.stringify({ rates: {}, busy: {}, busy_servers: {}, last_event: 1, ...status })}\n\n` });

const REBUILD = { shards: 1234, total: 5e9, done: 2e9, rate: 180 << 20, seconds_left: 75, running: 4, rebuilt: 900, moved: 0, failed: 0, skipped: 0, lost: 0 };

// away servers of all, and what volmgr would say of it.
function troubled(status, away, state, more = {}) {
	return { ...status, state, message: `${away} of ${status.servers.total} servers are not up: server-1 is down (connection refused).`, hint: 'Start nbdsrv there: volctl server list', servers: { up: status.servers.total - away, total: status.servers.total }, ...more };
}

const TROUBLES = {
	degraded: (s) => troubled(s, 1, 'degraded'),
	unavailable: (s) => troubled(s, 3, 'unavailable'),
	rebuilding: (s) => ({ ...s, state: 'rebuilding', message: '1234 shards are being rebuilt.', hint: '', rebuild: REBUILD }),
	'nearly-full': (s) => ({ ...s, state: 'low on space', message: 'Less than a tenth of the space is free.', hint: 'Add servers.', free: Math.round(s.size * 0.04) }),
};

async function inTrouble(w, real) {
	for (const [name, make] of Object.entries(TROUBLES)) {
		const status = make(real.status), away = status.servers.total - status.servers.up;
		await w.page.route('**/api/v1/status', (route) => json(route, status));
		await w.page.route('**/api/v1/live', (route) => route.fulfill(stream(status)));
		await w.page.route('**/api/v1/servers*', (route) => json(route, { ...real.servers, servers: real.servers.servers.map((s, i) => (i < away ? { ...s, state: 'down', message: 'connection refused' } : s)) }));
		for (const place of ['overview', 'volumes', 'servers', `volumes/${w.volume}`])
			await w.at(place, `state-${name}-${place}`);
		await w.page.unrouteAll();
	}
}

async function emptyAndSlow(w, real) {
	const none = { ...real.status, volumes: 0, size: 0, free: 0, servers: { up: 0, total: 0 } };
	await w.page.route('**/api/v1/status', (route) => json(route, none));
	await w.page.route('**/api/v1/live', (route) => route.fulfill(stream(none)));
	await w.page.route('**/api/v1/volumes*', (route) => json(route, { volumes: [], total: 0 }));
	await w.page.route('**/api/v1/servers*', (route) => json(route, { servers: [], total: 0 }));
	await w.page.route('**/api/v1/events*', (route) => json(route, { events: [], last: 0 }));
	for (const place of ['overview', 'volumes', 'servers', 'events', 'volumes/new'])
		await w.at(place, `state-empty-${place}`);
	await w.page.unrouteAll();
	await w.page.route('**/api/v1/volumes*', () => {}); // is never answered
	await w.page.goto(`${w.base}/#/volumes`);
	await w.page.waitForSelector('.loading');
	await w.shot('state-loading');
	await w.page.unrouteAll({ behavior: 'ignoreErrors' });
	await w.page.route('**/api/v1/volumes*', (route) => json(route, { error: { code: 'internal', message: 'The metadata cannot be read.', hint: 'See the log of volmgr.' } }, 500));
	await w.at('volumes', 'state-error');
	w.page.faults = w.page.faults.filter((fault) => !fault.includes('status of 500')); // was ours
	await w.page.unrouteAll();
	await w.at('volumes/there-is-none', 'state-not-there');
	await w.at('files?in=there/is/none', 'state-no-folder');
	await w.at('files?q=zzzznothing', 'state-nothing-found');
}

async function away(w) {
	await w.at('overview', 'overview');
	await w.page.context().setOffline(true);
	await w.page.waitForSelector('.offline');
	await w.shot('state-offline-overview');
	await w.page.goto(`${w.base}/#/volumes`);
	await w.page.waitForSelector('main > .notice.bad');
	await w.shot('state-offline-volumes');
	await w.page.context().setOffline(false);
	await w.page.waitForSelector('main h1');
}

// By what opens it, in any language.
export const DIALOGS = [
	['servers', '.head button.primary', 'add-server'],
	['servers', '.host button', 'power'],
	['servers/server-1', '.actions button:nth-child(1)', 'drain'],
	['servers/server-1', '.actions button:nth-child(2)', 'replace'],
	['servers/server-1', '.actions button.danger', 'remove-server'],
	['VOLUME', '.head .actions button:nth-child(1)', 'volume-settings'],
	['VOLUME', '.head .actions button:nth-child(2)', 'resize'],
	['VOLUME', '.head .actions button.danger', 'delete-volume'],
	['people', '.panel .head button', 'password'],
	['people', 'button.primary', 'invite'],
	['people', '.head:has(h3) button:has(svg)', 'token'],
	['people', 'td.right button:not(.danger)', 'set-password'],
	['people', 'td.right button.danger', 'remove-person'],
	['files', '.marks button:nth-of-type(1)', 'tags'],
	['files', '.marks button:nth-of-type(2)', 'move'],
	['files', '.marks button:nth-of-type(3)', 'share'],
];

// Is it open? Files have to be marked first.
export async function openDialog(page, place, opener) {
	if (place === 'files') {
		const first = page.locator('.filelist tbody input').first();
		if (!await first.count())
			return false;
		await first.check();
	}
	await page.locator(opener).first().click();
	await page.waitForSelector('dialog[open]');
	return true;
}

async function dialogs(w) {
	for (const [place, opener, name] of DIALOGS) {
		await w.at(place.replace('VOLUME', `volumes/${w.volume}`));
		if (!await openDialog(w.page, place, opener))
			continue;
		await w.page.waitForTimeout(200);
		await w.shot(`dialog-${name}`, false);
		await w.page.keyboard.press('Escape');
		await w.page.waitForSelector('dialog', { state: 'detached' });
	}
}

export async function states(w) {
	const get = async (path) => (await w.page.request.get(`${w.base}/api/v1${path}`)).json();
	const real = { status: await get('/status'), servers: await get('/servers?sort=name') };
	w.at = async (place, name) => {
		await w.page.goto('about:blank'); // what was shown keeps nothing
		await w.page.goto(`${w.base}/#/${place}`);
		await w.page.waitForSelector('main h1, main .notice');
		await w.page.waitForTimeout(600);
		if (name)
			await w.shot(name);
	};
	await dialogs(w);
	await inTrouble(w, real);
	await emptyAndSlow(w, real);
	await away(w);
}
