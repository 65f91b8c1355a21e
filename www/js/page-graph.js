// What files are about, as a graph: from a tag or a file outwards, or all of it. Colours say the kind, size the
// weight; what is near the pointer stays bright.
import { el, icon, replace } from './dom.js';
import { count } from './format.js';
import { said, t } from './i18n.js';
import { debounce, empty, failure, loading, select } from './ui.js';
import { taggerGet, taggerUrl } from './tagger.js';
import { keyOf, PALETTE, Picture } from './graph-picture.js';
import { preview } from './preview.js';
import { go } from './main.js';

const NODES = 80;
const ALL_MAX = 10000; // on screen; more cannot be told apart

let libraries = null;

function script(src) {
	return new Promise((resolve, reject) => {
		const e = el('script', { src });
		e.onload = resolve;
		e.onerror = () => reject(new Error(t('noGraph')));
		document.head.append(e);
	});
}

function loadLibraries() {
	libraries ??= Promise.all([script('lib/graphology.umd.min.js'), script('lib/sigma.min.js')]).catch((error) => {
		libraries = null; // the next one tries again
		throw error;
	});
	return libraries;
}

// ---- the page ------------------------------------------------------------------------

export default async function graph({ main, search, watch }) {
	const place = el('div.graph', { role: 'img', 'aria-label': t('graphPicture') }), side = el('aside.panel.graphside', { 'aria-live': 'polite' }), info = el('p.hint', { role: 'status' });
	const list = el('div');
	const limits = el('ul.chips');
	let picture = null, wanted = [search.get('q')].filter(Boolean), asked = 0, typed = 0;
	// What was asked for last is shown, unless the place was left.
	const isLate = (mine) => mine !== asked || !place.isConnected;
	const tell = () => {
		const files = picture.graph.filterNodes((_, a) => a.kind !== 'tag').length;
		info.textContent = t('graphCount', count(files), count(picture.graph.order - files), count(picture.graph.size));
		replace(list, el('details', el('summary', t('asTable')), el('ul.rows', picture.graph.nodes().slice(0, 200).map((k) => {
			const a = picture.graph.getNodeAttributes(k);
			return el('li', el('button.quiet', { onclick: () => choose(a.of) }, a.label), el('span.hint', a.kind === 'tag' ? t('tag') : said('kinds', a.kind)));
		}))));
	};
	const fetchAround = (n) => taggerGet('graph', n.id === undefined ? { tag: n.tag, nodes: NODES, depth: 2 } : { id: n.id, nodes: NODES, depth: 2 });
	const start = async (n) => {
		const mine = ++asked;
		replace(side, loading());
		wanted = [];
		drawWanted();
		try {
			const answer = await fetchAround(n);
			if (isLate(mine))
				return;
			picture.clear();
			picture.add(answer);
			picture.renderer.getCamera().setState({ x: 0.5, y: 0.5, ratio: 1, angle: 0 });
			tell();
			choose(answer.nodes[0] ?? n);
		} catch (error) {
			if (!isLate(mine))
				replace(side, failure(error));
		}
	};
	const expand = async (n) => {
		const mine = asked; // of the picture as it is now
		try {
			const answer = await fetchAround(n);
			if (isLate(mine))
				return;
			picture.add(answer, keyOf(n));
			tell();
		} catch (error) {
			if (!isLate(mine))
				replace(side, failure(error));
		}
	};
	const choose = (n) => {
		const file = n.id !== undefined;
		replace(side, el('h2', file ? n.name : `#${n.tag}`), el('p.hint', file ? `${said('kinds', n.kind)} · ${n.path ?? ''}` : t('filesN', count(n.files ?? 0))),
			el('div.actions.left', el('button.small', { onclick: () => expand(n) }, icon('plus'), t('expand')), el('button.small', { onclick: () => start(n) }, t('startFrom')),
				file ? [el('button.small', { onclick: () => (n.kind === 'folder' ? go(`files?in=${encodeURIComponent(n.path)}`) : preview(n)) }, t('open')),
					n.kind !== 'folder' && el('a.button.small', { href: taggerUrl('content', { id: n.id, download: 1 }), download: n.name }, icon('download'), t('download'))]
					: [el('button.small', { onclick: () => only(n.tag) }, icon('search'), t('onlyWith')), el('a.button.small', { href: `#/files?q=${encodeURIComponent(`tag:"${n.tag}"`)}` }, icon('files'), t('files'))]));
	};
	// Of all files, or those that a search finds. What is asked for is shown above, and can be taken away again.
	const whole = async () => {
		const mine = ++asked;
		replace(side, loading());
		drawWanted();
		try {
			const answer = await taggerGet('graph', { whole: 1, nodes: ALL_MAX, q: wanted.join(' ') });
			if (isLate(mine))
				return;
			const files = answer.nodes.filter((n) => n.id !== undefined).length;
			picture.setWhole(answer);
			tell();
			replace(side, el('h2', t(wanted.length ? 'graphFound' : 'wholeGraph')), el('p', files === 0 ? t('nothingFits') : answer.files > files ? t('graphPart', count(files), count(answer.files)) : wanted.length ? t('filesN', count(files)) : t('graphWhole')),
				wanted.length > 0 && el('a.button.small', { href: `#/files?q=${encodeURIComponent(wanted.join(' '))}` }, icon('files'), t('files')));
		} catch (error) {
			if (!isLate(mine))
				replace(side, failure(error, whole));
		}
	};
	const drawWanted = () => replace(limits, wanted.map((w) => el('li', el('button.small', { 'aria-pressed': 'true', 'aria-label': `${t('remove')}: ${w}`, onclick: () => {
		wanted = wanted.filter((x) => x !== w);
		whole();
	} }, icon('close'), w))));
	const only = (tag) => {
		wanted = [...new Set([...wanted, `tag:"${tag}"`])];
		whole();
	};
	const found = el('ul.chips', { inert: true });
	const find = debounce(async (text) => {
		const mine = ++typed;
		try {
		const [{ tags }, { files }] = await Promise.all([text ? taggerGet('suggest', { q: text, limit: 8 }) : taggerGet('tags', { limit: 12 }), text ? taggerGet('search', { q: `name:"${text.replace(/"/g, '')}"`, limit: 4 }) : { files: [] }]);
		if (mine !== typed)
			return;
		replace(found, tags.map((x) => el('li', el('button.small', { onclick: () => start({ tag: x.tag, files: x.files }) }, `#${x.tag}`, el('small', count(x.files))))), files.map((f) => el('li', el('button.small', { onclick: () => start(f) }, icon('file'), f.name))));
		} catch (error) {
			replace(found, failure(error));
		}
	}, 150);
	const kinds = ['', 'image', 'video', 'audio', 'document', 'text', 'source', 'folder'];
	const tools = el('div.toolbar', { role: 'search', inert: true }, el('input', { type: 'search', placeholder: t('graphFind'), 'aria-label': t('graphFind'), oninput: (event) => find(event.target.value.trim()) }),
			select('only', kinds.map((k) => [k, k ? said('kinds', k) : t('anyKind')]), '', (event) => {
				picture.only = event.target.value;
				picture.renderer.refresh();
			}, t('kind')),
			el('button', { onclick: () => { wanted = []; whole(); } }, t('wholeGraph')), el('button', { onclick: () => { asked++; wanted = []; drawWanted(); picture.clear(); tell(); replace(side, hint()); } }, t('reset')));
	replace(main, el('div.head', el('h1', t('graph')), info),
		tools, found, limits, el('div.graphframe', place, side),
		el('div.legend', Object.entries(PALETTE).map(([kind, name]) => el('span', el('i.key', { style: { background: `var(${name})` } }), kind === 'tag' ? t('tag') : said('kinds', kind))), el('span', el('i.key', { style: { background: 'var(--kind-0)' } }), t('otherKinds'))), list);
	const hint = () => empty('graph', t('graphStart'), t('graphStartText'));
	replace(side, hint());
	try {
		await loadLibraries();
		if (!place.isConnected)
			return;
		picture = new Picture(place, choose);
	} catch (error) {
		replace(place, failure(error));
		return;
	}
	watch(() => picture.end());
	tools.inert = found.inert = false;
	find('');
	if (wanted.length || search.has('whole'))
		await whole();
	else if (search.get('id'))
		await start({ id: Number(search.get('id')), ...(await taggerGet('file', { id: search.get('id') })) });
	else if (search.get('tag'))
		await start({ tag: search.get('tag') });
}
