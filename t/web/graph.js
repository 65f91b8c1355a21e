// The graph of everything with as many nodes as are shown: an answer that is made up here.
const TAGS = 2000, FILES = 8000, LINKS = 3;
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

// How long it takes until it is there, drawn, and the page answers again, in milliseconds.
export async function largeGraph(w) {
	const { page, ok, seen, button } = w, pattern = '**/api/v1/tagger/graph?whole=1*';
	await page.route(pattern, (route) => route.fulfill({ json: answer() }));
	const begin = Date.now();
	await button('Whole graph').click();
	ok(await seen(/8,000 of 1.* files: those with most relations/), 'of very many files those are shown that have most relations');
	ok(await seen(/8,000 files, 2,000 tags, 24/), 'and counted');
	await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
	const ms = Date.now() - begin;
	await page.unroute(pattern);
	await page.getByText('As a table').click();
	await page.locator('.rows').getByText('#word 0', { exact: true }).click();
	ok(await page.locator('.graphside h2', { hasText: '#word 0' }).waitFor().then(() => true), 'a node of it can be looked at');
	await button('Reset').click();
	ok(await seen('Where to start?') && await seen('0 files, 0 tags, 0 lines'), 'and all is put away again');
	return ms;
}
