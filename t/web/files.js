// Files as people handle them: taking them home, renaming, moving, deleting and calling back, tags of many at once,
// filters. What the page says and what is on the volume then are held against each other.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';

const shows = (place) => place.waitFor().then(() => true, () => false);
const goes = (place) => place.waitFor({ state: 'detached' }).then(() => true, () => false);
const file = (w, name) => w.page.locator('.filelist').getByRole('button', { name, exact: true });
async function mark(w, ...names) {
	for (const name of names)
		await w.page.getByRole('checkbox', { name: `Mark ${name}`, exact: true }).check();
}

const act = (w, name) => w.page.locator('.marks').getByRole('button', { name, exact: true }).click();
const submit = (w) => w.page.locator('dialog button[type=submit]').click();
const closed = (w) => w.page.locator('dialog').waitFor({ state: 'detached' });
const refused = (w, text) => shows(w.page.locator('dialog .notice.bad', { hasText: text }));
const rows = (w, n) => w.counted('.filelist tbody tr', n);

function put(dir, files) {
	for (const [path, content] of Object.entries(files)) {
		mkdirSync(`${dir}/${path}`.replace(/\/[^/]*$/, ''), { recursive: true });
		writeFileSync(`${dir}/${path}`, content);
	}
}

async function open(w, place, ...names) {
	await w.go(`files?in=${place}`);
	for (const name of names)
		await file(w, name).waitFor();
}

// { path: content } of an archive, by its directory at the end.
function unzip(bytes) {
	const out = {}, end = bytes.lastIndexOf('PK\x05\x06', undefined, 'latin1');
	let at = bytes.readUInt32LE(end + 16);
	for (let n = bytes.readUInt16LE(end + 10); n > 0; n--) {
		const [name, extra, comment] = [28, 30, 32].map((i) => bytes.readUInt16LE(at + i)), local = bytes.readUInt32LE(at + 42);
		const from = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28), body = bytes.subarray(from, from + bytes.readUInt32LE(at + 20));
		const path = bytes.toString('utf8', at + 46, at + 46 + name);
		if (!path.endsWith('/'))
			out[path] = bytes.readUInt16LE(at + 10) === 8 ? inflateRawSync(body) : body;
		at += 46 + name + extra + comment;
	}
	return out;
}

async function download(w, click) {
	const [got] = await Promise.all([w.page.waitForEvent('download'), click()]);
	return { name: got.suggestedFilename(), bytes: readFileSync(await got.path()) };
}

export async function downloads(w, dir) {
	const { page, ok, button } = w, on = `${dir}/files/home`;
	const noise = Buffer.alloc(300000);
	for (let i = 0; i < noise.length; i++)
		noise[i] = Math.imul(i, 2654435761) >>> 13;
	const tree = { 'a & b #1.txt': 'one '.repeat(5000), 'noise.bin': noise, 'box/deep/灯塔.txt': '海边的灯塔', 'box/empty.txt': '', 'left.txt': 'stays' };
	put(on, tree);
	await open(w, 'home', 'a & b #1.txt', 'noise.bin', 'box', 'left.txt');
	await file(w, 'noise.bin').click();
	let got = await download(w, () => page.locator('dialog').getByRole('link', { name: 'Download' }).click());
	ok(got.name === 'noise.bin' && got.bytes.equals(noise), 'a file is downloaded, as it is');
	await page.keyboard.press('Escape');
	await closed(w);
	await mark(w, 'a & b #1.txt', 'noise.bin', 'box');
	got = await download(w, () => page.locator('.marks').getByRole('link', { name: 'Download as zip' }).click());
	const inside = unzip(got.bytes), names = Object.keys(inside).sort();
	const wanted = Object.keys(tree).filter((x) => x !== 'left.txt').sort();
	ok(got.name.endsWith('.zip') && names.length === wanted.length && wanted.every((x) => names.some((y) => y.endsWith(x) && inside[y].equals(Buffer.from(tree[x])))),
		'several files and a folder are an archive, in which all is as it is here', got.name, ...names);

	const pictures = Array.from({ length: 300 }, (_, i) => `many/第${i + 1}号灯塔的照片与说明文字，海边的那一座.txt`);
	put(on, Object.fromEntries(pictures.map((path, i) => [path, `${i}`])));
	await open(w, 'home/many');
	await w.seen('300 entries');
	const all = page.getByRole('checkbox', { name: 'Mark all' });
	for (const n of [100, 200, 300]) {
		await all.check();
		await page.locator('.marks', { hasText: `${n} marked` }).waitFor();
		if (n < 300)
			await button('Next').click();
		await page.waitForFunction(() => document.querySelector('thead input').checked === (document.querySelector('.marks').textContent.startsWith('300')));
	}
	rmSync(`${on}/${pictures[7]}`); // marked, and gone before it is fetched
	await w.seen('299 entries');
	got = await download(w, () => page.locator('.marks').getByRole('link', { name: 'Download as zip' }).click());
	const many = unzip(got.bytes);
	ok(Object.keys(many).length === 299 && pictures.every((path, i) => i === 7 || many[`home/${path}`]?.toString() === `${i}`), 'three hundred marked files are an archive, without the one that is gone');
	const long = await page.locator('.marks').getByRole('link', { name: 'Download as zip' }).getAttribute('href');
	ok(long.length < 8000, 'which a proxy with small buffers lets through', `${long.length}`);
}

export async function changes(w, dir) {
	const { page, ok, button } = w, on = `${dir}/files/desk`, has = (path) => existsSync(`${on}/${path}`);
	const text = (path) => readFileSync(`${on}/${path}`, 'utf8');
	put(on, { 'a.txt': 'first', 'b.txt': 'second', 'c.txt': 'third', 'shelf/b.txt': 'of the shelf', 'shelf/low/x.txt': 'x' });
	await open(w, 'desk', 'a.txt', 'b.txt', 'c.txt', 'shelf');

	await mark(w, 'a.txt');
	await act(w, 'Rename');
	await page.fill('dialog input[name=name]', 'shelf/a.txt');
	ok(await page.locator('dialog button[type=submit]').isDisabled(), 'a name is no path');
	await page.fill('dialog input[name=name]', 'b.txt');
	await submit(w);
	ok(await refused(w, /already/) && text('b.txt') === 'second', 'a name that is taken is refused, and why is said');
	await page.fill('dialog input[name=name]', 'letter <1>.txt');
	await submit(w);
	ok(await shows(file(w, 'letter <1>.txt')) && await goes(file(w, 'a.txt')) && text('letter <1>.txt') === 'first' && !has('a.txt'), 'another is taken');

	await button('New folder').click();
	await page.fill('dialog input[name=name]', 'shelf');
	await submit(w);
	ok(await refused(w, /already/), 'so it is with a new folder');
	await page.fill('dialog input[name=name]', 'drawer');
	await submit(w);
	ok(await shows(file(w, 'drawer')) && has('drawer'), 'which is made under another name');

	await mark(w, 'shelf');
	await act(w, 'Move');
	const folder = page.locator('dialog input[name=folder]'), choose = (name) => page.locator('dialog .chips').getByRole('button', { name, exact: true }).click();
	await choose('shelf');
	await choose('low');
	ok(await folder.inputValue() === 'desk/shelf/low', 'where to is chosen by going there');
	await submit(w);
	ok(await refused(w, 'shelf') && has('shelf/low/x.txt'), 'a folder is not moved into itself', await page.locator('dialog .notice.bad').textContent());
	await page.keyboard.press('Escape');
	await closed(w);
	await act(w, 'Cancel');
	await mark(w, 'b.txt', 'c.txt');
	await act(w, 'Move');
	await folder.fill('desk/nowhere');
	await submit(w);
	ok(await refused(w, 'b.txt') && has('b.txt') && has('c.txt'), 'nor anything to where nothing is', await page.locator('dialog .notice.bad').textContent());
	await folder.fill('desk/shelf');
	await submit(w);
	ok(await refused(w, 'b.txt') && text('b.txt') === 'second' && text('shelf/b.txt') === 'of the shelf' && text('shelf/c.txt') === 'third', 'what cannot be moved stays, and is named; the rest is moved');
	await folder.fill('desk/drawer');
	await submit(w);
	await closed(w);
	ok(await goes(file(w, 'b.txt')) && await goes(file(w, 'c.txt')) && text('drawer/b.txt') === 'second', 'and goes elsewhere');

	await mark(w, 'drawer', 'letter <1>.txt');
	await act(w, 'Delete');
	ok(await goes(file(w, 'drawer')) && await goes(file(w, 'letter <1>.txt')) && !has('drawer') && !has('letter <1>.txt'), 'several are deleted, one a folder');
	await button('Undo').click();
	ok(await shows(file(w, 'drawer')) && await shows(file(w, 'letter <1>.txt')) && text('drawer/b.txt') === 'second' && text('letter <1>.txt') === 'first', 'and called back, with all that is in it');
	await mark(w, 'drawer', 'letter <1>.txt');
	await act(w, 'Delete');
	await goes(file(w, 'drawer'));
	put(on, { 'letter <1>.txt': 'a newer one' });
	await w.go('files/bin');
	await button('Put back: letter <1>.txt').click();
	await page.locator('.toast', { hasText: 'Back as' }).last().waitFor();
	ok(text('letter <1>.txt') === 'a newer one' && readdirSync(on).filter((x) => x.startsWith('letter')).length === 2, 'what is put back takes the place of nothing');
	await button('Delete for good: drawer').click();
	ok(await shows(page.locator('dialog').getByText('This cannot be undone.')), 'deleting for good is asked about');
	await submit(w);
	ok(await goes(button('Put back: drawer')), 'and done');
	await w.go('files?in=desk');
	await mark(w, 'letter <1>.txt');
	await act(w, 'Delete');
	await goes(file(w, 'letter <1>.txt'));
	await w.go('files/bin');
	await button('Empty the bin').click();
	await submit(w);
	ok(await w.seen('The bin is empty') && readdirSync(`${dir}/files/.weft/bin`).length === 0, 'the bin is emptied');

	await w.go('files?in=desk');
	await file(w, 'shelf').focus();
	put(on, { 'news.txt': 'news' });
	ok(await shows(file(w, 'news.txt')) && await page.evaluate(() => document.activeElement.textContent) === 'shelf', 'what others add shows, and who is in the list stays there');
}

export async function tagsOfMany(w, dir) {
	const { page, ok } = w;
	put(`${dir}/files/birds`, Object.fromEntries([1, 2, 3, 4].map((i) => [`bird ${i}.txt`, `Feather ${i}`])));
	await open(w, 'birds', 'bird 1.txt', 'bird 2.txt', 'bird 3.txt', 'bird 4.txt');
	const tags = async (name) => {
		await file(w, name).click();
		await page.locator('dialog .tags').waitFor();
		const all = await page.locator('dialog .tags a').allTextContents();
		await page.keyboard.press('Escape');
		await closed(w);
		return all;
	};
	const change = async (names, fields) => {
		await mark(w, ...names);
		await act(w, 'Tags');
		for (const [name, value] of Object.entries(fields))
			await page.fill(`dialog input[name=${name}]`, value);
		await submit(w);
		await closed(w);
		return shows(page.locator('.toast', { hasText: `${names.length} files changed` }).last());
	};
	ok(await change(['bird 1.txt', 'bird 2.txt', 'bird 3.txt'], { add: 'rare bird, 海鸟,moult' }), 'many are tagged at once');
	let two = await tags('bird 2.txt'), four = await tags('bird 4.txt');
	ok(['rare bird', '海鸟', 'moult'].every((x) => two.includes(x)) && !four.includes('moult'), 'each of them, and no other', ...two);
	ok(await change(['bird 1.txt', 'bird 2.txt'], { add: 'nest', remove: 'moult' }), 'tags of many are changed');
	two = await tags('bird 2.txt');
	ok(two.includes('nest') && two.includes('rare bird') && !two.includes('moult') && (await tags('bird 3.txt')).includes('moult'), 'taken away where it was meant', ...two);
	await file(w, 'bird 3.txt').click();
	await page.locator('dialog').getByRole('button', { name: 'Remove: moult' }).click();
	ok(await goes(page.locator('dialog .tags a', { hasText: 'moult' })), 'one tag of one file is removed beside it');
	await page.locator('dialog .tags a', { hasText: '海鸟' }).click();
	ok(await rows(w, 3) && await page.locator('input[name=q]').inputValue() === 'tag:"海鸟"', 'a tag leads to all that have it');
}

export async function filters(w, dir) {
	const { page, ok, button } = w, on = `${dir}/files/mixed`;
	put(on, { 'old.txt': 'A quokka long ago', 'new.txt': 'A quokka today', 'data.c': '#include <stdio.h>\nint main(void) { puts("quokka"); return 0; }\n', 'large.txt': 'quokka and more\n' });
	truncateSync(`${on}/large.txt`, 2 << 20);
	utimesSync(`${on}/old.txt`, 1e9, 1e9);
	await open(w, 'mixed', 'old.txt', 'new.txt', 'data.c', 'large.txt');
	await page.locator('.filelist tr', { hasText: 'data.c' }).getByText('source code').waitFor();
	const pick = (name, value) => page.getByRole('search').getByRole('combobox', { name, exact: true }).selectOption(value);
	const only = async (...names) => await rows(w, names.length) && (await Promise.all(names.map((n) => shows(file(w, n))))).every(Boolean);
	const search = (text) => page.fill('input[name=q]', text);
	await search('name:old');
	ok(await shows(w.page.locator('.filelist small', { hasText: 'mixed' })), 'what is found says where it is');
	await search('');
	await rows(w, 4);
	await pick('Kind', 'source');
	ok(await rows(w, 1), 'files are filtered by kind');
	await pick('Kind', '');
	await pick('Changed', 'month');
	ok(await rows(w, 3), 'by date');
	await pick('Size', '1M');
	ok(await rows(w, 1) && await w.seen('2 MiB'), 'by date and size');
	await page.reload();
	ok(await rows(w, 1) && await page.getByRole('search').getByRole('combobox', { name: 'Size' }).inputValue() === '1M', 'a page that is loaded again has the same filters');
	await page.locator('.crumbs').getByRole('link', { name: 'mixed' }).click();
	ok(await rows(w, 4) && await page.getByRole('search').getByRole('combobox', { name: 'Size' }).inputValue() === '', 'the way to the folder takes them away');
	await search('zzzz');
	ok(await w.seen('Nothing fits'), 'what finds nothing says so');

	await w.go('files');
	await search('quok');
	const first = page.locator('.suggest li').first();
	ok(await shows(first) && /quokka/.test(await first.textContent()), 'a tag is suggested while it is typed');
	await page.keyboard.press('Escape');
	ok(await page.locator('.suggest').isHidden() && await page.locator('input[name=q]').inputValue() === 'quok', 'which can be put away');
	await search('harbour quokk');
	await first.waitFor();
	await first.click();
	ok(/^harbour tag:/.test(await page.locator('input[name=q]').inputValue()), 'and taken for the last of several words');

	await w.go('files?in=media');
	await button('Pictures').click();
	ok(await page.waitForFunction(() => ['photo.png', 'film.webm', 'paper.pdf'].every((name) => [...document.querySelectorAll('.filecard')].find((c) => c.textContent === name)?.querySelector('img')?.naturalWidth > 0)).then(() => true, () => false),
		'pictures, films and PDFs are shown as thumbnails');
	await page.reload();
	ok(await shows(page.locator('.filegrid')), 'which is remembered');
	await button('Pictures').click();
	await page.locator('.filelist').waitFor();
}
