// Settings of the cluster's page and of this browser: guests, metrics, the language.
import { openPage } from './page.js';

const yes = (promise) => promise.then(() => true, () => false);

export async function settings(w) {
	const { page, ok, go, base } = w;
	const set = async (name, on) => {
		await go('settings');
		await Promise.all([page.waitForResponse((r) => r.url().endsWith('/settings') && r.request().method() === 'PATCH'), page.locator(`input[name=${name}]`).setChecked(on)]);
	};
	const guest = await openPage(w.browser);
	await set('guests', true);
	await page.getByText('Saved').first().waitFor();
	const behind = () => page.evaluate(() => getComputedStyle(document.querySelector('#toasts'), '::backdrop').backgroundColor);
	ok(await page.evaluate(() => document.querySelector('#toasts').matches(':popover-open')) && await behind() === 'rgba(0, 0, 0, 0)', 'what is said darkens nothing behind it', await behind());
	ok(await page.evaluate(() => document.activeElement.name) === 'guests', 'who has switched something is still there');
	await guest.goto(`${base}/#/overview`);
	ok(await yes(guest.locator('.hero').waitFor()), 'guests are let in');
	await guest.goto(`${base}/#/volumes/demo`);
	ok(await yes(guest.locator('h1', { hasText: 'demo' }).waitFor()) && await guest.getByRole('button', { name: 'Delete' }).count() === 0, 'to look, and to change nothing');
	await guest.goto(`${base}/#/people`);
	ok(await yes(guest.getByText('You look as a guest.').waitFor()), 'and are told so');
	await set('guests', false);
	await guest.reload();
	ok(await yes(guest.getByRole('heading', { name: 'Log in' }).waitFor()), 'or not');
	ok(guest.faults.length === 0, 'without faults in that page', ...guest.faults);
	await guest.context().close();
	const scraped = () => fetch(`${base}/metrics`).then((r) => r.status);
	await set('metrics', true);
	ok(await scraped() === 200, 'metrics are for everybody');
	await set('metrics', false);
	ok(await scraped() === 401, 'or not');
	await page.getByRole('combobox', { name: 'Language' }).selectOption('zh');
	ok(await yes(page.locator('h1', { hasText: '设置' }).waitFor()) && await page.evaluate(() => document.documentElement.lang.startsWith('zh')), 'the page speaks Chinese');
	await page.reload();
	ok(await yes(page.locator('h1', { hasText: '设置' }).waitFor()), 'and remembers it');
	await page.getByRole('button', { name: 'English' }).click();
	ok(await yes(page.locator('h1', { hasText: 'Settings' }).waitFor()), 'a button changes it back');
	await page.getByRole('button', { name: '中文' }).click();
	ok(await yes(page.locator('h1', { hasText: '设置' }).waitFor()), 'and forth');
	await page.getByRole('button', { name: 'English' }).click();
	await page.locator('h1', { hasText: 'Settings' }).waitFor();
}
