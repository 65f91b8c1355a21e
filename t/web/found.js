// What is found among the files: its order, its graph, marking all of it, and coming back to it.
const names = (page) => page.locator('.filelist tbody tr th span').allTextContents();

export async function found(w) {
	const { page, ok, go, button } = w;
	await go('files?in=notes');
	await page.locator('.filelist').waitFor();
	await page.getByRole('combobox', { name: 'Sort by' }).selectOption('newest');
	const csrf = await page.evaluate(async () => (await (await fetch('api/v1/me')).json()).csrf);
	await page.evaluate(async (token) => fetch(`api/v1/tagger/upload?path=notes/large.md`, { method: 'PUT', headers: { 'X-Weft-CSRF': token }, body: `# Large\n\n${'A lighthouse at the harbour. '.repeat(40)}` }), csrf);
	await page.getByRole('button', { name: /large.md/ }).waitFor();
	for (const [order, first] of [['largest', true], ['smallest', false]]) {
		await page.getByRole('combobox', { name: 'Sort by' }).selectOption(order);
		const at = first ? 'first' : 'last';
		ok(await page.waitForFunction(([i]) => [...document.querySelectorAll('.filelist tbody tr th span')].at(i)?.textContent === 'large.md', [first ? 0 : -1]).then(() => true, () => false),
			`a folder with the ${order} first has the large file ${at}`, ...await names(page));
	}
	await page.getByRole('checkbox', { name: 'Mark all' }).check();
	ok(await page.locator('.marks strong').textContent() === `${(await names(page)).length} marked`, 'all are marked at once');
	await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
	const box = await page.locator('.marks').boundingBox();
	ok(box.y >= 0 && box.y < page.viewportSize().height, 'what can be done with them stays in sight');
	await page.locator('input[name=q]').fill('lighthouse');
	await w.seen(/found$/);
	ok(await page.waitForFunction(() => location.hash.includes('q=lighthouse')).then(() => true, () => false), 'a search is in the address');
	const many = await page.locator('.filelist tbody tr').count();
	await button('As a graph').click();
	await page.locator('.graphside h2', { hasText: 'What was found' }).waitFor();
	ok(await w.seen(`${many} files,`), 'what was found is a graph', await page.locator('.head .hint').textContent());
	await page.getByText('As a table').click();
	const tag = (await page.locator('.rows button', { hasText: /^#harbour/ }).first().textContent()).slice(1);
	await page.locator('.rows').getByText(`#${tag}`, { exact: true }).click();
	await button('Only with this').click();
	await page.getByRole('button', { name: `Remove: tag:"${tag}"` }).waitFor();
	const { total } = await page.evaluate(async (q) => (await fetch(`api/v1/tagger/search?q=${encodeURIComponent(q)}`)).json(), `lighthouse tag:"${tag}"`);
	ok(total > 0 && await w.seen(`${total} files,`), 'which is narrowed by a tag');
	await page.getByRole('button', { name: `Remove: tag:"${tag}"` }).click();
	ok(await w.seen(`${many} files,`), 'and widened again');
	await page.goBack();
	ok(await page.waitForFunction(() => document.querySelector('input[name=q]')?.value === 'lighthouse').then(() => true, () => false) && await w.counted('.filelist tbody tr', many), 'who goes back finds their search');
	await go('files?in=nowhere');
	await page.locator('main .notice.bad').waitFor();
	ok(await page.getByRole('link', { name: 'All files' }).count() === 1 && await page.locator('main .notice.bad').count() === 1, 'a folder that is not there says so, with the way up');
}
