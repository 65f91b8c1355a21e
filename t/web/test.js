// The page in a real browser, against a real cluster: every place and what can be done there. Prints TAP.
//	node t/web/test.js URL INVITATION tagger|none devices|none CLUSTER-COMMAND... (which is called with stop|start to go offline)
import { execFileSync } from 'node:child_process';
import { axeSource, openBrowser, openPage, overflow } from './page.js';
import { largeGraph } from './graph.js';
import { attachHere, attachWords, lostIsGone, power, servers } from './servers.js';

const [base, invitation, tagger, devices, ...cluster] = process.argv.slice(2);
const spares = process.env.WEFT_WEB_SPARES.split(' '), ran = process.env.WEFT_WEB_RAN; // see servers.js
const PLACES = ['overview', 'volumes', 'volumes/new', 'volumes/demo', 'servers', 'servers/server-1', 'events', 'people', 'settings', 'about'];
const only = process.env.WEFT_WEB_ONLY?.split(','); // sections, for who works on one
let count = 0;

function ok(good, name, ...more) {
	console.log(`${good ? 'ok' : 'not ok'} ${++count} - ${name}`);
	if (!good)
		console.error(`# ${[name, ...more].join('\n# ')}`);
	return good;
}

const browser = await openBrowser();
const page = await openPage(browser);
const go = async (place) => {
	await page.goto(`${base}/#/${place}`);
	await page.waitForSelector('main h1, main .notice.bad');
};
const button = (name) => page.getByRole('button', { name, exact: true });
// soon there are so many
const counted = (selector, n) => page.waitForFunction(([s, want]) => document.querySelectorAll(s).length === want, [selector, n]).then(() => true, () => false);
const seen = (text) => page.getByText(text).first().waitFor().then(() => true, () => false);

async function section(name, fn) {
	if (only && name !== 'joining' && !only.includes(name))
		return;
	try {
		await fn();
	} catch (error) {
		ok(false, name, error.message);
	}
}

const w = { base, page, ok, go, button, counted, seen };

await section('joining', async () => {
	await page.goto(`${base}/#/volumes`);
	ok(await seen('Log in'), 'a guest is asked to log in');
	await page.fill('input[name=name]', 'alice');
	await page.fill('input[name=password]', 'wrong wrong');
	await page.click('form button[type=submit]');
	ok(await seen('This name and password do not fit.'), 'a wrong password is refused with a sentence');
	await page.goto(`${base}/#/join/${invitation}`);
	await page.waitForSelector('h1:has-text("Welcome")');
	await page.fill('input[name=name]', 'alice');
	await page.fill('input[name=password]', 'alice is long');
	await page.click('form button[type=submit]');
	ok(await page.waitForSelector('h1:has-text("Volumes")').then(() => true), 'an invitation leads to where the guest wanted to go');
	const cookies = await page.context().cookies();
	ok(cookies.length === 1 && cookies[0].httpOnly && cookies[0].sameSite === 'Strict', 'the session is a cookie that scripts cannot read');
});

await section('volumes', async () => {
	await go('volumes');
	await page.getByRole('link', { name: 'New volume' }).first().click();
	await page.waitForSelector('.stripe');
	await button('2 + 1').click();
	ok(await page.locator('.shard.data').count() === 2 && await page.locator('.shard.parity').count() === 1, 'the picture shows two data shards and one of parity');
	ok(await seen('Any one of the 3 servers may be lost'), 'and what may be lost');
	await button('8 + 3').click();
	ok(await seen('This needs 11 servers that are up, and there are 6.'), 'too few servers are counted');
	await button('4 + 2').click();
	await page.fill('input[name=name]', 'made/bad');
	await page.fill('input[name=size]', '64M');
	await button('Create volume').click();
	ok(await page.locator('input[name=name]:invalid').count() === 1, 'a bad name is not sent');
	await page.fill('input[name=name]', 'made');
	await button('Create volume').click();
	await page.waitForSelector('h1:has-text("made")');
	ok(await seen('Everything is there: any 2 servers may be lost.'), 'the volume is made, and healthy');
	await page.getByRole('tab', { name: 'QEMU' }).click();
	ok(await seen('format=raw,if=virtio'), 'how to attach it is shown');
	await button('Resize').click();
	await page.fill('dialog input[name=size]', '32M');
	ok(await page.locator('dialog button[type=submit]').isDisabled(), 'it is not made smaller by mistake');
	await page.fill('dialog input[name=size]', '128M');
	await page.locator('dialog button[type=submit]').click();
	ok(await seen('128 MiB'), 'it is resized');
	await button('Delete').click();
	await page.fill('dialog input[name=confirm]', 'mad');
	ok(await page.locator('dialog button[type=submit]').isDisabled(), 'deleting wants the whole name');
	await page.fill('dialog input[name=confirm]', 'made');
	await page.locator('dialog button[type=submit]').click();
	await page.waitForSelector('h1:has-text("Volumes")');
	await page.getByRole('link', { name: 'made' }).waitFor({ state: 'detached' });
	ok(true, 'then it is gone');
	await page.fill('input[type=search]', 'nothing');
	ok(await seen('Nothing fits'), 'a search that finds nothing says so');
	await page.fill('input[type=search]', 'DEM');
	ok(await page.getByRole('link', { name: 'demo' }).waitFor().then(() => true), 'one that finds something shows it');
});

await section('a volume', async () => {
	await go('volumes/demo');
	ok(await counted('.uplot', 3), 'there are charts');
	await button('1 day').first().click();
	await page.waitForSelector('.map canvas');
	ok(await page.waitForFunction(() => /extents on 6 servers/.test(document.querySelector('.map canvas')?.getAttribute('aria-label') ?? '')).then(() => true, () => false),
		'the picture of extents has words too');
	await page.getByText('As a table').click();
	ok(await page.getByRole('row', { name: /server-1/ }).first().waitFor().then(() => true), 'and a table');
});

await section('servers', () => servers(w, spares));
await section('power', () => power(w, spares, ran));
await section('attach instructions', () => attachWords(w));
if (devices === 'devices')
	await section('attaching', () => attachHere(w));

await section('people', async () => {
	await go('people');
	await button('Invite').click();
	await page.selectOption('dialog select', 'read-only');
	await page.locator('dialog button[type=submit]').click();
	const link = await page.locator('dialog code').textContent();
	ok(link.startsWith(`${base}/#/join/`), 'an invitation is a link');
	await page.locator('dialog:has(code) button[type=submit]').click();
	const other = await openPage(browser, { locale: 'zh-CN' });
	await other.goto(link);
	await other.fill('input[name=name]', 'rob');
	await other.fill('input[name=password]', 'rob is long too');
	await other.click('form button[type=submit]');
	ok(await other.getByText('一切正常。').waitFor().then(() => true), 'who follows it is in, in Chinese');
	await other.goto(`${base}/#/volumes`);
	await other.waitForSelector('h1:has-text("卷")');
	ok(await other.getByText('新建卷').count() === 0, 'a reader is offered nothing that changes');
	const status = await other.evaluate(() => fetch('api/v1/volumes/demo', { method: 'DELETE' }).then((r) => r.status));
	ok(status === 403, 'and is refused it');
	await page.reload();
	await page.getByRole('combobox', { name: 'Role of rob' }).selectOption('user');
	await page.getByRole('button', { name: 'Remove: rob' }).click();
	await page.fill('dialog input[name=confirm]', 'rob');
	await page.locator('dialog button[type=submit]').click();
	await page.getByRole('combobox', { name: 'Role of rob' }).waitFor({ state: 'detached' });
	await other.goto(`${base}/#/events`);
	ok(await other.getByRole('heading', { name: '登录' }).waitFor().then(() => true), 'who is removed is out');
	ok(other.faults.length === 0, 'without faults in that page', ...other.faults);
	await other.context().close();
	await button('New token').click();
	await page.fill('dialog input[name=label]', 'prometheus');
	await page.locator('dialog button[type=submit]').click();
	const token = await page.locator('dialog code').textContent();
	const metrics = await fetch(`${base}/metrics`, { headers: { Authorization: `Bearer ${token}` } });
	ok(metrics.ok && /weft_server_up/.test(await metrics.text()), 'a token reads the metrics');
	await page.locator('dialog:has(code) button[type=submit]').click();
	await button('Change password').click();
	await page.fill('dialog input[name=old]', 'alice is long');
	await page.fill('dialog input[name=fresh]', 'alice is longer');
	await page.locator('dialog button[type=submit]').click();
	ok(await seen('The password is changed.'), 'the password is changed');
});

await section('a lost server', () => lostIsGone(w));

await section('settings, events, about', async () => {
	await go('settings');
	await page.getByRole('combobox', { name: 'Registration' }).selectOption('approval');
	ok(await seen('Saved'), 'registration is switched on');
	await page.getByRole('combobox', { name: 'Appearance' }).selectOption('dark');
	ok(await page.evaluate(() => document.documentElement.style.colorScheme) === 'dark', 'the page is dark');
	await page.getByRole('combobox', { name: 'Appearance' }).selectOption('auto');
	await go('events');
	ok(await seen('Volume made was deleted') && await seen('Settings were changed'), 'what was done is noted');
	ok((await page.locator('.event', { hasText: 'Volume made was made' }).textContent()).split('4+2').length === 2, 'and each thing once');
	await page.fill('input[type=search]', 'rob');
	await page.getByText('Volume made was deleted').waitFor({ state: 'detached' });
	ok(await seen('rob joined'), 'and can be filtered');
	await go('about');
	ok(await seen('Erasure code'), 'about says what runs');
	await go('nonsense');
	ok(await seen('There is no such page.'), 'a wrong address is told');
});

if (tagger === 'tagger') {
	PLACES.push('files', 'files?in=notes', 'files/bin', 'graph');
	await section('files', async () => {
		await go('files');
		await page.getByRole('button', { name: 'notes' }).click();
		await page.getByRole('button', { name: /harbour-2.md/ }).click();
		ok(await page.locator('.markdown strong:has-text("2")').waitFor().then(() => true), 'Markdown is shown as it is meant');
		await page.fill('dialog input[name=tag]', 'seaside');
		await page.locator('dialog form.inline button').click();
		ok(await page.locator('.tags a:has-text("seaside")').waitFor().then(() => true), 'a tag is added');
		await page.getByRole('button', { name: 'Close', exact: true }).click();
		await page.route('**/api/v1/tagger/folder*', async (route) => {
			await page.waitForFunction(() => document.activeElement?.name === 'q');
			await route.continue();
		});
		await go('overview');
		await go('files');
		await page.locator('input[name=q]').focus();
		await page.locator('.filelist tbody tr').first().waitFor();
		ok(await page.evaluate(() => new Promise((done) => setTimeout(() => done(document.activeElement.name === 'q'), 0))), 'who is faster than the page stays where they are');
		await page.unroute('**/api/v1/tagger/folder*');
		await page.locator('input[name=q]').pressSequentially('seas');
		await page.locator('.suggest li').first().waitFor();
		await page.keyboard.press('ArrowDown');
		await page.keyboard.press('Enter');
		ok(await counted('.filelist tbody tr', 1), 'a suggestion is taken by keys, and finds it');
		await go('files');
		await page.getByText('Filter by tags').click();
		await page.locator('.tagpick input').fill('seaside');
		await page.locator('.tagpick').getByRole('button', { name: /^seaside/ }).click();
		ok(await seen('Filtered by one tag') && await page.waitForFunction(() => document.querySelectorAll('.filelist tbody tr').length === 1).then(() => true), 'a tag that is picked filters the files');
		await page.evaluate(axeSource);
		const readable = await page.evaluate(() => window.axe.run(document.querySelector('.tagpick'), { resultTypes: ['violations'] }));
		ok(readable.violations.every((v) => !['serious', 'critical'].includes(v.impact)), 'and can be read', ...readable.violations.map((v) => v.id));
		await go('files?in=');
		await page.setInputFiles('input[type=file]', { name: 'large.bin', mimeType: 'application/octet-stream', buffer: Buffer.alloc(700 << 10, 7) });
		ok(await page.getByRole('checkbox', { name: 'Mark large.bin' }).waitFor().then(() => true), 'a file is uploaded, in pieces');
		await page.getByRole('checkbox', { name: 'Mark large.bin' }).check();
		await page.locator('.marks').getByRole('button', { name: 'Rename' }).click();
		await page.fill('dialog input[name=name]', 'small.bin');
		await page.locator('dialog button[type=submit]').click();
		ok(await page.getByRole('button', { name: /small.bin/ }).waitFor().then(() => true), 'it is renamed');
		const got = await page.evaluate(async () => (await (await fetch('api/v1/tagger/content?path=small.bin')).arrayBuffer()).byteLength);
		ok(got === 700 << 10, 'it comes back whole');
		await page.getByRole('button', { name: 'New folder' }).click();
		await page.fill('dialog input[name=name]', 'box');
		await page.locator('dialog button[type=submit]').click();
		await page.getByRole('button', { name: 'box', exact: true }).waitFor();
		await page.getByRole('checkbox', { name: 'Mark small.bin' }).check();
		await page.locator('.marks').getByRole('button', { name: 'Move' }).click();
		await page.fill('dialog input[name=folder]', 'box');
		await page.locator('dialog button[type=submit]').click();
		await page.getByRole('button', { name: /small.bin/ }).waitFor({ state: 'detached' });
		await go('files?in=box');
		await page.getByRole('checkbox', { name: 'Mark small.bin' }).check();
		await page.locator('.marks').getByRole('button', { name: 'Delete' }).click();
		await page.getByRole('button', { name: 'Undo' }).click();
		await page.getByRole('button', { name: /small.bin/ }).waitFor();
		await page.getByRole('checkbox', { name: 'Mark small.bin' }).check();
		await page.locator('.marks').getByRole('button', { name: 'Delete' }).click();
		await page.getByRole('button', { name: /small.bin/ }).waitFor({ state: 'detached' });
		await go('files/bin');
		await page.reload();
		await page.getByRole('button', { name: 'Put back: small.bin' }).click();
		ok(await seen('Back as box/small.bin') && await seen('The bin is empty'), 'what is deleted is called back at once, or from the bin');
		const html = await page.evaluate(async () => {
			const frame = document.createElement('iframe');
			let ran = false;
			addEventListener('message', () => { ran = true; });
			frame.src = 'api/v1/tagger/content?path=evil.html';
			document.body.append(frame);
			await new Promise((go) => { frame.onload = go; });
			await new Promise((go) => setTimeout(go, 300));
			frame.remove();
			return ran;
		});
		ok(!html, 'a page among the files does not act as one of ours');
		for (const path of ['../../etc/passwd', '/etc/passwd', 'notes/../../x']) {
			const status = await page.evaluate((p) => fetch(`api/v1/tagger/content?path=${encodeURIComponent(p)}`).then((r) => r.status), path);
			ok(status === 404 || status === 400, `${path} is not there`);
		}
	});
	await section('spaces and shares', async () => {
		await go('settings');
		await page.getByRole('checkbox', { name: 'Everybody has files of their own' }).check();
		await page.evaluate(() => import('./js/api.js').then((api) => api.post('/people', { name: 'uma', password: 'uma is long', role: 'user' })));
		const give = async (to) => {
			await go('files');
			await page.getByRole('checkbox', { name: 'Mark notes' }).check();
			await page.locator('.marks').getByRole('button', { name: 'Share' }).click();
			await page.selectOption('dialog select[name=to]', to);
			await page.locator('dialog button[type=submit]').click();
		};
		await give('uma');
		ok(await seen('Shared with uma'), 'a folder is shared with a person');
		await give('');
		const link = await page.locator('dialog code').textContent();
		PLACES.push(link.split('#/')[1]);
		const other = await openPage(browser);
		await other.goto(`${base}/#/login`);
		await other.fill('input[name=name]', 'uma');
		await other.fill('input[name=password]', 'uma is long');
		await other.click('form button[type=submit]');
		await other.waitForSelector('.hero');
		await other.goto(`${base}/#/files`);
		ok(await other.getByRole('link', { name: 'My space' }).waitFor().then(() => true) && await other.waitForFunction(() => document.querySelectorAll('.filelist tbody tr').length === 2).then(() => true, () => false), 'who has it sees it, and a space of her own, and nothing else');
		await other.getByRole('navigation', { name: 'Spaces' }).getByRole('link', { name: 'notes' }).click();
		ok(await other.getByRole('button', { name: /harbour-1.md/ }).waitFor().then(() => true), 'and goes there');
		await other.goto(`${base}/#/people`);
		await other.getByRole('button', { name: 'Take off the list: notes' }).press('Enter');
		ok(await other.getByText('Nobody has shared anything with you.').waitFor().then(() => true), 'she takes it off her list');
		await other.context().clearCookies();
		await other.goto(link);
		await other.getByRole('button', { name: /harbour-2.md/ }).click();
		ok(await other.locator('.markdown strong:has-text("2")').waitFor().then(() => true), 'a link shows it to who is not logged in');
		await page.locator('dialog:has(code) button[type=submit]').click();
		await go('people');
		ok(await counted('[aria-label="End: notes"]', 1), 'the giver sees what is given');
		await give('');
		const ended = await page.locator('dialog code').textContent();
		await page.locator('dialog:has(code) button[type=submit]').click();
		await go('people');
		await page.getByRole('button', { name: 'End: notes' }).last().click();
		await page.waitForFunction(() => document.querySelectorAll('[aria-label="End: notes"]').length === 1);
		await other.goto(ended);
		await other.reload();
		ok(await other.getByText('This link has ended').waitFor().then(() => true), 'and ends it');
		ok(other.faults.filter((f) => !/404/.test(f)).length === 0, 'without faults in that page', ...other.faults);
		await other.context().close();
	});
	await section('graph', async () => {
		await go('graph');
		await page.fill('input[type=search]', 'lighth');
		await page.locator('.chips button').first().click();
		await page.waitForFunction(() => /[1-9]\d* files/.test(document.querySelector('.head [role=status]')?.textContent ?? ''));
		ok(true, 'a graph grows from a tag');
		await page.getByRole('button', { name: 'Expand' }).click();
		await page.getByText('As a table').click();
		ok(await page.locator('.rows').getByText('harbour-1.md').waitFor().then(() => true), 'with the files that have it, in words too');
		await page.getByRole('button', { name: 'Whole graph' }).click();
		ok(await seen('Everything there is.'), 'and the whole graph');
		const ms = await largeGraph(w);
		console.log(`# 10,000 nodes after ${ms} ms`);
	});
}

await section('every place', async () => {
	for (const [name, options, language] of [['wide', {}, 'en'], ['dark phone, Chinese', { viewport: { width: 360, height: 740 }, colorScheme: 'dark' }, 'zh']]) {
		const other = await openPage(browser, options);
		await other.context().addCookies(await page.context().cookies());
		await other.addInitScript((l) => localStorage.setItem('weft-language', l), language);
		const wide = [], serious = [];
		for (const place of PLACES) {
			await other.goto(`${base}/#/${place}`);
			await other.waitForSelector('main h1');
			await other.waitForFunction(() => !document.querySelector('main .loading'));
			wide.push(...(await overflow(other)).map((e) => `${place}: ${e}`));
			await other.evaluate(axeSource);
			const result = await other.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
			serious.push(...result.violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => `${place}: ${v.id}: ${v.nodes[0].html.slice(0, 160)} ${v.nodes[0].any[0]?.message ?? ''}`));
		}
		ok(wide.length === 0, `nothing is wider than the window (${name})`, ...wide);
		ok(serious.length === 0, `no serious fault of accessibility (${name})`, ...serious);
		ok(other.faults.length === 0, `no faults (${name})`, ...other.faults);
		await other.context().close();
	}
});

await section('refreshing', async () => {
	await go('servers');
	const width = await page.evaluate(async () => {
		const { el, morph } = await import('./js/dom.js');
		const bar = (part) => el('div', el('i', { style: { width: part } }));
		const old = bar('10%');
		morph(old, bar('70%'));
		return old.firstChild.style.width;
	});
	ok(width === '70%', 'a bar moves when it is refreshed where it stands');
});

await section('keyboard', async () => {
	await page.setViewportSize({ width: 390, height: 800 });
	await go('overview');
	await page.reload();
	await page.waitForSelector('.hero');
	await page.keyboard.press('Tab');
	ok(await page.evaluate(() => document.activeElement.className) === 'skip', 'the first key leads to the content');
	await page.getByRole('button', { name: 'Menu' }).press('Enter');
	await page.getByRole('link', { name: 'Servers', exact: true }).press('Enter');
	ok(await page.waitForSelector('h1:has-text("Servers")').then(() => true), 'the menu of a phone works by keys');
	await page.setViewportSize({ width: 1280, height: 860 });
});

await section('speed', async () => {
	const fresh = await openPage(browser);
	await fresh.context().addCookies(await page.context().cookies());
	let bytes = 0;
	const session = await fresh.context().newCDPSession(fresh);
	await session.send('Network.enable');
	session.on('Network.loadingFinished', (e) => {
		bytes += e.encodedDataLength;
	});
	const begin = Date.now();
	await fresh.goto(`${base}/#/overview`);
	await fresh.waitForSelector('.hero');
	const ms = Date.now() - begin;
	await fresh.waitForSelector('.uplot');
	console.log(`# first page after ${ms} ms, ${Math.round(bytes / 1024)} KiB with its charts`);
	ok(bytes < 500 << 10, 'in less than 500 KiB', `${bytes}`);
	await fresh.context().close();
});

await section('volmgr goes away and comes back', async () => {
	await go('overview');
	await page.waitForSelector('.hero.good');
	execFileSync(cluster[0], [...cluster.slice(1), 'stop'], { stdio: 'ignore' });
	ok(await seen('No connection'), 'the page says that volmgr is away');
	execFileSync(cluster[0], [...cluster.slice(1), 'start'], { stdio: 'ignore' });
	ok(await page.locator('.state .dot.good').waitFor().then(() => true, () => false), 'and goes on by itself');
	await go('volumes');
	ok(await page.getByRole('link', { name: 'demo' }).waitFor().then(() => true), 'without logging in again');
	await page.getByRole('button', { name: 'Log out' }).click();
	ok(await page.getByRole('heading', { name: 'Log in' }).waitFor().then(() => true), 'logging out ends it');
});

ok(page.faults.length === 0, 'no faults in the page', ...page.faults);
await browser.close();
console.log(`1..${count}`);
