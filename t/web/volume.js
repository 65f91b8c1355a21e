// A volume's place: what its charts draw, and what is changed there: settings, a scrub, its size.
const api = (w, what, ...args) => w.page.evaluate(([f, a]) => import('./js/api.js').then((m) => m[f](...a)), [what, args]);
const submit = (w) => w.page.locator('dialog button[type=submit]').click();
const closed = (w) => w.page.locator('dialog').waitFor({ state: 'detached' });
const fact = (w, name) => w.page.locator('.facts div', { has: w.page.locator('dt', { hasText: new RegExp(`^${name}$`) }) }).locator('dd');
const says = (place, text) => place.filter({ hasText: text }).waitFor().then(() => true, () => false);

// How high the second line of a chart rises: 0 is the bottom, 1 the top.
const height = (page) => page.evaluate(async () => {
	const { colour } = await import('./js/dom.js');
	const canvas = document.querySelector('.uplot canvas'), { data, width, height: rows } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
	const probe = new OffscreenCanvas(1, 1).getContext('2d');
	probe.fillStyle = colour('--chart-2');
	probe.fillRect(0, 0, 1, 1);
	const want = probe.getImageData(0, 0, 1, 1).data;
	for (let i = 0; i < width * rows; i++)
		if (data[i * 4 + 3] > 20 && [0, 1, 2].every((c) => Math.abs(data[i * 4 + c] - want[c]) < 40))
			return 1 - Math.floor(i / width) / rows;
	return 0;
});

export async function charted(w) {
	const { page, ok, go, button } = w, pattern = '**/api/v1/history?*span=day*';
	await go('volumes/demo');
	ok(await w.counted('.uplot', 4), 'there are charts');
	const end = Date.now() + 30000;
	let high = 0;
	while (high < 0.5 && Date.now() < end) { // it is drawn in a frame to come
		await page.evaluate(() => new Promise((done) => requestAnimationFrame(done)));
		high = await height(page);
	}
	ok(high > 0.5, 'which show what was written', `${high}`);
	await page.route(pattern, async (route) => {
		const got = await route.fetch(), json = await got.json();
		for (const name of Object.keys(json).filter((k) => Array.isArray(json[k])))
			json[name] = Array.from({ length: 720 }, () => (name === 'write_bytes' ? 3 << 20 : 0));
		await route.fulfill({ json });
	});
	const [answer] = await Promise.all([page.waitForResponse((r) => r.url().includes('span=day')), button('1 day').first().click()]);
	ok((await answer.json()).step === 120, 'a day is asked for');
	const over = page.locator('.uplot').first().locator('.u-over');
	await over.scrollIntoViewIfNeeded();
	const value = page.locator('.uplot').first().locator('.u-legend .u-series').nth(2).locator('.u-value');
	const until = Date.now() + 30000;
	let told = '';
	for (let i = 0; !/3(?:\.0+)? MiB\/s/.test(told) && Date.now() < until; i++) { // drawn anew meanwhile
		await over.hover({ position: { x: 60 + i % 9, y: 40 } });
		told = await value.textContent({ timeout: 5000 }).catch(() => '');
	}
	ok(/3(?:\.0+)? MiB\/s/.test(told), 'and what is under the pointer is told', told);
	await page.unroute(pattern);
}

export async function settings(w) {
	const { page, ok, go, button } = w, before = await api(w, 'get', '/volumes/demo');
	await go('volumes/demo');
	await button('Settings').click();
	await page.fill('dialog input[name=min]', '7');
	ok(await page.locator('dialog input[name=min]:invalid').count() === 1, 'writes cannot need more shards than there are');
	await page.fill('dialog input[name=min]', '6');
	await page.selectOption('dialog select[name=below_min]', 'fail');
	await page.selectOption('dialog select[name=when_full]', 'wait');
	await submit(w);
	await closed(w);
	ok(await says(fact(w, 'Writes need'), '6 of 6 shards') && await says(fact(w, 'With fewer'), 'writes fail') && await says(fact(w, 'When servers are full'), 'writes wait'), 'settings of a volume are shown');
	const v = await api(w, 'get', '/volumes/demo');
	ok(v.min === 6 && v.below_min === 'fail' && v.when_full === 'wait', 'and kept', JSON.stringify(v));
	await api(w, 'patch', '/volumes/demo', { min: before.min, below_min: before.below_min, when_full: before.when_full });
}

export async function smaller(w) {
	const { page, ok, go, button, seen } = w;
	await api(w, 'post', '/volumes', { name: 'less', size: 128 << 20, k: 2, m: 1 });
	await go('volumes/less');
	await button('Resize').click();
	await page.fill('dialog input[name=size]', '64M');
	ok(await page.locator('dialog button[type=submit]').isDisabled(), 'a volume is made smaller only');
	await page.getByRole('checkbox', { name: /^Make it smaller/ }).check();
	await submit(w);
	await closed(w);
	ok(await seen('less has its new size.') && await says(fact(w, 'Size'), '64 MiB') && (await api(w, 'get', '/volumes/less')).size === 64 << 20, 'by who says so');
	await api(w, 'del', '/volumes/less');
}

// A small volume is scrubbed in a moment: one that goes on is made up.
export async function scrubbed(w) {
	const { page, ok, go, button } = w;
	await go('volumes/demo');
	await button('Scrub now').click();
	const end = Date.now() + 60000;
	let state;
	do
		state = (await api(w, 'get', '/scrub')).scrubs.find((s) => s.volume === 'demo');
	while (state.state !== 'done' && Date.now() < end && await page.waitForTimeout(200) === undefined);
	ok(state.state === 'done', 'a scrub is begun, and comes to its end', JSON.stringify(state));
	await page.reload();
	ok(await says(fact(w, 'Damaged blocks'), '0') && await fact(w, 'Last time').textContent() !== 'never', 'what it found is told');
	const orders = [];
	await page.route('**/api/v1/scrub*', (route) => {
		if (route.request().method() === 'POST')
			orders.push(route.request().postDataJSON());
		return route.fulfill({ json: { scrubs: [{ ...state, state: orders.length ? 'stopped' : 'running' }] } });
	});
	await page.reload();
	await button('Stop').click();
	ok(await button('Scrub now').waitFor().then(() => true, () => false) && orders.length === 1 && orders[0].action === 'stop' && orders[0].volume === 'demo', 'and one that goes on is stopped', JSON.stringify(orders));
	await page.unroute('**/api/v1/scrub*');
}
