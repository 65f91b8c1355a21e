// Uploads as people do them: a large file that is paused, left, and broken off by all that may happen; files and
// folders that are dropped; names that are taken. What has come is compared on the volume itself.
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { openPage } from './page.js';

const LARGE = 120 << 20, SLOW = 6 << 20, SLOWER = 1 << 20; // bytes, and bytes a second: there has to be time for what is done meanwhile
const PIECE = 8 << 20;
const OFFLINE_MS = 3000;

function makeLarge(path) {
	const block = Buffer.alloc(1 << 20), fd = openSync(path, 'w');
	for (let i = 0; i < block.length; i += 4)
		block.writeUInt32LE(Math.imul(i, 2654435761) >>> 0, i);
	for (let at = 0; at < LARGE; at += block.length) {
		block.writeUInt32LE(at, 0);
		writeSync(fd, block);
	}
	closeSync(fd);
}

function same(a, b) {
	try {
		execFileSync('cmp', ['-s', a, b]);
		return true;
	} catch {
		return false;
	}
}

// The network of the browser: bytes a second that it sends, or none at all.
async function network(w) {
	const session = await w.page.context().newCDPSession(w.page);
	await session.send('Network.enable');
	return (rate, offline = false) => session.send('Network.emulateNetworkConditions', { offline, latency: 0, downloadThroughput: -1, uploadThroughput: rate });
}

const row = (w, name) => w.page.locator('.uploads li', { hasText: name });
const far = (w, name) => row(w, name).locator('progress').evaluate((e) => e.value);
const past = (w, name, part) => w.page.waitForFunction(([n, p]) => (document.querySelector(`.uploads li progress[aria-label="${n}"]`)?.value ?? 0) > p, [name, part]);
const shows = (place) => place.waitFor().then(() => true, () => false);
const act = (w, name, what) => row(w, name).getByRole('button', { name: new RegExp(`^${what}`) }).click();
const pick = (w, button, files) => Promise.all([w.page.waitForEvent('filechooser'), button.click()]).then(([chooser]) => chooser.setFiles(files));

// dir: has the folder "files", which is on the volume. restart(what): stops or starts volmgr.
export async function uploadLarge(w, dir, restart) {
	const { page, ok, go, button } = w, name = 'film of a day.bin', from = `${dir}/up/${name}`, to = `${dir}/files/${name}`;
	mkdirSync(`${dir}/up`, { recursive: true });
	makeLarge(from);
	const parts = () => readdirSync(`${dir}/files/.weft/upload`).map((f) => statSync(`${dir}/files/.weft/upload/${f}`).size);
	const offsets = [];
	page.on('request', (r) => {
		if (r.method() === 'PUT' && r.url().includes('/tagger/upload'))
			offsets.push(Number(new URL(r.url()).searchParams.get('offset')));
	});
	const limit = await network(w);
	await go('files');
	await page.locator('.filelist, .empty').first().waitFor();
	await limit(SLOW);
	await pick(w, button('Upload'), from);
	await past(w, name, 0.01);
	let at = 0, within = false;
	while (at < 0.2 || (!within && at < 0.5)) {
		at = await far(w, name);
		within ||= at * LARGE % PIECE !== 0;
	}
	ok(within, 'while a piece is sent it is seen how far it is');
	await act(w, name, 'Pause');
	ok(await shows(row(w, name).getByText('paused')), 'a large upload is paused');
	const had = await far(w, name), before = offsets.length;
	ok(!existsSync(to), 'nothing is seen of it on the volume');
	await act(w, name, 'Go on');
	await past(w, name, had + 0.1);
	ok(offsets[before] > LARGE / 8 && offsets[before] !== offsets[before - 1], 'it goes on where it was', `${offsets} ${had * LARGE}`);
	await act(w, name, 'Pause');
	await row(w, name).getByText('paused').waitFor();

	await page.reload();
	ok(await shows(row(w, name).getByText('choose the file again to go on')), 'after the page was left, it says what is not finished');
	ok(Math.abs(await far(w, name) - parts()[0] / LARGE) < 0.02, 'and how much has come');
	writeFileSync(`${dir}/up/other.bin`, 'other');
	await pick(w, row(w, name).getByRole('button', { name: /^Choose the file/ }), `${dir}/up/other.bin`);
	ok(await w.seen('other.bin is another file, or has been changed.'), 'another file is not put behind it');
	const came = parts()[0], again = offsets.length;
	await pick(w, row(w, name).getByRole('button', { name: /^Choose the file/ }), from);
	await past(w, name, came / LARGE + 0.05);
	ok(offsets[again] >= came && offsets[again] < LARGE, 'with its file it goes on where it was', `${offsets} ${came}`);

	await limit(SLOW, true);
	ok(await shows(row(w, name).getByText('it goes on by itself')), 'it says that there is no connection');
	await page.waitForTimeout(OFFLINE_MS);
	const off = await far(w, name);
	await limit(SLOWER);
	await past(w, name, off + 0.02);
	ok(true, 'when it is back the upload goes on by itself');
	await go('overview');
	await page.waitForSelector('.hero');
	await go('files');
	ok(await past(w, name, off + 0.04).then(() => true, () => false), 'it goes on while other places are looked at');
	restart('stop');
	ok(await shows(row(w, name).getByText('it goes on by itself')), 'it waits for a volmgr that is away');
	restart('start');
	await limit(-1);
	ok(await shows(row(w, name).getByText('uploaded')), 'and ends well when that is back');
	ok(same(from, to) && parts().length === 0, 'all of it is on the volume, and nothing beside it');
	ok(await shows(page.getByRole('checkbox', { name: `Mark ${name}` })), 'it is in the list');
	await button('Clear').click();
	ok(await page.locator('.uploads').waitFor({ state: 'hidden' }).then(() => true, () => false), 'what is done can be put away');
}

// A real drop from outside of the browser.
async function drop(w, paths, look = async () => {}) {
	const session = await w.page.context().newCDPSession(w.page);
	const event = (type) => session.send('Input.dispatchDragEvent', { type, x: 640, y: 500, data: { items: [], files: paths, dragOperationsMask: 1 } });
	await event('dragEnter');
	await event('dragOver');
	await look();
	await event('drop');
	await session.detach();
}

export async function uploadDropped(w, dir) {
	const { page, ok, go, button } = w, up = `${dir}/up`, on = `${dir}/files/in`;
	const put = (path, text) => {
		mkdirSync(`${up}/${path}`.replace(/\/[^/]*$/, ''), { recursive: true });
		writeFileSync(`${up}/${path}`, text);
	};
	const tree = { 'trip/map.txt': 'a map', 'trip/day 1/dune.txt': 'sand', 'trip/day 1/deep/er/x.txt': '', 'trip/第二天/海 & #1.txt': 'water' };
	for (const [path, text] of Object.entries({ 'one.txt': 'one', 'two.txt': 'two', ...tree }))
		put(path, text);
	mkdirSync(`${up}/trip/nothing yet`);
	mkdirSync(on);
	await go('files');
	await button('in').click();
	await page.locator('h1', { hasText: 'in' }).waitFor();
	await page.locator('.empty').waitFor();
	await drop(w, [`${up}/one.txt`, `${up}/two.txt`, `${up}/trip`], async () => {
		ok(await page.waitForFunction(() => document.body.classList.contains('dropping')).then(() => true), 'it is seen where files may be dropped');
	});
	ok(await w.seen('Everything is uploaded') && await shows(button('trip')) && await shows(button('two.txt')), 'files and a folder are dropped');
	const has = (path) => existsSync(`${on}/${path}`) && readFileSync(`${on}/${path}`, 'utf8');
	ok(has('one.txt') === 'one' && has('two.txt') === 'two' && Object.entries(tree).every(([path, text]) => has(path) === text), 'all that is in it has come');
	ok(existsSync(`${on}/trip/nothing yet`), 'and folders in which there is nothing');
	ok(!await page.evaluate(() => document.body.classList.contains('dropping')), 'then the page is as before');

	put('one.txt', 'one, later');
	put('two.txt', 'two, later');
	await drop(w, [`${up}/one.txt`, `${up}/two.txt`]);
	ok(await shows(row(w, 'in/one.txt').getByText('There is one of this name already.')) && await shows(row(w, 'in/two.txt').getByText('There is one')), 'a name that is taken is asked about');
	ok(has('one.txt') === 'one' && has('two.txt') === 'two', 'and nothing lost meanwhile');
	await act(w, 'in/one.txt', 'Keep both');
	ok(await shows(button('one (2).txt')), 'both may stay');
	await act(w, 'in/two.txt', 'Replace'); // where it is now, with one question less above it
	await w.seen('Everything is uploaded');
	ok(has('one.txt') === 'one' && has('one (2).txt') === 'one, later' && has('two.txt') === 'two, later', 'or the old one is replaced');
	await drop(w, [`${up}/one.txt`, `${up}/two.txt`]);
	await row(w, 'in/two.txt').getByText('There is one').waitFor();
	await button('Keep all').click();
	ok(await shows(button('one (3).txt')) && await shows(button('two (2).txt')), 'of many it is said at once');
	await button('Clear').click();

	await pick(w, button('Upload folder'), `${up}/trip/day 1`);
	ok(await shows(button('day 1')) && await w.seen('Everything is uploaded') && has('day 1/deep/er/x.txt') === '', 'a folder can be chosen, too');
	await button('Clear').click();

	// nor does a browser go away from the page to show what it must not take
	await page.evaluate(() => import('./js/api.js').then((m) => m.post('/people', { name: 'rita', password: 'rita is long', role: 'read-only' })));
	const other = await openPage(w.browser);
	await other.goto(`${w.base}/#/login`);
	await other.fill('input[name=name]', 'rita');
	await other.fill('input[name=password]', 'rita is long');
	await other.click('form button[type=submit]');
	await other.waitForSelector('.hero');
	await other.goto(`${w.base}/#/files?in=in`);
	await other.locator('.filelist').waitFor();
	put('unwanted.html', '<title>away</title>');
	await drop({ page: other }, [`${up}/unwanted.html`], async () => {
		ok(!await other.evaluate(() => document.body.classList.contains('dropping')), 'who only reads is not asked to drop anything');
	});
	await other.getByRole('link', { name: 'Overview' }).click();
	ok(await shows(other.locator('.hero')) && !has('unwanted.html') && other.faults.length === 0, 'what they drop does nothing', ...other.faults);
	await other.context().close();
	await page.evaluate(() => import('./js/api.js').then((m) => m.del('/people/rita')));

	const pieces = `${w.base}/api/v1/tagger/upload*`; // as nginx answers when it is not told otherwise
	let n = 0;
	await page.route(pieces, (route) => (route.request().method() === 'PUT' && n++ > 0 ? route.fulfill({ status: 413, contentType: 'text/html', body: '<html>413 Request Entity Too Large</html>' }) : route.continue()));
	put('wide.bin', Buffer.alloc(2 << 20, 1));
	await pick(w, button('Upload'), `${up}/wide.bin`);
	ok(await shows(row(w, 'wide.bin').getByText(/lets nothing of this size through.*weft-web\(7\)/)), 'what a proxy does not let through says who can help');
	await page.unroute(pieces);
	await act(w, 'wide.bin', 'Try again');
	ok(await shows(button('wide.bin')), 'and goes on afterwards');
	await button('Clear').click();
}
