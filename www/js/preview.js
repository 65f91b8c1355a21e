// A file from near: what it shows, what is known of it, its tags, what is like it.
import { el, icon, replace } from './dom.js';
import { refusal } from './api.js';
import { bytes, clock, count, duration, moment } from './format.js';
import { inWords, said, t } from './i18n.js';
import { failure, facts, loading, toast } from './ui.js';
import { markdown } from './markdown.js';
import { addTags, fileIcon, pictured, taggerGet, taggerUrl } from './tagger.js';
import { me } from './main.js';

const TEXT_MAX = 256 << 10;
const COLUMNS = 10, ROWS = 10;
const STILL = 2048; // the largest that tagger makes

export const mayEdit = () => me.role === 'admin' || me.role === 'user';

// ---- what it shows -----------------------------------------------------------

// As it is said to be encoded; what was cut may end within a letter.
function decoded(bytes, encoding) {
	let decoder = new TextDecoder();
	try {
		decoder = new TextDecoder(encoding);
	} catch {
		// a name that browsers do not know
	}
	return decoder.decode(bytes, { stream: true });
}

async function textOf(f, url) {
	const answer = await fetch(url('content', { id: f.id }), f.size > TEXT_MAX ? { headers: { Range: `bytes=0-${TEXT_MAX - 1}` } } : {});
	if (!answer.ok)
		throw refusal(answer.status, (await answer.json().catch(() => ({}))).error);
	return decoded(await answer.arrayBuffer(), f.facts?.encoding);
}

// Above the film a picture follows the pointer along the bar: one of a hundred from the whole film.
function video(f, url) {
	const film = el('video', { src: url('content', { id: f.id }), controls: true, preload: 'metadata' });
	const time = el('span'), frame = el('div.frame-at', time), strip = el('div.scrub', { role: 'slider', tabindex: '0', 'aria-label': t('scrub'), 'aria-valuemin': '0', 'aria-valuemax': '100', 'aria-valuenow': '0', 'aria-valuetext': clock(0) }, el('i'), frame);
	const sprite = new Image();
	sprite.onload = () => frame.style.setProperty('background-image', `url("${sprite.src}")`);
	sprite.onerror = () => strip.remove();
	sprite.src = url('sprite', { id: f.id, columns: COLUMNS, rows: ROWS });
	const at = (part) => {
		const n = Math.min(COLUMNS * ROWS - 1, Math.max(0, Math.floor(part * COLUMNS * ROWS)));
		const w = sprite.naturalWidth / COLUMNS, h = sprite.naturalHeight / ROWS;
		// each picture is a square; of it only the film is shown
		const scale = film.videoWidth ? Math.min(w / film.videoWidth, h / film.videoHeight) : 0;
		const wide = scale ? Math.floor(film.videoWidth * scale) : w, high = scale ? Math.floor(film.videoHeight * scale) : h;
		frame.style.setProperty('width', `${wide}px`);
		frame.style.setProperty('height', `${high}px`);
		frame.style.setProperty('background-position', `-${(n % COLUMNS) * w + (w - wide) / 2}px -${Math.floor(n / COLUMNS) * h + (h - high) / 2}px`);
		frame.style.setProperty('left', `clamp(0px, calc(${part * 100}% - ${wide / 2}px), calc(100% - ${wide}px))`);
		time.textContent = film.duration ? clock(part * film.duration) : '';
	};
	const go = (part) => {
		if (film.duration)
			film.currentTime = part * film.duration;
	};
	film.addEventListener('timeupdate', () => {
		const part = film.currentTime / (film.duration || 1);
		strip.firstChild.style.setProperty('width', `${100 * part}%`);
		strip.setAttribute('aria-valuenow', String(Math.round(100 * part)));
		strip.setAttribute('aria-valuetext', clock(film.currentTime));
	});
	strip.addEventListener('pointermove', (event) => at(event.offsetX / strip.clientWidth));
	strip.addEventListener('click', (event) => go(event.offsetX / strip.clientWidth));
	strip.addEventListener('keydown', (event) => {
		const step = { ArrowRight: 0.01, ArrowLeft: -0.01 }[event.key];
		if (!step || !film.duration)
			return;
		event.preventDefault();
		const part = Math.min(1, Math.max(0, film.currentTime / film.duration + step));
		go(part);
		at(part);
	});
	return el('div', film, strip);
}

// Browsers know fewer kinds than tagger does. Instead of a broken picture there is the one that tagger makes, and
// instead of a dead player a still and a way to take the file elsewhere.
function image(f, url) {
	const img = el('img', { src: url('content', { id: f.id }), alt: f.name });
	img.onerror = () => {
		img.onerror = () => img.replaceWith(el('p.hint', t('noPreview')));
		img.src = url('thumbnail', { id: f.id, width: STILL, height: STILL });
	};
	return img;
}

function playable(f, url, whole, player) {
	const give = () => {
		const still = f.kind === 'video' && el('img', { src: url('thumbnail', { id: f.id, width: STILL, height: STILL }), alt: f.name, onerror: () => still.remove() });
		whole.replaceWith(el('div', still, el('p.hint', t('noPlayer')), el('a.button.small', { href: url('content', { id: f.id, download: 1 }), download: f.name }, icon('download'), t('download'))));
	};
	player.addEventListener('error', () => player.error?.code !== MediaError.MEDIA_ERR_NETWORK && give()); // of those it was good so far
	// its sound alone is known
	player.addEventListener('loadedmetadata', () => player.videoWidth === 0 && f.facts?.width > 0 && give());
	return whole;
}

// url: of a route, which for a link is another one.
export async function picture(f, url = taggerUrl) {
	const source = url('content', { id: f.id });
	if (f.kind === 'image')
		return image(f, url);
	if (f.kind === 'video') {
		const film = video(f, url);
		return playable(f, url, film, film.querySelector('video'));
	}
	if (f.kind === 'audio') {
		const sound = el('audio', { src: source, controls: true });
		return playable(f, url, sound, sound);
	}
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

const FACTS = { duration: (s) => (s < 60 ? `${Number(s.toFixed(1))} s` : duration(s)), bitrate: (n) => `${count(Math.round(n / 1000))} kbit/s`, samplerate: (n) => `${Number((n / 1000).toFixed(1))} kHz`, width: (n) => `${n} px`, height: (n) => `${n} px` };

// With its unit, where it has one.
function factText(name, value) {
	if (Array.isArray(value))
		return value.join(', ');
	if (typeof value !== 'number')
		return String(value);
	return FACTS[name]?.(value) ?? String(Number(value.toFixed(4)));
}

function factsOf(f) {
	return facts([t('path'), f.path], [t('kind'), said('kinds', f.kind)], [t('size'), bytes(f.size)], [t('changed'), moment(f.mtime)], [t('type'), f.mime],
		f.why && [t('notRead'), inWords(f.why, undefined, true)],
		...Object.entries(f.facts ?? {}).slice(0, 14).map(([k, v]) => [said('factNames', k), factText(k, v)]));
}

const without = new Set(); // files of which there is no thumbnail after all

export function thumbnail(f, side = 160) {
	if (!pictured(f) || without.has(f.id))
		return el('span.thumb', icon(fileIcon(f)));
	const image = el('img', { src: taggerUrl('thumbnail', { id: f.id, width: side, height: side }), alt: '', loading: 'lazy' });
	image.onerror = () => {
		without.add(f.id);
		image.replaceWith(icon(fileIcon(f)));
	};
	return el('span.thumb', image);
}

function near(list, open) {
	return list.length > 0 && el('section', el('h3', t('alike')), el('ul.near', list.map((x) => el('li', el('button.quiet', { onclick: () => open(x) }, thumbnail(x, 64), el('span', x.name,
		el('small', x.tag ? t('sharesTag', x.tag) : x.why.map((w) => said('whys', w)).join(', '))))))));
}

// list: the files beside it, to go on with the arrow keys.
export function preview(file, { list = [file], actions = () => [], changed = () => {} } = {}) {
	const body = el('div.preview'), box = el('dialog.large', { 'aria-label': file.name }, body);
	let at = file.id, asked = 0;
	const show = async (f) => {
		const mine = ++asked;
		at = f.id;
		replace(body, loading());
		try {
			const [full, { files }] = await Promise.all([taggerGet('file', { id: f.id }), taggerGet('neighbours', { id: f.id, limit: 8 }).catch(() => ({ files: [] }))]);
			const shown = await picture(full);
			if (mine !== asked) // they have gone on to another one
				return;
			const i = list.findIndex((x) => x.id === f.id);
			const step = (n, name, label) => el('button.quiet', { 'aria-label': label, disabled: !list[i + n], onclick: () => show(list[i + n]) }, icon(name));
			box.setAttribute('aria-label', full.name);
			replace(body,
				el('div.head.top-right', el('h2', { dir: 'auto' }, full.name), el('button.quiet', { 'aria-label': t('close'), onclick: () => box.close() }, icon('close'))),
				el('div.actions.left', list.length > 1 && [step(-1, 'back', t('previous')), step(1, 'next', t('next'))],
					el('a.button.small', { href: taggerUrl('content', { id: f.id, download: 1 }), download: full.name }, icon('download'), t('download')),
					el('a.button.small', { href: `#/graph?id=${f.id}` }, icon('graph'), t('graph')), actions(full, box)),
				el('div.look', el('div.show', shown), el('div.known', el('h3', t('tags')), tagList(full, () => {
					changed();
					if (mine === asked)
						show(f);
				}), near(files, show), el('h3', t('details')), factsOf(full))));
		} catch (error) {
			if (mine !== asked)
				return;
			replace(body, failure(error, () => show(f)), el('div.actions', el('button', { onclick: () => box.close() }, t('close'))));
		}
	};
	box.addEventListener('keydown', (event) => {
		const n = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
		if (!n || event.target.matches('input, video, audio, [role=slider]'))
			return;
		const current = list.findIndex((x) => x.id === at);
		if (list[current + n])
			show(list[current + n]);
	});
	box.addEventListener('close', () => box.remove());
	document.body.append(box);
	box.showModal();
	show(file);
}
