// What an admin does for others, and for their own sessions and tokens.
import { openPage } from './page.js';

const api = (page, what, ...args) => page.evaluate(([f, a]) => import('./js/api.js').then((m) => m[f](...a)), [what, args]);
const submit = (page) => page.locator('dialog button[type=submit]').click();
const yes = (promise) => promise.then(() => true, () => false);

async function enter(w, name, password) {
	const other = await openPage(w.browser);
	await other.goto(`${w.base}/#/login`);
	await other.fill('input[name=name]', name);
	await other.fill('input[name=password]', password);
	await other.click('form button[type=submit]');
	return other;
}

async function another(w) {
	const { page, ok, go, seen } = w;
	await api(page, 'post', '/people', { name: 'olga', password: 'olga is long', role: 'user' });
	await go('people');
	await page.reload();
	await Promise.all([page.waitForResponse((r) => r.request().method() === 'PATCH'), page.getByRole('combobox', { name: 'Role of olga' }).selectOption('read-only')]);
	await page.reload();
	ok(await page.getByRole('combobox', { name: 'Role of olga' }).inputValue() === 'read-only', 'a role is changed');
	const row = page.locator('tr', { hasText: 'olga' });
	await row.getByRole('button', { name: 'New password' }).click();
	await page.fill('dialog input[name=fresh]', 'short');
	ok(await page.locator('dialog button[type=submit]').isDisabled(), 'a short password is none');
	await page.fill('dialog input[name=fresh]', 'olga is longer');
	await submit(page);
	ok(await seen('The password is changed.'), 'an admin gives another a new password');
	const old = await enter(w, 'olga', 'olga is long');
	ok(await yes(old.getByText('This name and password do not fit.').waitFor()), 'the old one is none any more');
	await old.context().close();
	const other = await enter(w, 'olga', 'olga is longer');
	ok(await yes(other.locator('.hero').waitFor()), 'and the new one is');
	await other.goto(`${w.base}/#/volumes/demo`);
	ok(await yes(other.locator('h1', { hasText: 'demo' }).waitFor()) && await other.getByRole('button', { name: 'Resize' }).count() === 0, 'who has become a reader changes nothing');
	await other.context().close();
	await api(page, 'del', '/people/olga');
}

async function tickets(w) {
	const { page, ok, go, base } = w;
	await api(page, 'post', '/people', { name: 'pete', password: 'pete is long', role: 'admin' });
	const mine = await enter(w, 'pete', 'pete is long'), elsewhere = await enter(w, 'pete', 'pete is long');
	for (const x of [mine, elsewhere])
		await x.locator('.hero').waitFor();
	const { secret } = await api(mine, 'post', '/tokens', { label: 'a script', role: 'read-only', days: 1 });
	const asked = () => fetch(`${base}/api/v1/status`, { headers: { Authorization: `Bearer ${secret}` } }).then((r) => r.status);
	const invited = await api(mine, 'post', '/invitations', { role: 'user', label: 'for zoe' });
	ok(await asked() === 200, 'a token is good');
	await mine.goto(`${base}/#/people`);
	await mine.getByText('for zoe').waitFor();
	const ends = mine.getByRole('button', { name: /^End: / });
	await ends.nth(1).click(); // the first is this one
	ok(await yes(ends.nth(1).waitFor({ state: 'detached' })), 'one session is ended');
	await elsewhere.goto(`${base}/#/events`);
	ok(await yes(elsewhere.getByRole('heading', { name: 'Log in' }).waitFor()), 'and who had it has to log in');
	await mine.getByRole('button', { name: 'Remove: a script' }).click();
	ok(await yes(mine.getByText('None.').waitFor()), 'a token is removed');
	ok(await asked() === 401, 'and is none any more');
	await mine.getByRole('button', { name: 'Remove: for zoe' }).click();
	await mine.getByText('for zoe').waitFor({ state: 'detached' });
	await elsewhere.goto(`${base}/#/join/${invited.secret}`);
	await elsewhere.fill('input[name=name]', 'zoe');
	await elsewhere.fill('input[name=password]', 'zoe is long');
	await elsewhere.click('form button[type=submit]');
	ok(await yes(elsewhere.locator('.notice.bad').waitFor()), 'an invitation that was withdrawn lets nobody in');
	ok(mine.faults.length === 0 && elsewhere.faults.length === 0, 'without faults in these pages', ...mine.faults, ...elsewhere.faults);
	await mine.context().close();
	await elsewhere.context().close();
	await go('people');
	await api(page, 'del', '/people/pete');
}

export async function spaces(w) {
	const { page, ok, go, button } = w;
	await go('people');
	await button('New space').click();
	await page.fill('dialog input[name=path]', '/notes/');
	await page.selectOption('dialog select[name=write]', '1');
	await submit(page);
	const row = page.locator('li', { has: page.getByRole('button', { name: 'Remove: notes' }) });
	ok(await yes(row.filter({ hasText: 'to change' }).waitFor()), 'a space is given');
	await row.getByRole('button', { name: 'Remove: notes' }).click();
	await submit(page);
	ok(await yes(row.waitFor({ state: 'detached' })) && (await api(page, 'get', '/spaces')).spaces.every((s) => s.home), 'and taken away');
}

export async function people(w) {
	await another(w);
	await tickets(w);
}
