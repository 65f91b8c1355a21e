// What was dropped or chosen: files, and folders with all that is in them. Gives { files: [{ file, path }],
// folders: [path] }, outermost folders first; folders are also those that have nothing in them.
import { joinPath } from './tagger.js';

function entriesOf(reader) {
	return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}

async function walk(entry, path, out) {
	if (entry.isFile) {
		const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
		out.files.push({ file, path: joinPath(path, file.name) });
		return;
	}
	const own = joinPath(path, entry.name), reader = entry.createReader();
	out.folders.push(own);
	for (let list = await entriesOf(reader); list.length; list = await entriesOf(reader))
		for (const e of list)
			await walk(e, own, out);
}

export async function dropped(transfer) {
	const entries = [...transfer.items].map((i) => i.webkitGetAsEntry?.()).filter(Boolean), out = { files: [], folders: [] };
	if (!entries.length)
		out.files = [...transfer.files].map((file) => ({ file, path: file.name }));
	for (const e of entries)
		await walk(e, '', out);
	return out;
}

// A browser tells the files of a chosen folder and not the folders.
export function chosen(input) {
	const files = [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
	const folders = new Set();
	for (const { path } of files) {
		const words = path.split('/').slice(0, -1);
		words.forEach((_, i) => folders.add(words.slice(0, i + 1).join('/')));
	}
	return { files, folders: [...folders].sort((a, b) => a.split('/').length - b.split('/').length) };
}
