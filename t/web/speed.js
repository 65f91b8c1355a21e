// How soon the page is usable, and how much of it is sent.
import { readFileSync, readdirSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { openPage } from './page.js';

const USABLE_MS = 1000, FIRST = 500 << 10, ALL = 500 << 10, TRIES = 3;
const STORED = /\.(?:png|gz|br|woff2?)$/; // as they are

// From an empty cache: until the first place says how the cluster is, and what has come when its charts are there.
async function first(w) {
	const fresh = await openPage(w.browser);
	await fresh.context().addCookies(await w.page.context().cookies());
	let bytes = 0;
	const session = await fresh.context().newCDPSession(fresh);
	await session.send('Network.enable');
	session.on('Network.loadingFinished', (e) => {
		bytes += e.encodedDataLength;
	});
	const begin = Date.now();
	await fresh.goto(`${w.base}/#/overview`);
	await fresh.waitForSelector('.hero');
	const ms = Date.now() - begin;
	await fresh.waitForSelector('.uplot');
	const got = { ms, bytes };
	await fresh.context().close();
	return got;
}

// Every file that volmgr has for browsers, as it is sent.
function everything(folder) {
	let bytes = 0;
	for (const name of readdirSync(folder, { recursive: true, withFileTypes: true })) {
		if (!name.isFile())
			continue;
		const text = readFileSync(join(name.parentPath ?? name.path, name.name));
		bytes += STORED.test(name.name) ? text.length : gzipSync(text).length;
	}
	return bytes;
}

export async function speed(w) {
	const usable = USABLE_MS * Math.max(1, loadavg()[0] / cpus().length); // others want processors, too
	const all = [];
	while (all.length < TRIES && !all.some((x) => x.ms < usable)) // or they do for a moment
		all.push(await first(w));
	const ms = Math.min(...all.map((x) => x.ms)), bytes = Math.max(...all.map((x) => x.bytes));
	console.log(`# first page after ${all.map((x) => x.ms).join(', ')} of ${Math.round(usable)} ms, ${Math.round(bytes / 1024)} KiB with its charts`);
	w.ok(ms < usable, 'the page is usable within a second, or longer by as much as the machine is busy', `${ms} ms of ${Math.round(usable)}`);
	w.ok(bytes < FIRST, 'with less than 500 KiB', `${bytes}`);
	const whole = everything(`${process.env.WEFT_BUILD}/www/page`);
	console.log(`# all of the page is ${Math.round(whole / 1024)} KiB`);
	w.ok(whole > FIRST / 10 && whole < ALL, 'and all of it, with the libraries of charts and graphs, is less than 500 KiB', `${whole}`);
}
