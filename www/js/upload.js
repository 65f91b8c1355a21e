// Uploads in pieces: each says where it belongs, so one that broke off goes on where it was, after a pause,
// after a restart of volmgr, or when the same file is chosen again after the page was left. Of that the browser
// keeps notes: the same name and size alone may be another file. One file at a time.
import { csrfToken, query, refusal } from './api.js';
import { t } from './i18n.js';
import { joinPath, taggerDelete, taggerGet } from './tagger.js';
import { me } from './main.js';

const PIECE = 8 << 20;
const PROBE = 1 << 20; // what is larger asks whether it may come before it comes
const RETRY_MS = 2000;
const RETRIES = 150;
const STALL_MS = 120000;
const NOTES = 'weft-uploads', NOTES_MAX = 100;
const NAMES_MAX = 99;

// state: waiting, running, paused, exists (there is one of that name), lost (its file is not known any more), failed, done
export const queue = [];
let running = null, request = null, number = 0;
let told = () => {}, whenDone = () => {};

// drawn: something has changed; done: a file has come.
export function uploadTell(drawn, done) {
	told = drawn;
	whenDone = done;
}

// ---- notes of what is not finished -------------------------------------------------

function notes() {
	try {
		return JSON.parse(localStorage.getItem(NOTES)) ?? [];
	} catch {
		return [];
	}
}

const isSame = (a, b) => a.path === b.path && a.who === b.who;

function note(u, keep) {
	const rest = notes().filter((n) => !isSame(n, u));
	if (keep)
		rest.push({ path: u.path, size: u.size, modified: u.modified, who: u.who, replace: u.replace });
	localStorage.setItem(NOTES, JSON.stringify(rest.slice(-NOTES_MAX)));
}

// What this person left unfinished here is shown, to be gone on with.
export async function uploadsLeft() {
	for (const n of notes().filter((x) => x.who === me.name)) {
		const known = () => queue.some((u) => isSame(u, n) && u.state !== 'done');
		if (known())
			continue;
		const { offset } = await taggerGet('upload', { path: n.path, size: n.size }).catch(() => ({}));
		if (offset === 0)
			note(n, false);
		else if (offset && !known())
			queue.push({ ...n, key: ++number, sent: offset, state: 'lost' });
	}
	told();
}

// ---- a piece -----------------------------------------------------------------------

class Broken extends Error {}

// fetch() does not tell how far it is.
function put(u, offset, piece) {
	const parameters = { path: u.path, size: u.size, offset, replace: u.replace ? 1 : undefined };
	return new Promise((resolve, reject) => {
		const r = new XMLHttpRequest();
		let stall;
		const alive = () => {
			clearTimeout(stall);
			stall = setTimeout(() => r.abort(), STALL_MS);
		};
		r.open('PUT', `api/v1${query('/tagger/upload', parameters)}`);
		r.setRequestHeader('Content-Type', 'application/octet-stream');
		r.setRequestHeader('X-Weft-CSRF', csrfToken());
		r.upload.onprogress = (event) => {
			alive();
			u.sent = offset + Math.min(piece.size, event.loaded);
			told();
		};
		r.onloadend = () => {
			clearTimeout(stall);
			request = null;
			if (r.status === 0)
				reject(new Broken(t('noConnection')));
			else
				resolve({ status: r.status, text: r.responseText });
		};
		alive();
		request = r;
		r.send(piece);
	});
}

// Where the next piece begins; null: there is a file of that name.
async function putPiece(u, offset, piece) {
	const { status, text } = await put(u, offset, piece);
	let answer = {};
	try {
		answer = JSON.parse(text);
	} catch {
		// not from tagger
	}
	if (status < 300 || (status === 409 && answer.offset !== undefined))
		return answer.offset;
	if (answer.error?.code === 'exists')
		return null;
	const refused = refusal(status, answer.error);
	if ((status >= 500 && status !== 507) || status === 429)
		throw new Broken(refused.message); // it may go on by itself
	throw new Error([refused.message, refused.hint].filter(Boolean).join(' '));
}

// ---- a file ---------------------------------------------------------------------------

// Under the next name that may be free: "a (2).txt".
function rename(u) {
	u.copies = (u.copies ?? 1) + 1;
	u.first ??= u.path;
	u.path = u.first.replace(/((?:^|\/)[^/]+?)(\.[^./]+)?$/, `$1 (${u.copies})$2`);
	u.sent = 0;
}

async function begin(u) {
	const { offset } = await taggerGet('upload', { path: u.path, size: u.size });
	if (offset > 0 && !u.known) { // of another file, for all we know
		await taggerDelete('upload', { path: u.path, size: u.size });
		u.known = true;
		return 0;
	}
	u.known = true;
	return offset ?? 0;
}

async function sendOnce(u) {
	u.sent = await begin(u);
	let next = u.sent === 0 && u.size > PROBE ? await putPiece(u, 0, new Blob()) : u.sent;
	if (u.size > PIECE && next !== null)
		note(u, true);
	while (u.state === 'running' && next !== null) {
		u.sent = next;
		u.why = '';
		told();
		next = await putPiece(u, u.sent, u.file.slice(u.sent, u.sent + PIECE));
		if (next !== null && next >= u.size) {
			u.sent = u.size;
			u.state = 'done';
		}
	}
	if (next !== null || u.state !== 'running')
		return;
	if (u.copies && u.copies < NAMES_MAX)
		rename(u);
	else
		u.state = 'exists';
}

function pauseHere(u) {
	return new Promise((go) => {
		const end = () => {
			clearTimeout(timer);
			removeEventListener('online', end);
			u.wake = null;
			go();
		};
		const timer = setTimeout(end, RETRY_MS);
		addEventListener('online', end);
		u.wake = end;
	});
}

async function send(u) {
	let failures = 0, last = 0;
	u.state = 'running';
	while (u.state === 'running') {
		try {
			await sendOnce(u);
		} catch (error) {
			if (u.state !== 'running')
				break; // broken off by pause()
			const again = error instanceof Broken || error.status === 0 || error.status >= 500 || error.status === 429;
			failures = u.sent > last ? 1 : failures + 1;
			last = u.sent;
			u.why = error.message;
			if (again && failures <= RETRIES) {
				told();
				await pauseHere(u);
			} else {
				u.state = 'failed';
			}
		}
		told();
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
	if (u.state === 'done') {
		note(u, false);
		whenDone(u);
	}
	told();
	next();
}

// ---- what people do ----------------------------------------------------------------------

export function upload(files, folder) {
	for (const { file, path } of files) {
		const u = { file, path: joinPath(folder, path), size: file.size, modified: file.lastModified, who: me.name, key: ++number, sent: 0, state: 'waiting' };
		const before = notes().find((n) => isSame(n, u));
		if (before && before.size === u.size && before.modified === u.modified)
			Object.assign(u, { known: true, replace: before.replace });
		const old = queue.findIndex((x) => isSame(x, u) && !['running', 'done'].includes(x.state));
		if (old >= 0)
			queue.splice(old, 1, u);
		else
			queue.push(u);
	}
	told();
	next();
}

// The file of an upload that was left. False: it is another one.
export function uploadFound(u, file) {
	if (file.size !== u.size || file.lastModified !== u.modified)
		return false;
	Object.assign(u, { file, known: true, state: 'waiting' });
	told();
	next();
	return true;
}

export function uploadPause(u) {
	u.state = 'paused';
	if (u === running) {
		request?.abort();
		u.wake?.();
	}
	told();
}

// how: what to do about one of the same name: 'replace' it, or keep 'both'.
export function uploadResume(u, how) {
	if (how === 'replace')
		u.replace = true;
	else if (how === 'both')
		rename(u);
	u.state = 'waiting';
	u.why = '';
	told();
	next();
}

// What has come of it is thrown away.
export function uploadForget(u) {
	const started = u.sent > 0 && u.state !== 'done' && u.state !== 'exists';
	uploadPause(u);
	queue.splice(queue.indexOf(u), 1);
	note(u, false);
	if (started)
		taggerDelete('upload', { path: u.path, size: u.size }).catch(() => {});
	told();
}

export function uploadsClear() {
	for (const u of queue.filter((x) => x.state === 'done'))
		queue.splice(queue.indexOf(u), 1);
	told();
}

// Nobody sees, or goes on with, what another person of this browser was about.
export function uploadsOwn() {
	for (const u of queue.filter((x) => x.who !== me.name)) {
		uploadPause(u);
		queue.splice(queue.indexOf(u), 1);
	}
}

addEventListener('beforeunload', (event) => {
	if (queue.some((u) => ['running', 'waiting'].includes(u.state)))
		event.preventDefault();
});
