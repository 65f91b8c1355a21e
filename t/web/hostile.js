// Names, tags, labels and contents that would be code, were they put into the page as anything but text. They are
// looked at wherever they are shown; what runs says so in window.ran, and the page's policy would complain.
import { openPage } from './page.js';

const RUN = 'window.top.ran = 1';
const IMAGE = `<img src=x onerror="${RUN}">`; // no slash: it is a name
const NAMES = [`${IMAGE}.txt`, `"><svg onload="${RUN}">.md`, `javascript:${RUN};.txt`, `%3Cscript%3E'&amp;#39;\\u003c.txt`, `new\nline\tand "quotes".txt`, `\u202etxt.exe.txt`];
const MARKDOWN = ['# <script>window.top.ran = 1</script>', `${IMAGE} **${IMAGE}** \`${IMAGE}\``, '[here](javascript:window.top.ran=1) [there](https://example.org/"onmouseover="window.top.ran=1)', `> ${IMAGE}`, `- ${IMAGE}`, '```', '</pre><script>window.top.ran = 1</script>', '```'].join('\n\n');
const SVG = `<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" onload="${RUN}"><script>${RUN}</script><foreignObject><iframe xmlns="http://www.w3.org/1999/xhtml" srcdoc="&lt;script&gt;${RUN}&lt;/script&gt;"/></foreignObject><rect width="40" height="40"/></svg>`;
const FOLDER = `hostile ${IMAGE.replaceAll('"', "'")}`;

// Files of these names, with a tag that is code, in a folder that is, too.
async function make(page) {
	await page.evaluate(async ([folder, files, tag]) => {
		const { csrfToken } = await import('./js/api.js');
		const { addTags, taggerGet, taggerPost } = await import('./js/tagger.js');
		await taggerPost('mkdir', { path: folder });
		for (const [name, text] of files) {
			const answer = await fetch(`api/v1/tagger/upload?${new URLSearchParams({ path: `${folder}/${name}`, size: text.length, offset: 0 })}`, { method: 'PUT', headers: { 'X-Weft-CSRF': csrfToken(), 'Content-Type': 'application/octet-stream' }, body: text });
			if (!answer.ok)
				throw new Error(`${name}: ${await answer.text()}`);
		}
		const { files: made } = await taggerGet('folder', { path: folder, limit: 50 });
		await addTags(made, [tag]);
	}, [FOLDER, [...NAMES.map((name) => [name, MARKDOWN.replace(/[^\x00-\x7f]/g, '?')]), ['picture.svg', SVG]], IMAGE]);
}

async function look(w, page) {
	const { base, ok } = w, list = '.filelist tbody tr, .filegrid li';
	await page.goto(`${base}/#/files?in=${encodeURIComponent(FOLDER)}`);
	ok(await page.waitForFunction(([s, n]) => document.querySelectorAll(s).length === n, [list, NAMES.length + 1]).then(() => true, () => false), 'names that would be code are listed', await page.locator('main').textContent());
	await page.getByRole('button', { name: 'Pictures' }).click();
	await page.locator('.filegrid').waitFor();
	await page.getByRole('button', { name: 'Pictures' }).click();
	for (let i = 0; i <= NAMES.length; i++) {
		await page.locator('.filelist tbody tr button.filename').nth(i).click();
		await page.locator('dialog .show > *').first().waitFor();
		await page.keyboard.press('Escape');
		await page.locator('dialog').waitFor({ state: 'detached' });
	}
	await page.locator('input[name=q]').pressSequentially('onerr');
	await page.locator('.suggest li').first().waitFor({ timeout: 10000 }).catch(() => {});
	await page.keyboard.press('Escape');
	await page.getByText('Filter by tags').click();
	await page.locator('.tagpick li').first().waitFor();
	await page.goto(`${base}/#/files?tag=${encodeURIComponent(IMAGE)}`);
	await page.locator('main h1').waitFor();
	await page.goto(`${base}/#/graph?q=${encodeURIComponent(IMAGE)}`);
	await page.locator('.graphside h2, .graphside .notice').first().waitFor();
	for (const place of [IMAGE, `volumes/${encodeURIComponent(IMAGE)}`, `servers/${encodeURIComponent(IMAGE)}`, `shared/${encodeURIComponent(IMAGE)}`, `files?in=${encodeURIComponent(IMAGE)}`]) {
		await page.goto('about:blank');
		await page.goto(`${base}/#/${place}`);
		await page.locator('main .notice, main .empty').first().waitFor();
	}
}

// A link, its label, what it leads to; then the bin.
async function share(w, page) {
	const { base, ok } = w;
	const { secret } = await page.evaluate(([path, label]) => import('./js/api.js').then((api) => api.post('/shares', { path, person: '', write: false, label, days: 1 })), [FOLDER, IMAGE]);
	await page.goto(`${base}/#/people`);
	ok(await page.getByText(IMAGE).first().waitFor().then(() => true, () => false), 'a label that would be code is text');
	const guest = await openPage(w.browser);
	await guest.goto(`${base}/#/shared/${secret}`);
	ok(await guest.waitForFunction((n) => document.querySelectorAll('.sharedlist li').length === n, NAMES.length + 1).then(() => true, () => false), 'and so is all of that behind a link', await guest.locator('main').textContent());
	await guest.locator('.sharedlist a.filename').nth(1).click();
	await guest.locator('.show > *').first().waitFor();
	ok(!await guest.evaluate(() => globalThis.ran) && guest.faults.length === 0, 'of which nothing runs', ...guest.faults);
	await guest.context().close();
	await page.evaluate(([folder]) => import('./js/tagger.js').then((m) => m.taggerDelete('file', { path: folder, recursive: 1 })), [FOLDER]);
	await page.goto(`${base}/#/files/bin`);
	ok(await page.getByText(FOLDER).first().waitFor().then(() => true, () => false), 'in the bin they are text');
	await page.goto(`${base}/#/events`);
	await page.locator('.event').first().waitFor();
}

export async function hostile(w) {
	const page = await openPage(w.browser);
	await page.context().addCookies(await w.page.context().cookies());
	await page.goto(`${w.base}/#/about`);
	await page.locator('main h1').waitFor();
	let asked = 0;
	page.on('dialog', (box) => {
		asked++;
		box.dismiss();
	});
	await make(page);
	await look(w, page);
	await share(w, page);
	w.ok(!await page.evaluate(() => globalThis.ran) && asked === 0, 'nothing of it has run');
	w.ok(page.faults.length === 0, 'nor tried to', ...page.faults);
	await page.context().close();
}
