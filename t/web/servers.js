// What is done to servers, hosts and attached volumes in the page: add, drain, replace and remove; stop, start,
// shut down and wake; attach. w is what test.js has: its page, and how it tells what it saw.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const DRAIN_MS = 120000; // shards move while the machine does other things

const submit = (w) => w.page.locator('dialog button[type=submit]').click();
const closed = (w) => w.page.locator('dialog').waitFor({ state: 'detached' });
const api = (w, what, ...args) => w.page.evaluate(([f, a]) => import('./js/api.js').then((m) => m[f](...a)), [what, args]);

async function open(w, name) {
	await w.go(`servers/${name}`);
	await w.page.waitForSelector(`h1:has-text("${name}")`);
}

// Until what was done to servers is over.
async function settled(w) {
	const end = Date.now() + DRAIN_MS;
	// waitForFunction() does not wait for promises
	while ((await api(w, 'get', '/status')).state !== 'ok') {
		if (Date.now() > end)
			throw new Error('the cluster does not become well again');
		await w.page.waitForTimeout(200);
	}
}

async function add(w, name, address) {
	await w.go('servers');
	await w.button('Add server').click();
	await w.page.fill('dialog input[name=address]', address);
	await w.page.getByText('More', { exact: true }).click();
	await w.page.fill('dialog input[name=name]', name);
	await w.page.fill('dialog input[name=host]', `host-${name}`);
	await submit(w);
	await closed(w);
	return w.page.locator('.disk.good', { hasText: name }).waitFor().then(() => true, () => false);
}

async function removeNamed(w, name) {
	await w.button('Remove').click();
	await w.page.fill('dialog input[name=confirm]', name);
}

// What had a shard placed on it a moment ago is not removed yet: who is told so tries again.
async function submitAgain(w) {
	const end = Date.now() + 30000;
	do {
		await submit(w);
		const refused = w.page.locator('dialog .notice.bad[role=alert]', { hasText: 'Try again in ten seconds' }).waitFor().then(() => true, () => false);
		if (!await Promise.race([refused, closed(w).then(() => false, () => false)]))
			return;
		await w.page.waitForTimeout(500);
	} while (Date.now() < end);
	throw new Error('a server is not removed for too long');
}

const gone = (w, name) => w.page.locator('.disk', { hasText: name }).waitFor({ state: 'detached', timeout: DRAIN_MS }).then(() => true, () => false);

// spares: addresses of servers that run and are not known yet: server-7, server-8, server-9.
export async function servers(w, spares) {
	const { page, ok, seen, button } = w;
	await w.go('servers');
	ok(await w.counted('.disk', 6), 'all servers are shown');
	await button('Add server').click();
	ok(await page.locator('dialog .commands').getByText('nbdsrv --store /srv/weft --format').waitFor().then(() => true), 'how a server is started is shown where one is added');
	await page.fill('dialog input[name=address]', '127.0.0.1:1');
	await submit(w);
	ok(await page.locator('dialog .notice.bad').waitFor().then(() => true), 'a server that is not there is refused in the dialog');
	await page.keyboard.press('Escape');
	await page.getByRole('link', { name: /server-1/ }).click();
	await page.waitForSelector('h1:has-text("server-1")');
	await removeNamed(w, 'server-');
	ok(await page.locator('dialog button[type=submit]').isDisabled(), 'removing a server wants its whole name');
	await page.fill('dialog input[name=confirm]', 'server-1');
	await submit(w);
	ok(/holds [0-9]+ shard.*server drain/s.test(await page.locator('dialog .notice.bad[role=alert]').textContent()), 'one that holds shards is not removed, and why and what to do is said');
	await page.keyboard.press('Escape');
	await button('Change address').click();
	const own = await page.inputValue('dialog input[name=address]');
	await page.fill('dialog input[name=address]', '127.0.0.1:1');
	await submit(w);
	ok(/cannot be reached at tcp:127\.0\.0\.1:1.*It stays at/s.test(await page.locator('dialog .notice.bad[role=alert]').textContent()), 'a server is not moved to where nobody answers');
	await page.fill('dialog input[name=address]', own);
	await submit(w);
	ok(await seen(`server-1 is at ${own}.`), 'and what is said of where it is, is taken');
	await button('Drain').click();
	await submit(w);
	ok(/4\+2.*needs 6.*server add/s.test(await page.locator('dialog .notice.bad[role=alert]').textContent()), 'one without which a volume has too few is not drained, and why is said');
	await page.keyboard.press('Escape');

	ok(await add(w, 'server-7', spares[0]), 'a server is added');
	await open(w, 'server-5');
	await button('Drain').click();
	ok(await page.locator('dialog').getByText('Its shards move to other servers').waitFor().then(() => true), 'draining says what it does');
	await submit(w);
	await closed(w);
	await button('Stop').waitFor();
	ok(await page.getByText(/It is being emptied\.|It is empty\./).waitFor().then(() => true), 'a server is drained');
	ok(await page.getByText('It is empty.').waitFor({ timeout: DRAIN_MS }).then(() => true, () => false), 'which is told when it is done');
	await removeNamed(w, 'server-5');
	await submitAgain(w);
	await page.waitForSelector('h1:has-text("Servers")');
	ok(await gone(w, 'server-5') && await w.counted('.disk', 6), 'one that is empty is removed');

	ok(await add(w, 'server-8', spares[1]), 'another one comes');
	await open(w, 'server-6');
	await button('Drain').click();
	await submit(w);
	await button('Stop').click();
	await submit(w);
	ok(await button('Drain').waitFor().then(() => true), 'a server that is drained may stay after all');
	await button('Replace').click();
	ok(await w.counted('dialog select[name=by] option', 6), 'it may take the place of any');
	await page.selectOption('dialog select[name=by]', 'server-8');
	await submit(w);
	ok(await page.waitForSelector('h1:has-text("Servers")', { timeout: DRAIN_MS }).then(() => true, () => false), 'the page of a server that is replaced ends with it');
	ok(await seen('server-6 is removed.') && await gone(w, 'server-6') && await w.counted('.disk', 6), 'and it is gone when all has moved');
	await settled(w);
}

// Opens the dialog of a host's power with that action chosen.
async function choose(w, host, action) {
	await w.go('servers');
	await w.page.getByRole('button', { name: `Power of ${host}` }).click();
	await w.page.selectOption('dialog select[name=action]', action);
}

// ran: the file in which the commands note what they were called with.
export async function power(w, spares, ran) {
	const { page, ok, seen } = w;
	const dialog = page.locator('dialog');
	const calls = () => readFileSync(ran, 'utf8').trim().split('\n');
	await choose(w, 'host-server-1', 'stop');
	ok(await dialog.getByText('All volumes go on.').waitFor().then(() => true), 'before a host is stopped, it is said what would be missed');
	ok(!await dialog.getByText('Do it all the same').isVisible(), 'what harms nobody is not asked for twice');
	await submit(w);
	ok(await seen('The command for host-server-1 has ended well.'), 'its servers are stopped');
	ok(await page.locator('.disk.bad, .disk.warn').first().waitFor().then(() => true), 'and are seen to be away');
	ok(await seen('1 of 6 servers cannot be reached.'), 'and counted');
	await choose(w, 'host-server-1', 'start');
	ok(await dialog.locator('.notice').first().isHidden(), 'starting warns of nothing');
	await submit(w);
	await closed(w);
	await settled(w);
	ok(calls().join() === 'stop host-server-1,start host-server-1', 'they are started again', ...calls());

	// one volume without any parity, one whose writes want every server
	const uri = async (name) => (await api(w, 'get', '/status')).listen.find((l) => l.startsWith('tcp:')).replace(/^tcp:(.*)$/, `nbd://$1/${name}`);
	for (const v of [{ name: 'bare', size: 64 << 20, k: 6, m: 0 }, { name: 'strict', size: 64 << 20, k: 4, m: 2, min: 6 }]) {
		await api(w, 'post', '/volumes', v);
		execFileSync('nbdcopy', ['--', '-', await uri(v.name)], { input: Buffer.alloc(1 << 20, 1), stdio: ['pipe', 'ignore', 'inherit'] });
	}
	await choose(w, 'host-server-2', 'off');
	ok(await dialog.getByText('parts of one volume cannot be read').isVisible() && await dialog.getByText('writes to one volume wait').isVisible(), 'what would be unavailable is counted');
	ok((await dialog.locator('li').allTextContents()).sort().join() === 'bare,strict', 'and named');
	const doIt = dialog.locator('button[type=submit]');
	ok(await doIt.isDisabled(), 'then a host is not shut down');
	await dialog.getByText('Do it all the same').click();
	await doIt.click();
	await closed(w);
	ok(calls().at(-1) === 'off host-server-2', 'but it is when it is meant', ...calls());
	await page.locator('.disk.bad', { hasText: 'server-2' }).waitFor();
	await choose(w, 'host-server-2', 'wake');
	ok(await dialog.locator('.notice').first().isHidden() && await doIt.isEnabled(), 'waking warns of nothing');
	await submit(w);
	await closed(w);
	ok(calls().at(-1) === 'wake host-server-2', 'a host is woken', ...calls());
	await settled(w);
	for (const name of ['bare', 'strict'])
		await api(w, 'del', `/volumes/${name}`);

	// one that does not come back
	ok(await add(w, 'server-9', spares[2]), 'a server comes for one that is lost');
	await choose(w, 'host-server-4', 'stop');
	await submit(w);
	await closed(w);
	await page.locator('.disk.bad', { hasText: 'server-4' }).waitFor();
	await open(w, 'server-4');
	ok(await seen(/This server is down/), 'the page of a server that is away says so');
	await page.waitForSelector('button:has-text("Remove")');
	await removeNamed(w, 'server-4');
	await submit(w);
	ok(/--lost|lost/.test(await dialog.locator('.notice.bad[role=alert]').textContent()), 'one that is away is not removed just so');
	await page.getByText('It is lost for good').click();
	await submit(w);
	await closed(w);
	ok(await seen('It is lost: its shards are made anew on others.'), 'one that is lost is, which is told');
}

// A while later.
export async function lostIsGone(w) {
	await w.go('servers');
	w.ok(await gone(w, 'server-4') && await w.counted('.disk', 6), 'a server that is lost goes when its shards are made anew');
	await settled(w);
}

// Tabs with what to type, and the button that copies it.
export async function attachWords(w) {
	const { page, ok } = w;
	await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: w.base });
	await w.go('volumes/demo');
	const panel = page.locator('.tabpanel');
	for (const [tab, ...words] of [
		['This machine', 'volctl volume attach demo', 'mount /dev/nbd0'],
		['Linux', 'nbd-client -N demo', '/dev/nbd0'],
		['QEMU', 'qemu-system-x86_64', '/demo,format=raw,if=virtio'],
		['Windows', 'wnbd-client.exe map demo', 'Get-Disk'],
		['fio, nbdcopy', 'nbdinfo nbd', '--ioengine=nbd']]) {
		await page.getByRole('tab', { name: tab, exact: true }).click();
		const text = await panel.locator('pre').first().textContent();
		await panel.getByRole('button', { name: 'Copy' }).first().click();
		await page.locator('.toast', { hasText: 'Copied' }).last().waitFor();
		const copied = await page.evaluate(() => navigator.clipboard.readText());
		ok(words.every((x) => text.includes(x)) && copied === text, `how it is attached: ${tab}, and copied as it is shown`, text, copied);
	}
	ok(await page.getByRole('tab', { name: 'fio, nbdcopy' }).getAttribute('aria-selected') === 'true', 'the chosen tab is marked');
	await page.getByRole('tab', { name: 'fio, nbdcopy' }).press('ArrowRight');
	ok(await page.getByRole('tab', { name: 'This machine' }).getAttribute('aria-selected') === 'true', 'tabs are chosen by keys');
	// over plain http from another machine a page has no clipboard of its own
	await page.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true }));
	await page.getByRole('tab', { name: 'Windows' }).click();
	await panel.getByRole('button', { name: 'Copy' }).first().click();
	await page.reload();
	await page.waitForSelector('.tabpanel');
	ok((await page.evaluate(() => navigator.clipboard.readText())).startsWith('wnbd-client.exe map demo'), 'also where the browser has no clipboard for pages');
	await page.context().clearPermissions();
}

export async function attachHere(w) {
	const { ok, seen, button } = w;
	await w.go('volumes/demo');
	await button('Attach here').click();
	ok(await seen(/It is attached on the machine of volmgr as \/dev\//), 'a volume becomes a device of this machine');
	await button('Detach').click();
	ok(await button('Attach here').waitFor().then(() => true), 'and is taken away again');
}
