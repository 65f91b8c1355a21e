// What everybody can read and reach: places and dialogs, on a wide screen and on a phone, light and dark, in both
// languages. Nothing is wider than the window, and axe finds nothing serious.
import { axeSource, openPage, overflow } from './page.js';
import { DIALOGS, openDialog } from './states.js';

const PHONE = { viewport: { width: 360, height: 740 } };
const VARIANTS = [['wide', {}, 'en'], ['dark phone, Chinese', { ...PHONE, colorScheme: 'dark' }, 'zh']];
const OUTSIDE = ['login', 'join/nothing', 'register'];

const serious = (result) => result.violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => `${v.id}: ${v.nodes[0].html.slice(0, 160)} ${v.nodes[0].any[0]?.message ?? ''}`);

// What is wrong with what is shown: the colours are looked at in the other scheme as well.
async function faults(page, dark) {
	await page.evaluate(axeSource);
	const found = serious(await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] })));
	await page.emulateMedia({ colorScheme: dark ? 'light' : 'dark' });
	await page.evaluate(() => Promise.all(document.getAnimations().map((a) => a.finished.catch(() => {}))));
	found.push(...serious(await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'], runOnly: ['color-contrast'] }))).map((f) => `the other colours: ${f}`));
	await page.emulateMedia({ colorScheme: dark ? 'dark' : 'light' });
	return found;
}

async function windowOf(w, options, language, known) {
	const page = await openPage(w.browser, options);
	if (known)
		await page.context().addCookies(await w.page.context().cookies());
	await page.addInitScript((l) => localStorage.setItem('weft-language', l), language);
	return page;
}

// each(page, look): look(name) when there is something to be looked at.
async function looked(w, what, known, each) {
	for (const [name, options, language] of VARIANTS) {
		const page = await windowOf(w, options, language, known), wide = [], bad = [];
		await each(page, async (place) => {
			wide.push(...(await overflow(page)).map((e) => `${place}: ${e}`));
			bad.push(...(await faults(page, options.colorScheme === 'dark')).map((e) => `${place}: ${e}`));
		});
		w.ok(wide.length === 0, `${what}: nothing is wider than the window (${name})`, ...wide);
		w.ok(bad.length === 0, `${what}: no serious fault of accessibility (${name})`, ...bad);
		w.ok(page.faults.length === 0, `${what}: no faults (${name})`, ...page.faults);
		await page.context().close();
	}
}

async function shown(w, page, place) {
	await page.goto(`${w.base}/#/${place}`);
	await page.waitForSelector('main h1');
	await page.waitForFunction(() => !document.querySelector('main .loading'));
}

export async function everyPlace(w, places) {
	await looked(w, 'places', true, async (page, look) => {
		for (const place of places) {
			await shown(w, page, place);
			await look(place);
		}
	});
}

export async function outside(w) {
	await looked(w, 'who is not known', false, async (page, look) => {
		for (const place of OUTSIDE) {
			await shown(w, page, place);
			await look(place);
		}
	});
}

// By what opens it, in any language. Without tagger there are no files.
export async function everyDialog(w, tagger) {
	await looked(w, 'dialogs', true, async (page, look) => {
		for (const [place, opener, name] of DIALOGS) {
			if (place === 'files' && !tagger)
				continue;
			await shown(w, page, 'about'); // the same place twice is not shown anew
			await shown(w, page, place.replace('VOLUME', 'volumes/demo'));
			if (place === 'files')
				await page.locator('.filelist tbody tr').first().waitFor();
			if (!await openDialog(page, place, opener)) {
				w.ok(false, `the dialog ${name} is there`);
				continue;
			}
			await look(name);
			await page.keyboard.press('Escape');
			await page.locator('dialog').waitFor({ state: 'detached' });
		}
		if (!tagger)
			return;
		await shown(w, page, 'files?in=notes');
		await page.getByRole('button', { name: /harbour-2.md/ }).click();
		await page.locator('dialog .markdown').waitFor();
		await look('preview');
	});
}
