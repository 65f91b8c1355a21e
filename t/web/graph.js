// The graph: from a tag, from a file, what can be done with a node; and of everything with as many nodes as are
// shown, which is an answer that is made up here.
const TAGS = 2000, FILES = 8000, LINKS = 3;
const LARGE_MS = 5000; // of a processor: how busy the machine is does not count
const POINT_MS = 30000;
const KINDS = ['text', 'image', 'source', 'document', 'page'];

function answer() {
	const nodes = [], edges = [];
	for (let i = 0; i < TAGS; i++)
		nodes.push({ tag: `word ${i}`, files: 2 + Math.round(2000 / (i + 1)) });
	for (let i = 0; i < FILES; i++) {
		nodes.push({ id: i + 2, kind: KINDS[i % KINDS.length], path: `folder/${i}.txt` });
		for (let k = 0; k < LINKS; k++)
			edges.push([(i % 50) * 40 + (i * 7 + k * 13) % 40, TAGS + i, 0.1 + k / 5]);
	}
	return { nodes, edges, files: 1000000 };
}

// What the page's thread takes of a processor until it is there, drawn, and answers again, in milliseconds.
async function largeGraph(w) {
	const { page, ok, seen, button } = w, pattern = '**/api/v1/tagger/graph?whole=1*';
	const session = await page.context().newCDPSession(page);
	await session.send('Performance.enable', { timeDomain: 'threadTicks' });
	const taken = async () => (await session.send('Performance.getMetrics')).metrics.find((m) => m.name === 'TaskDuration').value * 1000;
	await page.route(pattern, (route) => route.fulfill({ json: answer() }));
	const before = await taken();
	await button('Whole graph').click();
	ok(await seen(/8,000 of 1.* files: those with most relations/), 'of very many files those are shown that have most relations');
	ok(await seen(/8,000 files, 2,000 tags, 24/), 'and counted');
	await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
	const ms = Math.round(await taken() - before);
	await page.unroute(pattern);
	await page.getByText('As a table').click();
	await page.locator('.rows').getByText('#word 0', { exact: true }).click();
	ok(await page.locator('.graphside h2', { hasText: '#word 0' }).waitFor().then(() => true), 'a node of it can be looked at');
	await button('Reset').click();
	ok(await seen('Where to start?') && await seen('0 files, 0 tags, 0 lines'), 'and all is put away again');
	return ms;
}
// ---- a real one --------------------------------------------------------------------------

const told = (page) => page.locator('.head [role=status]').textContent();
const files = (page) => page.evaluate(() => Number(/^[\d,]+/.exec(document.querySelector('.head [role=status]')?.textContent ?? '')?.[0].replace(/,/g, '')));

async function grown(w) {
	const { page, ok, go, seen, button } = w, pattern = '**/api/v1/tagger/graph*';
	await go('graph');
	await page.route(pattern, (route) => route.continue({ url: route.request().url().replace(/nodes=\d+/, 'nodes=2') }));
	await page.fill('input[type=search]', 'lighth');
	await page.locator('.chips button').first().click();
	await page.waitForFunction(() => /[1-9]\d* file/.test(document.querySelector('.head [role=status]')?.textContent ?? ''));
	const few = await files(page);
	await page.unroute(pattern);
	await button('Expand').click();
	ok(await page.waitForFunction((n) => parseInt(document.querySelector('.head [role=status]').textContent, 10) > n, few).then(() => true, () => false), 'a graph grows from a tag', `${few}: ${await told(page)}`);
	await page.getByText('As a table').click();
	ok(await page.locator('.rows').getByText('harbour-1.md').waitFor().then(() => true, () => false), 'with the files that have it, in words too');
	await button('Whole graph').click();
	ok(await seen('Everything there is.'), 'and the whole graph');
}

// Is something drawn for the node under the pointer?
const drawn = (page) => page.evaluate(() => {
	const canvas = document.querySelector('.graph canvas.sigma-hovers');
	return canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((x) => x !== 0);
});

// One file, alone: it lies in the middle.
async function pointed(w, file) {
	const { page, ok, go, button } = w, pattern = '**/api/v1/tagger/graph?whole=1*';
	await go('graph');
	await page.locator('.graph canvas.sigma-hovers').waitFor({ state: 'attached' });
	await page.route(pattern, (route) => route.fulfill({ json: { nodes: [{ id: file.id, kind: file.kind, path: file.path }], edges: [], files: 1 } }));
	await button('Whole graph').click();
	await page.waitForFunction(() => /^1 file/.test(document.querySelector('.head [role=status]').textContent));
	ok(!await drawn(page), 'nothing is pointed at yet');
	await page.locator('.graph').scrollIntoViewIfNeeded();
	const box = await page.locator('.graph').boundingBox(), end = Date.now() + POINT_MS;
	let there = false;
	for (let i = 0; !there && Date.now() < end; i++) { // it comes to the middle when it is laid out
		await page.mouse.move(box.x + box.width / 2 + i % 2, box.y + box.height / 2);
		await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
		there = await drawn(page);
	}
	ok(there, 'what the pointer is on is set off');
	await page.mouse.down();
	await page.mouse.up();
	ok(await page.locator('.graphside h2', { hasText: file.name }).waitFor({ timeout: POINT_MS }).then(() => true, () => false), 'and a click looks at it');
	await page.mouse.move(box.x + 2, box.y + 2);
	await page.unroute(pattern);
}

async function fromFile(w) {
	const { page, ok } = w;
	const { files: [file] } = await page.evaluate(() => import('./js/tagger.js').then((m) => m.taggerGet('search', { q: 'name:"harbour-2"' })));
	await w.go(`graph?id=${file.id}`);
	ok(await page.locator('.graphside h2', { hasText: file.name }).waitFor().then(() => true, () => false) && await files(page) > 0, 'a graph begins at a file by its address', await told(page));
	await w.button('Open').click();
	ok(await page.locator('dialog .markdown strong:has-text("2")').waitFor().then(() => true, () => false), 'a file in it is opened');
	await page.locator('dialog').getByRole('button', { name: 'Close', exact: true }).click();
	const [download] = await Promise.all([page.waitForEvent('download'), page.locator('.graphside').getByRole('link', { name: 'Download' }).click()]);
	ok(download.suggestedFilename() === file.name, 'or downloaded', download.suggestedFilename());
	await download.cancel();
	return file;
}

// What comes when the place is left already changes nothing: an answer, and other colours.
async function left(w) {
	const { page, ok, go, button } = w, pattern = '**/api/v1/tagger/graph?whole=1*', before = page.faults.length;
	await go('graph');
	await page.locator('.graph canvas.sigma-hovers').waitFor({ state: 'attached' });
	let answered;
	const held = new Promise((asked) => page.route(pattern, (route) => {
		answered = () => route.fulfill({ json: { nodes: [{ tag: 'word', files: 1 }], edges: [], files: 0 } });
		asked();
	}));
	await button('Whole graph').click();
	await held;
	await go('about');
	await page.locator('main h1', { hasText: 'About' }).waitFor();
	await Promise.all([page.waitForResponse((r) => r.url().includes('/graph?whole=1')), answered()]);
	await page.unroute(pattern);
	for (const colorScheme of ['dark', 'light']) {
		await page.emulateMedia({ colorScheme });
		await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
	}
	ok(page.faults.length === before, 'a graph that was left is left alone', ...page.faults.slice(before));
}

export async function graph(w) {
	await grown(w);
	await left(w);
	await pointed(w, await fromFile(w));
	const ms = await largeGraph(w);
	console.log(`# 10,000 nodes took ${ms} ms of a processor`);
	w.ok(ms > 0 && ms < LARGE_MS, 'ten thousand nodes do not take long', `${ms} ms`);
}
