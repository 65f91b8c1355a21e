// Previews: of each kind of file what a person sees and hears of it, and that nothing of it acts on the page.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { openPage } from './page.js';

const FILM_S = 8;
const TEXT_MAX = 256 << 10; // as the page has it

// A page that is red, with a word on it.
function pdf() {
	const draw = '1 0 0 rg 0 0 300 400 re f 1 g BT /F 24 Tf 40 200 Td (barnacles) Tj ET';
	const objects = ['<</Type/Catalog/Pages 2 0 R>>', '<</Type/Pages/Kids[3 0 R]/Count 1>>',
		'<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 400]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>',
		`<</Length ${draw.length}>>stream\n${draw}\nendstream`, '<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>'];
	let text = '%PDF-1.4\n';
	const at = objects.map((o, i) => {
		const offset = text.length;
		text += `${i + 1} 0 obj${o}endobj\n`;
		return offset;
	});
	return `${text}xref\n0 6\n0000000000 65535 f \n${at.map((o) => `${String(o).padStart(10, '0')} 00000 n \n`).join('')}trailer<</Size 6/Root 1 0 R>>\nstartxref\n${text.length}\n%%EOF\n`;
}

// Whatever of it runs asks for /ran.
const acts = (who) => `new Image().src='/ran-${who}';fetch('/ran-${who}');parent.postMessage('ran','*');document.title='ran'`;
const HOSTILE = {
	'evil.md': `# evil\n\n<script>${acts('md')}</script>\n<img src="x" onerror="${acts('md')}">\n\n[press](javascript:${encodeURIComponent(acts('md'))}) [data](data:text/html,<script>1</script>)\n\n[good](https://example.org/)\n`,
	'evil.html': `<!doctype html><title>evil</title><body onload="${acts('html')}"><script>${acts('html')}</script>lighthouse`,
	'evil.svg': `<svg xmlns="http://www.w3.org/2000/svg" width="60" height="60" onload="${acts('svg')}"><script>${acts('svg')}</script><rect width="60" height="60" fill="#00ff00"/><foreignObject width="9" height="9"><iframe xmlns="http://www.w3.org/1999/xhtml" src="javascript:${encodeURIComponent(acts('svg'))}"/></foreignObject></svg>`,
	'<img src=x onerror=alert(1)>.txt': `<script>${acts('txt')}</script>`,
	'page.pdf.xhtml': `<html xmlns="http://www.w3.org/1999/xhtml"><script>${acts('xhtml')}</script></html>`,
};

function makeFiles(dir) {
	const ffmpeg = (name, ...args) => execFileSync('ffmpeg', ['-v', 'error', '-y', ...args, `${dir}/${name}`]);
	mkdirSync(`${dir}/twin`, { recursive: true });
	const colour = (c) => ['-f', 'lavfi', '-i', `color=${c}:s=320x180:d=${FILM_S / 2}:r=10`];
	ffmpeg('film.webm', ...colour('red'), ...colour('blue'), '-f', 'lavfi', '-i', `sine=440:d=${FILM_S}`, '-filter_complex', '[0][1]concat', '-c:v', 'libvpx', '-g', '10', '-shortest');
	ffmpeg('photo.png', '-f', 'lavfi', '-i', 'color=0x00ff00:s=400x300', '-frames:v', '1');
	ffmpeg('sound.wav', '-f', 'lavfi', '-i', 'sine=440:d=2');
	ffmpeg('chart.tif', '-f', 'lavfi', '-i', 'color=blue:s=400x300', '-frames:v', '1');
	ffmpeg('old.avi', ...colour('red'), '-c:v', 'mpeg4');
	writeFileSync(`${dir}/torn.png`, readFileSync(`${dir}/photo.png`).subarray(0, 60));
	const text = { 'paper.pdf': pdf(), 'plain.txt': 'The gannets\n  <b>dive</b> & rise\n', 'long.txt': `first words\n${'gannets dive\n'.repeat(TEXT_MAX / 8)}last words\n`, 'twin/plain.txt': 'The other gannets',
		'latin.txt': Buffer.from('Der Tölpel taucht größer als die Möwe über der Brücke.\n'.repeat(8), 'latin1'),
		'story.md': '# The *gannet*\n\nIt dives:\n\n1. up\n2. down\n\n> quoted\n\n```\n<code> & such\n```\n\n[more](https://example.org/gannet)\n', ...HOSTILE };
	for (const [name, content] of Object.entries(text))
		writeFileSync(`${dir}/${name}`, content);
}

// The colour in a place, at that part of its height, as it is seen: red, green or blue.
async function colourOf(page, place, height) {
	const url = `data:image/png;base64,${(await place.screenshot()).toString('base64')}`;
	return page.evaluate(async ([src, part]) => {
		const image = new Image();
		image.src = src;
		await image.decode();
		const canvas = document.createElement('canvas').getContext('2d');
		canvas.drawImage(image, Math.floor(image.width / 2), Math.floor(image.height * part), 1, 1, 0, 0, 1, 1);
		const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
		return r > 180 && g + b < 120 ? 'red' : g > 180 && r + b < 120 ? 'green' : b > 180 && r + g < 120 ? 'blue' : `${r} ${g} ${b}`;
	}, [url, height]);
}

// Until it has that colour: what others draw says not when it is done.
async function turns(page, place, colour, height = 0.3) {
	const end = Date.now() + 30000;
	let now;
	do {
		now = await colourOf(page, place, height);
		if (now !== colour)
			await page.waitForTimeout(100);
	} while (now !== colour && Date.now() < end);
	return now;
}

export async function previews(w, dir) {
	const { page, ok, go, button } = w, show = page.locator('.show');
	makeFiles(`${dir}/files/media`);
	const ran = [];
	page.context().on('request', (r) => r.url().includes('/ran-') && ran.push(r.url()));
	page.on('dialog', (d) => {
		ran.push(d.message());
		d.dismiss();
	});
	const open = async (name) => {
		await page.locator('.filelist').getByRole('button', { name, exact: true }).click();
		await page.locator('dialog h2', { hasText: name.slice(0, 5) }).waitFor();
		await show.locator(':scope > *').first().waitFor();
	};
	const close = async () => {
		await button('Close').click();
		await page.locator('dialog').waitFor({ state: 'detached' });
	};
	// what is read shows by itself
	await go('files?in=media');
	for (const [name, kind] of [['film.webm', 'film'], ['photo.png', 'picture'], ['sound.wav', 'sound'], ['paper.pdf', 'document'], ['evil.svg', 'picture'], ['chart.tif', 'picture'], ['old.avi', 'film'], ['latin.txt', 'text'], ['story.md', 'text']])
		await page.locator('.filelist tr', { hasText: name }).locator('td[data-name=Kind]', { hasText: new RegExp(`^${kind}$`) }).waitFor();
	await page.locator('.filelist').getByText('being read').first().waitFor({ state: 'detached' });
	ok(true, 'files that others put there appear, and say what they are when they are read');

	await open('photo.png');
	const got = await turns(page, show.locator('img'), 'green');
	ok(got === 'green', 'a picture is shown', got);
	await close();
	await open('chart.tif');
	const chart = await turns(page, show.locator('img'), 'blue');
	ok(chart === 'blue', 'one of a kind that browsers do not know, too', chart);
	await close();
	await open('torn.png');
	ok(await w.seen('There is no preview of this kind of file.') && await show.locator('img').count() === 0, 'what nobody can make a picture of is no broken one');
	await close();
	await open('old.avi');
	ok(await show.getByText('This browser cannot play it.').waitFor().then(() => true, () => false) && await show.locator('video').count() === 0, 'a film that the browser cannot play says so');
	const still = await turns(page, show.locator('img'), 'red');
	ok(still === 'red' && /[?&]download=1/.test(await show.getByRole('link', { name: 'Download' }).getAttribute('href')), 'with a still of it, and a way to take it elsewhere', still);
	await close();

	await open('film.webm');
	const film = show.locator('video'), scrub = show.locator('.scrub'), frame = show.locator('.frame-at');
	await film.evaluate((e) => e.readyState >= 1 || new Promise((go2) => e.addEventListener('loadedmetadata', go2)));
	ok(Math.abs(await film.evaluate((e) => e.duration) - FILM_S) < 1, 'a film is there in its length');
	await page.waitForFunction(() => document.querySelector('.frame-at')?.style.backgroundImage);
	const box = await scrub.boundingBox(), hover = (part) => page.mouse.move(box.x + box.width * part, box.y + box.height / 2);
	await hover(0.2);
	const early = await turns(page, frame, 'red');
	await hover(0.8);
	const late = await turns(page, frame, 'blue');
	ok(early === 'red' && late === 'blue', 'moving along the bar shows what is there in the film', early, late);
	const size = await frame.boundingBox();
	ok(Math.abs(size.width / size.height - 16 / 9) < 0.1 && /^0:0[67]$/.test(await frame.textContent()), 'nothing but the film, with the time', `${size.width} ${size.height}`, await frame.textContent());
	await page.mouse.down();
	await page.mouse.up();
	await page.waitForFunction((s) => Math.abs(document.querySelector('.show video').currentTime - 0.8 * s) < 0.3, FILM_S);
	await page.mouse.move(5, 5);
	const there = await turns(page, film, 'blue');
	ok(there === 'blue', 'a click goes there', there);
	await scrub.focus();
	await page.keyboard.press('ArrowLeft');
	ok(await film.evaluate((e, s) => e.currentTime < 0.8 * s - 0.01, FILM_S) && await page.waitForFunction(() => Number(document.querySelector('.scrub').getAttribute('aria-valuenow')) < 80).then(() => true, () => false), 'keys move along it, too');
	await film.evaluate((e) => e.play());
	ok(await page.waitForFunction((s) => document.querySelector('.show video').currentTime > 0.8 * s + 0.1, FILM_S).then(() => true, () => false), 'and it plays');
	await close();

	await open('sound.wav');
	await show.locator('audio').evaluate((e) => e.play());
	ok(await page.waitForFunction(() => document.querySelector('.show audio').currentTime > 0.2).then(() => true, () => false), 'sound plays');
	await close();

	await open('paper.pdf');
	const paper = await turns(page, show.locator('iframe'), 'red', 0.7);
	ok(paper === 'red', 'a PDF is shown', paper);
	await close();

	await open('plain.txt');
	ok(await show.locator('pre').textContent() === 'The gannets\n  <b>dive</b> & rise\n', 'text is shown as it is');
	await page.locator('dialog').press('ArrowRight');
	await show.locator('audio').waitFor();
	await page.locator('dialog').press('ArrowRight');
	await page.locator('dialog h2', { hasText: 'story.md' }).waitFor();
	ok(await show.locator('.markdown ol li').count() === 2 && await show.locator('.markdown h3 em').textContent() === 'gannet' && await show.locator('.markdown pre').textContent() === '<code> & such\n'
		&& await show.locator('.markdown a').getAttribute('href') === 'https://example.org/gannet', 'keys lead to the next file, in which Markdown is what it says');
	await close();
	await open('long.txt');
	ok((await show.locator('pre').textContent()).length === TEXT_MAX && await w.seen('Only the beginning is shown.'), 'of a long text the beginning is shown');
	await close();
	await open('latin.txt');
	ok((await show.locator('pre').textContent()).startsWith('Der Tölpel taucht'), 'text that is not UTF-8 can be read');
	await close();

	// two of one name, found together
	await page.fill('input[name=q]', 'name:plain.txt');
	await w.counted('.filelist tbody tr', 2);
	await page.locator('.filelist button').first().click();
	const first = await show.locator('pre').textContent();
	await page.locator('dialog').press('ArrowRight');
	await page.waitForFunction((text) => document.querySelector('.show pre') && document.querySelector('.show pre').textContent !== text, first);
	await page.locator('dialog').press('ArrowLeft');
	ok(await page.waitForFunction((text) => document.querySelector('.show pre')?.textContent === text, first).then(() => true, () => false), 'also between files of the same name');
	await close();

	await go('files?in=media');
	for (const name of Object.keys(HOSTILE)) {
		await page.locator('.filelist').waitFor();
		await open(name);
		await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
		if (name === 'evil.svg')
			ok(await turns(page, show.locator('img'), 'green') === 'green', 'an SVG is a picture');
		if (name === 'evil.md')
			ok(await show.locator('a').count() === 1 && await show.locator('img, script').count() === 0, 'of hostile Markdown only text and a link remain');
		await close();
	}
	const other = await openPage(w.browser);
	await other.context().addCookies(await page.context().cookies());
	other.context().on('request', (r) => r.url().includes('/ran-') && ran.push(r.url()));
	for (const name of Object.keys(HOSTILE)) {
		await other.goto(`${w.base}/api/v1/tagger/content?path=${encodeURIComponent(`media/${name}`)}`);
		const origin = await other.evaluate(() => self.origin);
		if (origin !== 'null')
			ran.push(`${name} is of ${origin}`);
	}
	await other.context().close();
	ok(ran.length === 0 && await page.title() !== 'ran', 'no file runs anything, neither in the page nor alone', ...ran);
}
