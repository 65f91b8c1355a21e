// Uploads in pieces: each says where it belongs, so one that broke off goes on where it was, after a pause,
// after a restart of volmgr, or when the same file is dropped again. One file at a time, with progress.
import { el, icon, replace } from './dom.js';
import { query } from './api.js';
import { bytes } from './format.js';
import { t } from './i18n.js';
import { joinPath, taggerGet } from './tagger.js';

const PIECE = 8 << 20;
const RETRY_MS = 2000;
const RETRIES = 30;

const queue = [];
let running = null;
let place = null;
let whenDone = () => {};
let token = () => '';

export function uploadToken(fn) {
	token = fn;
}

// ---- what is shown ---------------------------------------------------------

function row(u) {
	const part = u.size > 0 ? u.sent / u.size : u.state === 'done' ? 1 : 0;
	return el('li', el('div.grow', el('p', u.path), el('progress', { max: 1, value: part, 'aria-label': u.path }),
		el('p.hint', u.state === 'failed' ? u.why : u.state === 'done' ? t('uploaded') : `${bytes(u.sent)} / ${bytes(u.size)}${u.state === 'paused' ? ` · ${t('paused')}` : ''}`)),
	u.state === 'running' || u.state === 'waiting' ? el('button.small', { onclick: () => pause(u) }, t('pause')) : null,
	u.state === 'paused' || u.state === 'failed' ? el('button.small', { onclick: () => resume(u) }, t('resume')) : null,
	u.state !== 'running' ? el('button.small', { 'aria-label': `${t('remove')}: ${u.path}`, onclick: () => forget(u) }, icon('close')) : null);
}

let drawing = false;

function draw() {
	if (drawing)
		return;
	drawing = true;
	requestAnimationFrame(() => {
		drawing = false;
		if (!place?.isConnected)
			return;
		place.hidden = queue.length === 0;
		const left = queue.filter((u) => u.state !== 'done').length;
		replace(place, el('div.head', el('h2', left ? t('uploadsLeft', left) : t('uploadsDone')),
			el('button.small', { onclick: clear }, t('clear'))), el('ul.rows', queue.slice(-50).map(row)));
	});
}

export function uploadPanel(done) {
	place = el('section.panel.uploads', { 'aria-live': 'off', hidden: true });
	whenDone = done;
	draw();
	return place;
}

// ---- the work -------------------------------------------------------------------

function pause(u) {
	u.state = 'paused';
	draw();
}

function resume(u) {
	u.state = 'waiting';
	draw();
	next();
}

function forget(u) {
	queue.splice(queue.indexOf(u), 1);
	draw();
}

function clear() {
	for (const u of queue.filter((x) => ['done', 'failed'].includes(x.state)))
		queue.splice(queue.indexOf(u), 1);
	draw();
}

async function put(u, offset, piece) {
	const answer = await fetch(`api/v1${query('/tagger/upload', { path: u.path, size: u.size, offset, replace: u.replace ? 1 : undefined })}`, {
		method: 'PUT', body: piece, headers: { 'Content-Type': 'application/octet-stream', 'X-Weft-CSRF': token() },
	});
	const said = await answer.json().catch(() => ({}));
	if (answer.ok || (answer.status === 409 && said.offset !== undefined))
		return said.offset;
	throw Object.assign(new Error(said.error?.message ?? t('strangeAnswer', answer.status)), { final: answer.status < 500 && answer.status !== 429 });
}

async function send(u) {
	let failures = 0;
	u.state = 'running';
	while (u.state === 'running') {
		try {
			u.sent = (await taggerGet('upload', { path: u.path, size: u.size })).offset ?? 0;
			do {
				u.sent = await put(u, u.sent, u.file.slice(u.sent, u.sent + PIECE));
				failures = 0;
				draw();
			} while (u.state === 'running' && u.sent < u.size);
			if (u.sent >= u.size)
				u.state = 'done';
		} catch (error) {
			if (error.final || (error.status >= 400 && error.status < 500) || ++failures > RETRIES) {
				u.state = 'failed';
				u.why = error.message;
			} else {
				u.why = error.message;
				await new Promise((go) => setTimeout(go, RETRY_MS));
			}
		}
		draw();
	}
}

async function next() {
	if (running)
		return;
	running = queue.find((u) => u.state === 'waiting');
	if (!running)
		return;
	const u = running;
	await send(u);
	running = null;
	if (u.state === 'done')
		whenDone(u);
	next();
}

export function upload(files, folder) {
	for (const { file, path } of files)
		queue.push({ file, path: joinPath(folder, path), size: file.size, sent: 0, state: 'waiting', replace: true });
	draw();
	next();
}

// ---- what was dropped: files, and folders with all that is in them ------------------

function entriesOf(reader) {
	return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}

async function walk(entry, path, out) {
	if (entry.isFile) {
		const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
		out.push({ file, path: joinPath(path, file.name) });
		return;
	}
	const reader = entry.createReader();
	for (let list = await entriesOf(reader); list.length; list = await entriesOf(reader))
		for (const e of list)
			await walk(e, joinPath(path, entry.name), out);
}

export async function dropped(transfer) {
	const entries = [...transfer.items].map((i) => i.webkitGetAsEntry?.()).filter(Boolean), out = [];
	if (!entries.length)
		return [...transfer.files].map((file) => ({ file, path: file.name }));
	for (const e of entries)
		await walk(e, '', out);
	return out;
}

// Folders that files need, outermost first.
export function foldersOf(files) {
	const all = new Set();
	for (const { path } of files) {
		const words = path.split('/').slice(0, -1);
		words.forEach((_, i) => all.add(words.slice(0, i + 1).join('/')));
	}
	return [...all].sort((a, b) => a.split('/').length - b.split('/').length);
}

export function chosen(input) {
	return [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}


