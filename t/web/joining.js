// People who come by themselves: registering, waiting for approval, logging in and out, a new password.
import { openPage } from './page.js';

const submit = (page) => page.locator('form button[type=submit]').click();

async function enter(page, name, password) {
	await page.fill('input[name=name]', name);
	await page.fill('input[name=password]', password);
	await submit(page);
}

export async function register(w) {
	const { page, ok, go } = w, shows = (p, text) => p.getByText(text).first().waitFor().then(() => true, () => false);
	const setting = async (to) => {
		await go('settings');
		await page.getByRole('combobox', { name: 'Registration' }).selectOption(to);
		await page.getByText('Saved').first().waitFor();
	};
	await setting('off');
	const other = await openPage(w.browser);
	await other.goto(`${w.base}/#/login`);
	await other.getByRole('heading', { name: 'Log in' }).waitFor();
	ok(await other.getByRole('link', { name: 'Register' }).count() === 0, 'where nobody may register it is not offered');
	await setting('approval');
	await other.reload();
	await other.getByRole('link', { name: 'Register' }).click();
	await enter(other, 'alice', 'another alice');
	ok(await other.locator('.notice.bad').waitFor().then(() => true), 'a name that is taken is refused');
	await enter(other, 'nina', 'short');
	ok(await other.locator('input[name=password]:invalid').count() === 1, 'a short password is not sent');
	await enter(other, 'nina', 'nina is long');
	ok(await shows(other, 'You can log in when an admin has approved.'), 'who registers is told to wait');
	await other.getByRole('link', { name: 'I have an account' }).click();
	await enter(other, 'nina', 'nina is long');
	ok(await other.locator('.notice.bad').waitFor().then(() => true) && /#\/login/.test(other.url()), 'and does not get in before');
	await go('people');
	const row = page.locator('tr', { hasText: 'nina' });
	await row.getByRole('button', { name: 'Approve' }).click();
	await row.getByText('active').waitFor();
	await enter(other, 'nina', 'nina is long');
	ok(await other.locator('.hero').waitFor().then(() => true), 'who is approved does');
	await other.goto(`${w.base}/#/people`);
	await other.getByRole('button', { name: 'Change password' }).click();
	await other.fill('dialog input[name=old]', 'not hers at all');
	await other.fill('dialog input[name=fresh]', 'nina is longer');
	await other.locator('dialog button[type=submit]').click();
	ok(await other.locator('dialog .notice.bad').waitFor().then(() => true), 'a new password wants the old one');
	await other.fill('dialog input[name=old]', 'nina is long');
	await other.locator('dialog button[type=submit]').click();
	ok(await shows(other, 'The password is changed.'), 'then it is changed');
	await other.getByRole('button', { name: 'Log out' }).click();
	await other.getByRole('heading', { name: 'Log in' }).waitFor();
	await other.goBack();
	ok(await other.getByRole('heading', { name: 'Log in' }).waitFor().then(() => true) && await other.getByText('Change password').count() === 0, 'who has logged out sees nothing by going back');
	await enter(other, 'nina', 'nina is long');
	ok(await other.locator('.notice.bad').waitFor().then(() => true), 'the old password is none any more');
	await enter(other, 'nina', 'nina is longer');
	ok(await other.getByRole('button', { name: 'Log out' }).waitFor().then(() => true), 'the new one is');
	ok(other.faults.length === 0, 'without faults in that page', ...other.faults);
	await other.context().close();
	await page.reload();
	await page.getByRole('button', { name: 'Remove: nina' }).click();
	await page.fill('dialog input[name=confirm]', 'nina');
	await page.locator('dialog button[type=submit]').click();
	await row.waitFor({ state: 'detached' });
}
