// A file from near: what it shows, what is known of it, its tags, what is like it.
import { el, icon, replace } from './dom.js';
import { bytes, moment } from './format.js';
import { said, t } from './i18n.js';
import { failure, facts, loading, toast } from './ui.js';
import { markdown } from './markdown.js';
import { addTags, pictured, taggerGet, taggerUrl } from './tagger.js';
import { me } from './main.js';

const TEXT_MAX = 256 << 10;
const COLUMNS = 10, ROWS = 10;

export const mayEdit = () => me.role === 'admin' || me.role === 'user';

// ---- what it shows -----------------------------------------------------------

async function textOf(f, url) {
	const answer = await fetch(url('content', { id: f.id }), f.size > TEXT_MAX ? { headers: { Range: `bytes=0-${TEXT_MAX - 1}` } } : {});
	return answer.text();
}

// Above the film a picture follows the pointer along the bar: one of a hundred from the whole film.
function video(f, url) {
	const film = el('video', { src: url('content', { id: f.id }), controls: true, preload: 'metadata' });
	const frame = el('div.frame-at'), strip = el('div.scrub', { role: 'slider', tabindex: '0', 'aria-label': t('scrub'), 'aria-valuemin': '0', 'aria-valuemax': '100', 'aria-valuenow': '0' }, el('i'), frame);
	const sprite = new Image();
	sprite.onload = () => frame.style.setProperty('background-image', `url("${sprite.src}")`);
	sprite.onerror = () => strip.remove();
	sprite.src = url('sprite', { id: f.id, columns: COLUMNS, rows: ROWS });
	const at = (part) => {
		const n = Math.min(COLUMNS * ROWS - 1, Math.floor(part * COLUMNS * ROWS));
		const w = sprite.naturalWidth / COLUMNS, h = sprite.naturalHeight / ROWS;
		frame.style.setProperty('width', `${w}px`);
		frame.style.setProperty('height', `${h}px`);
		frame.style.setProperty('background-position', `-${(n % COLUMNS) * w}px -${Math.floor(n / COLUMNS) * h}px`);
		frame.style.setProperty('left', `clamp(0px, calc(${part * 100}% - ${w / 2}px), calc(100% - ${w}px))`);
		strip.setAttribute('aria-valuenow', String(Math.round(part * 100)));
	};
	const go = (part) => {
		if (film.duration)
			film.currentTime = part * film.duration;
	};
	strip.addEventListener('pointermove', (event) => at(event.offsetX / strip.clientWidth));
	strip.addEventListener('click', (event) => go(event.offsetX / strip.clientWidth));
	strip.addEventListener('keydown', (event) => {
		const step = { ArrowRight: 0.01, ArrowLeft: -0.01 }[event.key];
		if (!step || !film.duration)
			return;
		const part = Math.min(1, Math.max(0, film.currentTime / film.duration + step));
		go(part);
		at(part);
	});
	return el('div', film, strip);
}

// url: of a route, which for a link is another one.
export async function picture(f, url = taggerUrl) {
	const source = url('content', { id: f.id });
	if (f.kind === 'image')
		return el('img', { src: source, alt: f.name });
	if (f.kind === 'video')
		return video(f, url);
	if (f.kind === 'audio')
		return el('audio', { src: source, controls: true });
	if (f.mime === 'application/pdf' || (f.mime === undefined && /\.pdf$/i.test(f.name)))
		return el('iframe', { src: source, title: f.name });
	if (['text', 'source', 'mail'].includes(f.kind) || /^text\//.test(f.mime ?? '')) {
		const text = await textOf(f, url);
		return [/markdown/.test(f.mime ?? '') || /\.md$/i.test(f.name) ? markdown(text) : el('pre.text', { tabindex: '0' }, text), f.size > TEXT_MAX && el('p.hint', t('onlyBeginning'))];
	}
	return el('p.hint', f.excerpt || t('noPreview'));
}

// ---- tags, facts, neighbours --------------------------------------------------------

function tagList(f, reload) {
	const change = (add, remove) => addTags([f], add, remove).then(reload, (error) => toast(error.message, 'bad'));
	const input = el('input', { name: 'tag', autocomplete: 'off', placeholder: t('newTag'), 'aria-label': t('newTag'), maxlength: '60' });
	return el('div', el('ul.tags', f.tags.slice(0, 40).map((x) => el('li', el('a', { href: `#/files?q=${encodeURIComponent(`tag:"${x.tag}"`)}`, title: t('tagFrom', x.source, x.files) }, x.tag),
		mayEdit() && el('button', { 'aria-label': `${t('remove')}: ${x.tag}`, onclick: () => change([], [x.tag]) }, '×')))),
	mayEdit() && el('form.inline', {
		onsubmit: (event) => {
			event.preventDefault();
			if (input.value.trim())
				change([input.value.trim()], []);
		},
	}, input, el('button.small', { type: 'submit' }, t('add'))));
}

function factsOf(f) {
	return facts([t('path'), f.path], [t('kind'), said('kinds', f.kind)], [t('size'), bytes(f.size)], [t('changed'), moment(f.mtime)], [t('type'), f.mime],
		f.why && [t('notRead'), f.why],
		...Object.entries(f.facts ?? {}).slice(0, 14).map(([k, v]) => [k, Array.isArray(v) ? v.join(', ') : String(typeof v === 'number' ? Number(v.toFixed(4)) : v)]));
}

export function thumbnail(f, side = 160) {
	if (!pictured(f))
		return el('span.thumb', icon(f.kind === 'folder' ? 'folder' : 'file'));
	const image = el('img', { src: taggerUrl('thumbnail', { id: f.id, width: side, height: side }), alt: '', loading: 'lazy' });
	image.onerror = () => image.replaceWith(icon('file'));
	return el('span.thumb', image);
}

function near(list, open) {
	return list.length > 0 && el('section', el('h3', t('alike')), el('ul.near', list.map((x) => el('li', el('button.quiet', { onclick: () => open(x) }, thumbnail(x, 64), el('span', x.name,
		el('small', x.tag ? t('sharesTag', x.tag) : x.why.map((w) => said('whys', w)).join(', '))))))));
}

// list: the files beside it, to go on with the arrow keys.
export function preview(file, { list = [file], actions = () => [], changed = () => {} } = {}) {
	const body = el('div.preview'), box = el('dialog.large', { 'aria-label': file.name }, body);
	const show = async (f) => {
		replace(body, loading());
		try {
			const [full, { files }] = await Promise.all([taggerGet('file', { id: f.id }), taggerGet('neighbours', { id: f.id, limit: 8 }).catch(() => ({ files: [] }))]);
			const i = list.findIndex((x) => x.id === f.id);
			const step = (n, name, label) => el('button.quiet', { 'aria-label': label, disabled: !list[i + n], onclick: () => show(list[i + n]) }, icon(name));
			box.setAttribute('aria-label', full.name);
			replace(body,
				el('div.head', el('h2', full.name), el('div.actions', list.length > 1 && [step(-1, 'back', t('previous')), step(1, 'next', t('next'))],
					el('a.button.small', { href: taggerUrl('content', { id: f.id, download: 1 }), download: full.name }, icon('download'), t('download')),
					el('a.button.small', { href: `#/graph?id=${f.id}` }, icon('graph'), t('graph')), actions(full, box),
					el('button.quiet', { 'aria-label': t('close'), onclick: () => box.close() }, icon('close')))),
				el('div.look', el('div.show', await picture(full)), el('div.known', el('h3', t('tags')), tagList(full, () => {
					changed();
					show(f);
				}), near(files, show), el('h3', t('details')), factsOf(full))));
		} catch (error) {
			replace(body, failure(error, () => show(f)), el('div.actions', el('button', { onclick: () => box.close() }, t('close'))));
		}
	};
	box.addEventListener('keydown', (event) => {
		const n = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
		if (!n || event.target.matches('input, video, audio, [role=slider]'))
			return;
		const current = list.findIndex((x) => x.name === box.getAttribute('aria-label'));
		if (list[current + n])
			show(list[current + n]);
	});
	box.addEventListener('close', () => box.remove());
	document.body.append(box);
	box.showModal();
	show(file);
}
