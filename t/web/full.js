// A file that does not fit: the page says so, and what to do; nothing of it stays, and what was there is as it was.
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';

const HUGE = 4 * 1024 ** 3; // more than the volume has

export async function fullDisk(w, dir) {
	const { page, ok, go } = w, path = `${dir}/up/huge.bin`;
	mkdirSync(`${dir}/up`, { recursive: true });
	const fd = openSync(path, 'w');
	ftruncateSync(fd, HUGE);
	closeSync(fd);
	writeFileSync(`${dir}/files/keep.txt`, 'what was there');
	await go('files');
	await page.locator('.filelist').first().waitFor();
	const [chooser] = await Promise.all([page.waitForEvent('filechooser'), page.getByRole('button', { name: 'Upload', exact: true }).click()]);
	await chooser.setFiles(path);
	const row = page.locator('.uploads li', { hasText: 'huge.bin' });
	ok(await row.getByText('no space is left on the disk').waitFor().then(() => true, () => false), 'what does not fit is refused with a sentence');
	ok(await row.getByText('empty the bin').count() === 1, 'that says what to do');
	ok(await row.getByRole('button', { name: /^Try again/ }).count() === 1, 'when there is room it can be tried again');
	let parts = 0;
	for (const name of readdirSync(`${dir}/files/.weft/upload`))
		parts += statSync(`${dir}/files/.weft/upload/${name}`).size;
	ok(parts === 0, 'nothing of it is on the volume', `${parts}`);
	ok(readFileSync(`${dir}/files/keep.txt`, 'utf8') === 'what was there', 'and what was there still is');
	await row.getByRole('button', { name: /^Remove/ }).click();
	page.faults = page.faults.filter((f) => !/status of 507/.test(f)); // the browser notes what was refused
}
