// The page in a real browser, against a real cluster: every place and what can be done there. Prints TAP.
//	node t/web/test.js URL INVITATION tagger|none devices|none CLUSTER-COMMAND... (which is called with stop|start to go offline)
import { execFileSync } from 'node:child_process';
import { axeSource, openBrowser, openPage } from './page.js';
import { changes, downloads, filters, tagsOfMany } from './files.js';
import { found } from './found.js';
import { hostile } from './hostile.js';
import { leaving } from './leaving.js';
import { many } from './many.js';
import { graph } from './graph.js';
import { register } from './joining.js';
import { settings } from './settings.js';
import { speed } from './speed.js';
import { attachHere, attachWords, lostIsGone, power, servers } from './servers.js';
import { asksLittle, SEEN_MS, threeSeconds } from './live.js';
import { people, spaces } from './people.js';
import { previews } from './preview.js';
import { creating, listed, overviews, redundancy, serversInWork } from './trouble.js';
import { everyDialog, everyPlace, outside } from './readable.js';
import { fullDisk } from './full.js';
import { uploadDropped, uploadLarge } from './upload.js';
import * as volume from './volume.js';

const [base, invitation, tagger, devices, ...cluster] = process.argv.slice(2);
const spares = process.env.WEFT_WEB_SPARES.split(' '), ran = process.env.WEFT_WEB_RAN; // see servers.js
const dir = process.env.WEFT_WEB_DIR; // its "files" is on a volume
const PLACES = ['overview', 'volumes', 'volumes/new', 'volumes/demo', 'servers', 'servers/server-1', 'events', 'people', 'settings', 'about'];
const only = process.env.WEFT_WEB_ONLY?.split(/,(?! )/); // sections, for who works on one
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
		if (process.env.WEFT_WEB_SHOTS) // what is seen where it failed
			await page.screenshot({ path: `${process.env.WEFT_WEB_SHOTS}/${name}.png` }).catch(() => {});
		ok(false, name, error.message);
	}
}

const w = { base, browser, page, ok, go, button, counted, seen };

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

await section('volumes that miss servers', async () => {
	await go('volumes');
	ok(await page.getByRole('columnheader', { name: 'Routed reads' }).count() === 1, 'the list says how many reads are routed');
	ok((await listed(w, { spare: 2 })).state === 'ready', 'a volume that can lose what it should is ready');
	ok((await listed(w, { spare: 1 })).state === 'degraded', 'one that misses a server is no longer');
	ok((await listed(w, { spare: -1 })).state === 'unavailable', 'and one that misses more than it can spare says so');
	const row = await listed(w, { spare: 2, routed: { reads: 300, bytes: 0, steered: 0 }, stat: { reads: 100 } }, { busy: { demo: { reads: 120, writes: 5, read_us: 900, write_us: 400 } } }, '125/s');
	ok(row.requests === '125/s' && row.latency === '900 µs' && row.routed === '75 %', 'a row has requests, latency, and the share of routed reads', JSON.stringify(row));
	await page.unrouteAll({ behavior: 'ignoreErrors' });
	await go('volumes');
});

await section('redundancy', () => redundancy(w));
await section('servers in work', () => serversInWork(w));
await section('overview in trouble', () => overviews(w));
await section('what a new volume means', () => creating(w));
await section('ten thousand volumes', () => many(w));

await section('a volume', async () => {
	await go('volumes/demo');
	ok(await counted('.uplot', 4), 'there are charts');
	ok(await page.evaluate(() => {
		document.querySelector('.chart .now').textContent = 'what goes on, in many words '.repeat(9);
		const [a, b] = [...document.querySelectorAll('.charts .plot')].map((e) => e.getBoundingClientRect());
		return a.left < b.left && Math.abs(a.top - b.top) < 1;
	}), 'side by side, however long the words above them are');
	await page.waitForSelector('.map canvas');
	ok(await page.waitForFunction(() => /extents on 6 servers/.test(document.querySelector('.map canvas')?.getAttribute('aria-label') ?? '')).then(() => true, () => false),
		'the picture of extents has words too');
	await page.getByText('As a table').click();
	ok(await page.getByRole('row', { name: /server-1/ }).first().waitFor().then(() => true), 'and a table');
});

await section('charts of a volume', () => volume.charted(w));
await section('settings of a volume', () => volume.settings(w));
await section('a smaller volume', () => volume.smaller(w));
await section('a scrub', () => volume.scrubbed(w));
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
	ok(await page.locator('dialog:has(code)').getByRole('button', { name: 'Cancel' }).count() === 0, 'which is made, and cannot be cancelled');
	await page.locator('dialog').getByRole('button', { name: 'Copy' }).click();
	ok(await seen('Copied') && await page.locator('dialog code').count() === 1, 'which stays there when it is copied');
	ok(await page.evaluate(() => document.querySelector('#toasts').matches(':popover-open')), 'and what is said lies above it');
	await page.locator('dialog:has(code) button[type=submit]').click();
	const other = await openPage(browser, { locale: 'zh-CN' });
	await other.goto(link);
	await other.fill('input[name=name]', 'rob');
	await other.fill('input[name=password]', 'rob is long too');
	await other.click('form button[type=submit]');
	ok(await other.getByText('一切正常。').waitFor().then(() => true), 'who follows it is in, in Chinese');
	await other.goto(`${base}/#/about`);
	ok(await other.getByText(/^[0-9]+ (?:秒|分钟)$/).waitFor().then(() => true, () => false), 'and times are, too');
	ok(/volmgr \S+\s+nbdsrv \S+ .*server-1/s.test(await other.locator('dd', { hasText: 'volmgr' }).first().innerText()), 'and the versions of servers are there', await other.locator('main').innerText());
	await other.goto(`${base}/#/volumes`);
	await other.waitForSelector('h1:has-text("卷")');
	ok(await other.getByText('新建卷').count() === 0, 'a reader is offered nothing that changes');
	await other.goto(`${base}/#/volumes/none`);
	ok(await other.getByText('没有卷 none。').waitFor().then(() => true, () => false) && await other.getByText('请查看：volctl volume list').count() === 1, 'what is refused is said in Chinese, and what to do');
	const status = await other.evaluate(() => fetch('api/v1/volumes/demo', { method: 'DELETE' }).then((r) => r.status));
	ok(status === 403, 'and is refused it');
	await page.reload();
	await page.getByRole('button', { name: 'Remove: rob' }).click();
	await page.fill('dialog input[name=confirm]', 'rob');
	await page.locator('dialog button[type=submit]').click();
	await page.getByRole('combobox', { name: 'Role of rob' }).waitFor({ state: 'detached' });
	await other.goto(`${base}/#/events`);
	ok(await other.getByRole('heading', { name: '登录' }).waitFor().then(() => true), 'who is removed is out');
	ok(other.faults.length === 0, 'without faults in that page', ...other.faults);
	await other.context().close();
	const elsewhere = await openPage(browser);
	await elsewhere.goto(`${base}/#/login`);
	await elsewhere.fill('input[name=name]', 'alice');
	await elsewhere.fill('input[name=password]', 'alice is long');
	await elsewhere.click('form button[type=submit]');
	await elsewhere.waitForSelector('.hero');
	await page.reload();
	await button('End all others').click();
	await page.locator('dialog button[type=submit]').click();
	await button('End all others').waitFor({ state: 'detached' });
	await elsewhere.goto(`${base}/#/events`);
	ok(await elsewhere.getByRole('heading', { name: 'Log in' }).waitFor().then(() => true, () => false) && await seen('Your account'), 'all other sessions are ended at once');
	await elsewhere.context().close();
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
	await page.evaluate(() => import('./js/api.js').then(async (api) => {
		for (let i = 0; i < 101; i++)
			await api.patch('/settings', {});
	}));
	await page.reload();
	await page.getByRole('button', { name: 'Older' }).waitFor();
	ok(await page.getByText('Volume made was deleted').count() === 0, 'they come in pages');
	await page.fill('input[type=search]', 'made  DELETED was');
	ok(await seen('Volume made was deleted') && await counted('.event', 1), 'and what is typed is looked for in all of them');
	await page.fill('input[type=search]', 'rob');
	await page.getByText('Volume made was deleted').waitFor({ state: 'detached' });
	ok(await seen('rob joined'), 'and can be filtered');
	await go('about');
	ok(await seen('Erasure code'), 'about says what runs');
	const s = await (await page.request.get(`${base}/api/v1/status`)).json(), facts = await page.locator('main').textContent();
	ok(s.version && s.kernel && facts.includes(`volmgr ${s.version}`) && facts.includes(s.kernel) && facts.includes(`eBPF${s.ebpf.state}`) && facts.includes(s.ebpf.why), 'in which versions, and whether reads can be routed', facts);
	ok(tagger !== 'tagger' || facts.includes(`tagger ${s.version}`), "and tagger's", facts);
	const chinese = await openPage(browser);
	await chinese.context().addCookies(await page.context().cookies());
	await chinese.addInitScript(() => localStorage.setItem('weft-language', 'zh'));
	await chinese.route('**/api/v1/status', (route) => route.fulfill({ json: { ...s, warning: 'Only the slow erasure code rs_vand is here: install libisal2 for one that is 20 times faster.', ebpf: { state: 'off', why: 'no cgroup2 file system is mounted' } } }));
	await chinese.goto(`${base}/#/about`);
	ok(await chinese.getByText('关闭: 没有挂载 cgroup2 文件系统').waitFor().then(() => true, () => false) && await chinese.getByText('只有较慢的纠删码 rs_vand').count() === 1, 'and why not, in Chinese too');
	await chinese.context().close();
	await go('nonsense');
	ok(await seen('There is no such page.'), 'a wrong address is told');
});

await section('registering', () => register(w));
await section('what admins do for others', () => people(w));
await section('settings', () => settings(w));

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
	await section('uploads', () => uploadDropped(w, dir));
	await section('found', () => found(w));
	await section('a large upload', () => uploadLarge(w, dir, (what) => execFileSync(cluster[0], [...cluster.slice(1), what], { stdio: 'ignore' })));
	if (devices === 'devices')
		await section('a full disk', () => fullDisk(w, dir));
	await section('previews', () => previews(w, dir));
	await section('downloads', () => downloads(w, dir));
	await section('changes', () => changes(w, dir));
	await section('tags of many', () => tagsOfMany(w, dir));
	await section('filters', () => filters(w, dir));
	await section('spaces', () => spaces(w));
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
		await other.getByRole('link', { name: /^harbour-2.md/ }).click();
		ok(await other.locator('.markdown strong:has-text("2")').waitFor().then(() => true), 'a link shows it to who is not logged in');
		await other.goBack();
		ok(await other.getByRole('link', { name: /^harbour-2.md/ }).waitFor().then(() => true), 'who finds back to the folder as to any page');
		await other.goForward();
		await other.reload();
		ok(await other.locator('.markdown strong:has-text("2")').waitFor().then(() => true), 'and to the file');
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
	await section('graph', () => graph(w));
	await section('names that would be code', () => hostile(w));
}

await section('every place', () => everyPlace(w, PLACES));
await section('every dialog', () => everyDialog(w, tagger === 'tagger'));
await section('outside', () => outside(w));

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

await section('leaving', () => leaving(w, tagger === 'tagger'));
await section('speed', () => speed(w));

await section('asking', () => asksLittle(w));
await section('three seconds', () => threeSeconds(w));

await section('volmgr goes away and comes back', async () => {
	await go('overview');
	await page.waitForSelector('.hero.good');
	await page.context().setOffline(true);
	ok(await page.locator('.hero.bad').waitFor({ timeout: SEEN_MS }).then(() => true, () => false), 'a network that is gone is seen at once');
	await page.setViewportSize({ width: 360, height: 740 });
	const wide = await page.evaluate(() => [...document.querySelectorAll('.top, .top *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.className)); // charts follow later
	ok(wide.length === 0, 'also on a phone, whose header has room for it', ...wide);
	await page.setViewportSize({ width: 1280, height: 860 });
	await page.context().setOffline(false);
	ok(await page.locator('.hero.good').waitFor().then(() => true, () => false), 'and when it is there again');
	const clock = await openPage(browser); // its time is ours
	await clock.context().addCookies(await page.context().cookies());
	await clock.clock.install();
	const { last_event: _, ...told } = await (await page.request.get(`${base}/api/v1/status`)).json();
	let asked = 0;
	await clock.route('**/api/v1/live', (route) => (++asked > 1 ? undefined : route.fulfill({ contentType: 'text/event-stream', body: `event: live\ndata: ${JSON.stringify({ ...told, rates: {}, busy: {}, busy_servers: {}, last_event: 1 })}\n\n` })));
	await clock.goto(`${base}/#/overview`);
	await clock.locator('.hero.good').waitFor();
	await clock.clock.runFor(1000);
	await clock.waitForFunction(() => true);
	await clock.clock.runFor(11000);
	ok(await clock.locator('.hero.bad').waitFor().then(() => true, () => false), 'a connection on which nothing comes any more is not believed');
	await clock.context().close();
	execFileSync(cluster[0], [...cluster.slice(1), 'stop'], { stdio: 'ignore' });
	ok(await seen('No connection'), 'the page says that volmgr is away');
	ok(await page.locator('.hero.bad h1:has-text("volmgr does not answer.")').waitFor().then(() => true, () => false) && !await page.getByText('Everything is fine.').count(), 'and no longer that everything is fine');
	await page.goto(`${base}/#/volumes`);
	ok(await page.locator('main > .notice.bad').waitFor().then(() => true, () => false), 'a place that is gone to meanwhile says it too');
	ok(await page.locator('.brand img').evaluate((e) => e.naturalWidth) > 0, 'without a hole where a picture was');
	execFileSync(cluster[0], [...cluster.slice(1), 'start'], { stdio: 'ignore' });
	ok(await page.locator('.state .dot.good').waitFor().then(() => true, () => false), 'and goes on by itself');
	ok(await page.getByRole('link', { name: 'demo' }).waitFor().then(() => true, () => false), 'without logging in again, at the place where one was');
	await page.getByRole('button', { name: 'Log out' }).click();
	ok(await page.getByRole('heading', { name: 'Log in' }).waitFor().then(() => true), 'logging out ends it');
});

ok(page.faults.length === 0, 'no faults in the page', ...page.faults);
await browser.close();
console.log(`1..${count}`);
