// What is shown of uploads: how far all of them are, and each one with what can be done about it.
import { el, icon, morph } from './dom.js';
import { bytes } from './format.js';
import { t } from './i18n.js';
import { toast } from './ui.js';
import { queue, uploadForget, uploadFound, uploadPause, uploadResume, uploadsClear, uploadsLeft, uploadsOwn, uploadTell } from './upload.js';

const ROWS = 50; // of many those are shown that somebody may want to do something about
const ORDER = ['exists', 'failed', 'running', 'lost', 'paused', 'waiting', 'done'];

let place = null;
let drawing = false;

function choose(u) {
	const input = el('input', { type: 'file', hidden: true });
	input.addEventListener('change', () => {
		if (input.files[0] && !uploadFound(u, input.files[0]))
			toast(t('uploadOther', input.files[0].name), 'bad');
		input.remove();
	});
	document.body.append(input);
	input.click();
}

function words(u) {
	const far = t('usedOf', bytes(u.sent), bytes(u.size));
	return {
		failed: u.why, done: t('uploaded'), exists: t('uploadExists'), paused: `${far} · ${t('paused')}`, lost: `${far} · ${t('uploadLost')}`,
		running: u.why ? `${far} · ${t('uploadBroken', u.why)}` : far, waiting: bytes(u.size),
	}[u.state];
}

// data-key: a button that has become another one is not refreshed but replaced, with what it does
const act = (u, name, onclick, what = 'button.small') => el(what, { 'data-key': name, 'aria-label': `${t(name)}: ${u.path}`, onclick }, t(name));

function row(u) {
	const part = u.size > 0 ? u.sent / u.size : u.state === 'done' ? 1 : 0;
	const acts = {
		running: [act(u, 'pause', () => uploadPause(u))],
		paused: [act(u, 'resume', () => uploadResume(u))],
		failed: [act(u, 'tryAgain', () => uploadResume(u))],
		lost: [act(u, 'uploadChoose', () => choose(u))],
		exists: [act(u, 'uploadReplace', () => uploadResume(u, 'replace'), 'button.small.danger'), act(u, 'uploadBoth', () => uploadResume(u, 'both'))],
	}[u.state] ?? [];
	return el('li', { 'data-key': `${u.key}` }, el('div.grow', el('p', u.path), ['running', 'paused', 'lost'].includes(u.state) && el('progress', { max: 1, value: part, 'aria-label': u.path }),
		el('p.hint', words(u))), acts,
	el('button.small', { 'data-key': 'forget', 'aria-label': `${t('remove')}: ${u.path}`, onclick: () => uploadForget(u) }, icon('close')));
}

function head() {
	const left = queue.filter((u) => u.state !== 'done'), running = left.filter((u) => ['running', 'waiting'].includes(u.state));
	const paused = left.filter((u) => u.state === 'paused'), exist = left.filter((u) => u.state === 'exists');
	const sum = (key) => queue.reduce((all, u) => all + u[key], 0), one = (name, list, fn) => el('button.small', { 'data-key': name, onclick: () => list().forEach(fn) }, t(name));
	const now = (state) => () => queue.filter((u) => state.includes(u.state));
	return [el('div.head', { 'data-key': 'head' }, el('h2', left.length ? t('uploadsLeft', left.length) : t('uploadsDone')), el('div.actions', { 'data-key': 'actions' },
		running.length > 1 && one('pauseAll', now(['running', 'waiting']), (u) => uploadPause(u)), running.length === 0 && paused.length > 1 && one('resumeAll', now(['paused']), (u) => uploadResume(u)),
		exist.length > 1 && [one('replaceAll', now(['exists']), (u) => uploadResume(u, 'replace')), one('bothAll', now(['exists']), (u) => uploadResume(u, 'both'))],
		queue.length > left.length && el('button.small', { 'data-key': 'clear', onclick: uploadsClear }, t('clear')))),
	queue.length > 1 && running.length + paused.length > 0 && el('progress', { 'data-key': 'all', max: sum('size') || 1, value: sum('sent'), 'aria-label': t('uploadsAll', bytes(sum('sent')), bytes(sum('size'))) })];
}

const frame = (...children) => el('section.panel.uploads', { 'aria-label': t('upload'), 'aria-live': 'off', hidden: queue.length === 0 }, ...children);

function draw() {
	if (drawing)
		return;
	drawing = true;
	requestAnimationFrame(() => {
		drawing = false;
		if (!place?.isConnected)
			return;
		const rows = [...queue].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state)).slice(0, ROWS);
		morph(place, frame(head(), el('ul.rows', { 'data-key': 'rows' }, rows.map(row))));
	});
}

// done: a file has come.
export function uploadPanel(done) {
	uploadsOwn();
	place = frame();
	uploadTell(draw, done);
	uploadsLeft();
	draw();
	return place;
}
