// Who leaves a place while it still asks for something, clicks twice, types faster than answers come, or goes back:
// what comes late changes nothing. Answers are held back and made up here.
import { openPage } from './page.js';

const DEBOUNCE_MS = 400; // longer than the page waits for more to be typed

// Answers to what fits are held back: asked(n) when n of them are, answer() lets them go.
async function hold(page, pattern, answer = (route) => route.continue(), method = null) {
	const routes = [], waiting = [];
	let open = false;
	const fn = async (route) => {
		if (method && route.request().method() !== method)
			return route.fallback();
		if (open)
			return answer(route);
		routes.push(route);
		waiting.filter((x) => x.n <= routes.length).forEach((x) => x.go());
	};
	await page.route(pattern, fn);
	return {
		count: () => routes.length,
		asked: (n = 1) => (routes.length >= n ? Promise.resolve() : new Promise((go) => waiting.push({ n, go }))),
		answer: async (i) => {
			if (i !== undefined)
				return answer(routes[i]);
			open = true;
			await Promise.all(routes.map((r) => answer(r)));
		},
		end: () => page.unroute(pattern, fn),
	};
}

const settled = (page, ms = 0) => page.evaluate((wait) => new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), wait)), ms);
// Nothing is left of what was shown before.
const fresh = async (w, page, place) => {
	await page.goto('about:blank');
	await page.goto(`${w.base}/#/${place}`);
};
const leave = async (page) => {
	await page.evaluate(() => { location.hash = '#/about'; });
	await page.locator('main h1', { hasText: 'About' }).waitFor();
};
// What has come has been looked at, too.
async function late(page, held) {
	await Promise.all([page.waitForResponse(() => true), held.answer()]);
	await settled(page, 50);
	await held.end();
}

// ---- places that were left ---------------------------------------------------------------

// Counts timers, streams and listeners of the window that are there.
function count() {
	const there = { timers: new Set(), streams: new Set(), drops: 0 };
	const { setInterval: set, clearInterval: clear, EventSource: Source } = globalThis;
	globalThis.setInterval = (...args) => {
		const id = set(...args);
		there.timers.add(id);
		return id;
	};
	globalThis.clearInterval = (id) => {
		there.timers.delete(id);
		clear(id);
	};
	globalThis.EventSource = class extends Source {
		constructor(...args) {
			super(...args);
			there.streams.add(this);
		}
		close() {
			there.streams.delete(this);
			super.close();
		}
	};
	const { addEventListener: add, removeEventListener: remove } = globalThis;
	globalThis.addEventListener = (what, ...rest) => {
		there.drops += what === 'drop';
		return add.call(globalThis, what, ...rest);
	};
	globalThis.removeEventListener = (what, ...rest) => {
		there.drops -= what === 'drop';
		return remove.call(globalThis, what, ...rest);
	};
	globalThis.left = () => `${there.timers.size} timers, ${there.streams.size} streams, ${there.drops} listeners`;
}

async function nothingLeft(w, other, tagger) {
	await fresh(w, other, 'about');
	await other.locator('main h1').waitFor();
	const before = await other.evaluate(() => globalThis.left());
	const places = [['overview', '**/api/v1/events?*'], ['volumes', '**/api/v1/volumes?*'], ['volumes/demo', '**/api/v1/volumes/demo'], ['servers', '**/api/v1/servers?*'], ['servers/server-1', '**/api/v1/servers/server-1']];
	if (tagger) {
		await other.route('**/api/v1/me', async (route) => route.fulfill({ json: { ...await (await route.fetch()).json(), spaces: true } }));
		await other.reload();
		await other.locator('main h1').waitFor();
		places.push(['files', '**/api/v1/spaces']);
	}
	for (const [place, pattern] of places) {
		const held = await hold(other, pattern);
		await other.evaluate((p) => { location.hash = `#/${p}`; }, place);
		await held.asked();
		await leave(other);
		await late(other, held);
		const now = await other.evaluate(() => globalThis.left());
		w.ok(now === before, `${place} that was left before it was there leaves nothing behind`, `${now}, not ${before}`);
	}
	await other.unroute('**/api/v1/me');
}

async function dialogs(w, other) {
	let held = await hold(other, '**/api/v1/servers?*');
	await other.evaluate(() => { location.hash = '#/servers?add'; });
	await held.asked();
	await leave(other);
	await late(other, held);
	w.ok(await other.locator('dialog').count() === 0 && other.url().endsWith('#/about'), 'nor does it open a dialog elsewhere, or change the address', other.url());

	await fresh(w, other, 'servers');
	await other.locator('.host button').first().waitFor();
	held = await hold(other, '**/api/v1/hosts/*/power');
	await other.locator('.host button').first().dblclick();
	await held.asked();
	await late(other, held);
	await other.locator('dialog[open]').first().waitFor();
	w.ok(await other.locator('dialog').count() === 1, 'who clicks twice gets one dialog', `${await other.locator('dialog').count()}`);
	for (let n = await other.locator('dialog').count(); n > 0; n--)
		await other.keyboard.press('Escape');
	held = await hold(other, '**/api/v1/hosts/*/power');
	await other.locator('.host button').first().click();
	await held.asked();
	await leave(other);
	await late(other, held);
	w.ok(await other.locator('dialog').count() === 0, 'and none when they are elsewhere by then');
}

// What ends well takes nobody along who has left.
async function takesNobodyAlong(w, other) {
	const made = (route) => route.fulfill({ status: 201, json: { name: 'late' } });
	await fresh(w, other, 'volumes/new');
	await other.fill('input[name=name]', 'late');
	let held = await hold(other, '**/api/v1/volumes', made, 'POST');
	await other.locator('form button[type=submit]').dblclick();
	await held.asked();
	await leave(other);
	await late(other, held);
	w.ok(held.count() === 1 && other.url().endsWith('#/about'), 'a volume is made once, and who has left by then stays where they are', `${held.count()}`, other.url());

	await fresh(w, other, 'volumes/demo');
	await other.getByRole('button', { name: 'Delete', exact: true }).click();
	await other.fill('dialog input[name=confirm]', 'demo');
	held = await hold(other, '**/api/v1/volumes/demo', (route) => route.fulfill({ json: { deleted: 'demo' } }), 'DELETE');
	await other.locator('dialog button[type=submit]').click();
	await held.asked();
	await leave(other);
	await late(other, held);
	w.ok(other.url().endsWith('#/about'), 'nor does one that was deleted', other.url());
}

// ---- twice --------------------------------------------------------------------------------

async function twice(w, other) {
	await fresh(w, other, 'volumes/demo');
	await other.getByRole('button', { name: 'Resize' }).click();
	let held = await hold(other, '**/api/v1/volumes/demo', (route) => route.fulfill({ json: {} }), 'PATCH');
	await other.fill('dialog input[name=size]', '300M');
	await other.keyboard.press('Enter');
	await held.asked();
	await other.locator('dialog input[name=size]').pressSequentially('B');
	await other.keyboard.press('Enter');
	await settled(other);
	w.ok(held.count() === 1, 'what is under way is not ordered again from its dialog', `${held.count()} times`);
	await late(other, held);

	const sessions = ['a', 'b', 'c', 'd'].map((id) => ({ id, label: `browser ${id}`, seen: 1, created: 1, expires: 1e10, person: 'alice', role: 'admin' })), ended = [];
	await other.route('**/api/v1/sessions', (route) => route.fulfill({ json: { sessions: sessions.filter((s) => !ended.includes(s.id)) } }));
	await other.route('**/api/v1/sessions/*', (route) => {
		ended.push(route.request().url().split('/').at(-1));
		return route.fulfill({ json: {} });
	});
	await fresh(w, other, 'people');
	const end = other.getByRole('button', { name: /^End: browser/ });
	await end.first().waitFor();
	const box = await end.first().boundingBox(), at = [box.x + box.width / 2, box.y + box.height / 2];
	await other.mouse.move(...at);
	await other.mouse.down();
	await other.mouse.up();
	await other.waitForFunction(() => document.querySelectorAll('[aria-label^="End: browser"]').length === 3);
	await other.mouse.down({ clickCount: 2 }); // where the next one is by now
	await other.mouse.up({ clickCount: 2 });
	await settled(other, 100);
	w.ok(ended.join() === 'a', 'a double click ends one session, and not the next as well', ended.join());
	await other.unroute('**/api/v1/sessions');
	await other.unroute('**/api/v1/sessions/*');
}

// ---- in what order answers come ---------------------------------------------------------------

async function lastWins(w, other) {
	const named = (name) => ({ volumes: [{ name, state: 'ready', size: 1e9, used: 0, k: 4, m: 2, spare: 2, clients: 0, rebuild: {}, stat: { reads: 0 } }], total: 1 });
	await fresh(w, other, 'volumes');
	await other.locator('.list').waitFor();
	const held = await hold(other, '**/api/v1/volumes?q=**', (route) => route.fulfill({ json: named(`found-${new URL(route.request().url()).searchParams.get('q')}`) }));
	await other.fill('input[type=search]', 'slow');
	await held.asked(1);
	await other.fill('input[type=search]', 'fast');
	await held.asked(2);
	await held.answer(1);
	await other.getByRole('link', { name: 'found-fast' }).waitFor();
	await held.answer(0);
	await settled(other, 100);
	w.ok(await other.getByRole('link', { name: 'found-fast' }).count() === 1, 'volumes that were looked for first, and come last, are not shown');
	await held.end();
	await fresh(w, other, 'about');
}

async function typed(w, other) {
	await fresh(w, other, 'files');
	await other.locator('.filelist').waitFor();
	await other.evaluate(() => {
		const input = document.querySelector('input[name=q]');
		input.value = 'harbour';
		input.dispatchEvent(new Event('input', { bubbles: true }));
		location.hash = '#/about';
	});
	await settled(other, DEBOUNCE_MS);
	w.ok(other.url().endsWith('#/about'), 'what was typed just before leaving does not change the address of where one is', other.url());
}

async function previews(w, other) {
	const { files } = await other.evaluate(() => import('./js/tagger.js').then((m) => m.taggerGet('folder', { path: 'notes', limit: 10 })));
	const [first, second] = files.filter((f) => f.kind !== 'folder');
	await fresh(w, other, 'files?in=notes');
	const held = await hold(other, `**/api/v1/tagger/file?id=${first.id}`);
	await other.getByRole('button', { name: first.name }).first().click();
	await held.asked();
	await other.locator('dialog').press('ArrowRight');
	await other.locator('dialog h2', { hasText: second.name }).waitFor();
	await late(other, held);
	w.ok(await other.locator('dialog h2').textContent() === second.name, 'nor is a file from which one has gone on', await other.locator('dialog h2').textContent());
	await other.keyboard.press('Escape');
	await other.route('**/api/v1/tagger/content?*', (route) => route.fulfill({ status: 404, json: { error: { code: 'not_found', message: 'There is no such file in the index.', hint: '' } } }));
	await other.getByRole('button', { name: first.name }).first().click();
	w.ok(await other.locator('dialog').getByText('There is no such file in the index.', { exact: true }).waitFor().then(() => true, () => false), 'what is said instead of a text is said, and not shown as one');
	await other.unroute('**/api/v1/tagger/content?*');
	await other.keyboard.press('Escape');
	await other.keyboard.press('Escape');
}

// ---- lists that got shorter -----------------------------------------------------------------------

async function shorter(w, other, tagger) {
	const volume = (i) => ({ name: `some-${i}`, state: 'ready', size: 1e9, used: 0, k: 4, m: 2, spare: 2, clients: 0, rebuild: {}, stat: { reads: 0 } });
	let total = 51;
	await other.route('**/api/v1/volumes?*', (route) => {
		const offset = Number(new URL(route.request().url()).searchParams.get('offset') ?? 0);
		return route.fulfill({ json: { volumes: Array.from({ length: total }, (_, i) => volume(i)).slice(offset, offset + 50), total } });
	});
	await fresh(w, other, 'volumes');
	await other.getByRole('button', { name: 'Next' }).click();
	await other.getByRole('link', { name: 'some-50' }).waitFor();
	total = 50; // somebody has deleted it
	await other.reload();
	w.ok(await other.waitForFunction(() => document.querySelectorAll('.list tbody tr').length === 50).then(() => true, () => false), 'a page of volumes that is no more is the last there is');
	await other.unroute('**/api/v1/volumes?*');
	if (!tagger)
		return;
	const file = (i) => ({ id: `id-${i}`, name: `gone-${i}.txt`, path: `gone-${i}.txt`, kind: 'text', size: 1, time: 1, ends: 2e9 });
	total = 101;
	await other.route('**/api/v1/tagger/bin?*', (route) => {
		if (route.request().method() === 'DELETE') {
			total--;
			return route.fulfill({ json: {} });
		}
		const offset = Number(new URL(route.request().url()).searchParams.get('offset') ?? 0);
		return route.fulfill({ json: { files: Array.from({ length: total }, (_, i) => file(i)).slice(offset, offset + 100), total, bytes: total, days: 30 } });
	});
	await fresh(w, other, 'files/bin');
	await other.getByRole('button', { name: 'Next' }).click();
	await other.getByRole('button', { name: /: gone-100.txt/ }).last().click();
	await other.locator('dialog button[type=submit]').click();
	w.ok(await other.getByRole('button', { name: /: gone-99.txt/ }).first().waitFor().then(() => true, () => false), 'and the bin is not empty when its last page is');
	await other.unroute('**/api/v1/tagger/bin?*');
}

// ---- addresses, back and forward --------------------------------------------------------------------

async function addresses(w, other) {
	for (const place of ['%E0%A4%A', 'constructor']) {
		await fresh(w, other, 'about');
		await other.goto(`${w.base}/#/${place}`);
		await other.reload();
		const told = await other.locator('main', { hasText: 'There is no such page.' }).waitFor().then(() => true, () => false);
		w.ok(told, `an address that is none is told: ${place}`, await other.locator('main').textContent());
	}
	await fresh(w, other, 'volumes');
	await other.fill('input[type=search]', 'dem');
	await other.waitForFunction(() => location.hash.includes('q=dem')); // when typing has ended
	await other.getByRole('combobox', { name: 'Sort by' }).selectOption('size desc');
	await other.getByRole('link', { name: 'demo' }).click();
	await other.locator('main h1', { hasText: 'demo' }).waitFor();
	await other.goBack();
	await other.locator('main h1', { hasText: 'Volumes' }).waitFor();
	const found = () => other.evaluate(() => `${document.querySelector('input[type=search]').value} ${document.querySelector('select[name=sort]').value}`);
	w.ok(await found() === 'dem size desc', 'who goes back to the volumes finds their search', await found());
	await other.reload();
	await other.locator('.list').waitFor();
	w.ok(await found() === 'dem size desc', 'and so does who loads it anew', await found());
}

// The libraries of charts do not come, for once.
async function charts(w) {
	const other = await w.same();
	await other.route('**/lib/uPlot.iife.min.js', (route) => route.abort());
	await fresh(w, other, 'overview');
	await other.locator('.plot .hint').first().waitFor();
	await other.unroute('**/lib/uPlot.iife.min.js');
	await leave(other);
	await other.evaluate(() => { location.hash = '#/overview'; });
	w.ok(await other.locator('.uplot').first().waitFor().then(() => true, () => false), 'charts that could not be had are there the next time');
	await other.context().close();
}

// ---- in and out ------------------------------------------------------------------------------------------

async function inAndOut(w) {
	const other = await openPage(w.browser);
	await w.page.evaluate(() => import('./js/api.js').then((api) => api.post('/people', { name: 'lea', password: 'lea is long', role: 'read-only' })));
	await fresh(w, other, 'events');
	await other.fill('input[name=name]', 'lea');
	await other.fill('input[name=password]', 'lea is long');
	await other.click('form button[type=submit]');
	await other.locator('main h1', { hasText: 'Events' }).waitFor();
	await leave(other);
	await other.goBack();
	await other.locator('main h1', { hasText: 'Events' }).waitFor();
	await other.goBack();
	await settled(other, 100);
	w.ok(await other.locator('form.login').count() === 0, 'who goes back is not asked to log in again');
	await fresh(w, other, 'login');
	w.ok(await other.locator('.hero').waitFor().then(() => true, () => false), 'nor is who is in already');
	await other.route('**/api/v1/logout', (route) => route.abort());
	await other.getByRole('button', { name: 'Log out' }).click();
	w.ok(await other.locator('.toast.bad').waitFor().then(() => true, () => false) && await other.locator('form.login').count() === 0, 'who could not be logged out is told, and not shown to be');
	await other.unroute('**/api/v1/logout');
	await other.getByRole('button', { name: 'Log out' }).click();
	await other.locator('form.login').waitFor();
	await other.context().close();
	await w.page.evaluate(() => import('./js/api.js').then((api) => api.del('/people/lea')));
}

export async function leaving(w, tagger) {
	w.same = async () => {
		const other = await openPage(w.browser);
		await other.context().addCookies(await w.page.context().cookies());
		return other;
	};
	const other = await w.same();
	await other.addInitScript(count);
	await nothingLeft(w, other, tagger);
	await dialogs(w, other);
	await takesNobodyAlong(w, other);
	await twice(w, other);
	await lastWins(w, other);
	if (tagger) {
		await typed(w, other);
		await previews(w, other);
	}
	await shorter(w, other, tagger);
	await addresses(w, other);
	w.ok(other.faults.length === 0, 'without faults in that page', ...other.faults);
	await other.context().close();
	await charts(w);
	await inAndOut(w);
}
