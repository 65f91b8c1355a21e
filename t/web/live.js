// What the page asks for by itself: a stream, and nothing often, also while volmgr is away; and three seconds without a network.
import { openPage } from './page.js';

const QUIET_MS = 9000, AWAY_S = 60;
export const SEEN_MS = 9000; // sooner than a stream that is silent is given up

// Nothing is polled faster than every ten seconds.
async function quiet(w) {
	const other = await openPage(w.browser), asked = [];
	await other.context().addCookies(await w.page.context().cookies());
	await other.goto(`${w.base}/#/overview`);
	await other.locator('.hero').waitFor();
	await other.waitForLoadState('load');
	await other.locator('.uplot').first().waitFor();
	await other.evaluate(() => new Promise((done) => setTimeout(done, 500))); // what the charts and lists are made of has come
	other.on('request', (request) => asked.push(new URL(request.url()).pathname));
	let told = 0;
	await other.exposeFunction('told', () => told++);
	await other.evaluate(() => import('./js/live.js').then(({ live }) => live(() => globalThis.told())));
	await other.evaluate((ms) => new Promise((done) => setTimeout(done, ms)), QUIET_MS);
	const often = asked.filter((path) => asked.filter((p) => p === path).length > 1);
	w.ok(often.length === 0, 'in nine seconds the page asks for nothing twice', ...often);
	w.ok(told >= 3, 'and is told what is going on', `${told} times`);
	await other.context().close();
}

// While volmgr is away it is asked soon whether it is there again, and then less and less often.
async function away(w) {
	const clock = await openPage(w.browser); // its time is ours
	await clock.context().addCookies(await w.page.context().cookies());
	await clock.clock.install();
	await clock.goto(`${w.base}/#/overview`);
	await clock.locator('.hero').waitFor();
	let asked = 0, failed = 0;
	clock.on('requestfailed', (request) => (failed += request.url().endsWith('/live')));
	await clock.route('**/api/v1/live', (route) => {
		asked++;
		return route.abort();
	});
	await clock.context().setOffline(true); // ends the stream
	await clock.context().setOffline(false);
	for (let s = 0, soon = 0; s < AWAY_S; s++) {
		await clock.clock.runFor(1000);
		while (failed < asked)
			await clock.waitForEvent('requestfailed');
		await clock.waitForFunction(() => true);
		if (s === 8)
			w.ok((soon = asked) >= 3, 'who is away is asked again soon', `${soon} times in 9 s`);
	}
	w.ok(asked >= 7 && asked <= 12, 'and not more often than every 10 s for long', `${asked} times in ${AWAY_S} s`);
	await clock.locator('.hero.bad').waitFor();
	await clock.unroute('**/api/v1/live');
	await clock.clock.runFor(10000);
	w.ok(await clock.locator('.hero.bad').waitFor({ state: 'detached' }).then(() => true, () => false), 'then it goes on by itself');
	await clock.context().close();
}

export async function asksLittle(w) {
	await quiet(w);
	await away(w);
}

// A network that is gone for three seconds, on a page that shows what goes on.
export async function threeSeconds(w) {
	const { page, ok, go } = w;
	await go('volumes/demo');
	await page.locator('.uplot').first().waitFor();
	const before = await page.evaluate(() => import('./js/live.js').then(({ live }) => new Promise((done) => {
		live((event, there) => there && event && done(event.uptime));
	})));
	await page.context().setOffline(true);
	ok(await page.getByText('No connection').waitFor({ timeout: SEEN_MS }).then(() => true, () => false), 'a network that is gone is told on the page of a volume');
	await page.evaluate(() => new Promise((done) => setTimeout(done, 3000)));
	await page.context().setOffline(false);
	ok(await page.getByText('No connection').waitFor({ state: 'hidden' }).then(() => true, () => false), 'three seconds later it goes on');
	ok(await page.evaluate((was) => import('./js/live.js').then(({ live }) => new Promise((done) => live((event, there) => there && event.uptime > was + 2 && done(true)))), before), 'with what is so now');
	ok(await page.locator('h1:has-text("demo")').count() === 1 && await page.locator('main .notice.bad').count() === 0, 'on the same page, without a word of what was');
}
