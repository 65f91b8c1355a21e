// What files are about, as a graph: from a tag or a file outwards, or all of it. Colours say the kind, size the
// weight; what is near the pointer stays bright.
import { colour, el, icon, replace } from './dom.js';
import { count } from './format.js';
import { said, t } from './i18n.js';
import { debounce, empty, failure, loading, select } from './ui.js';
import { nameOf, taggerGet, taggerUrl } from './tagger.js';
import { preview } from './preview.js';
import { go } from './main.js';

const NODES = 80;
const ALL_MAX = 10000; // on screen; more cannot be told apart
const PALETTE = { tag: '--accent', image: '--kind-1', video: '--kind-2', audio: '--kind-3', document: '--kind-4', text: '--kind-5', source: '--kind-6', folder: '--text-2' };

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
	libraries ??= Promise.all([script('lib/graphology.umd.min.js'), script('lib/sigma.min.js')]);
	return libraries;
}

const keyOf = (n) => (n.tag !== undefined && n.id === undefined ? `tag:${n.tag}` : `file:${n.id}`);

// ---- what is asked ----------------------------------------------------------

// The export of everything, in the shape of /graph: bounded, those with most relations first.
async function wholeGraph() {
	const answer = await fetch(taggerUrl('export', { format: 'json' }));
	if (!answer.ok)
		throw new Error(t('strangeAnswer', answer.status));
	const all = await answer.json();
	const degree = new Map();
	for (const e of all.edges)
		for (const end of [e.from, e.to])
			degree.set(end, (degree.get(end) ?? 0) + 1);
	const nodes = all.nodes.filter((n) => n.kind !== 'folder' && (degree.get(n.id) ?? 0) > (n.kind === 'tag' ? 1 : 0)).sort((a, b) => degree.get(b.id) - degree.get(a.id)).slice(0, ALL_MAX);
	const at = new Map(nodes.map((n, i) => [n.id, i]));
	return {
		total: all.nodes.length,
		nodes: nodes.map((n) => (n.id.startsWith('t') ? { tag: n.name ?? n.tag, files: degree.get(n.id) }
			: { id: Number(n.id.slice(1)), name: nameOf(n.name), path: n.name, kind: n.kind, files: degree.get(n.id) })),
		edges: all.edges.filter((e) => at.has(e.from) && at.has(e.to)).map((e) => ({ from: at.get(e.from), to: at.get(e.to), weight: e.weight ?? 1 })),
	};
}

// ---- the picture -----------------------------------------------------------------

class Picture {
	constructor(place, choose) {
		this.graph = new window.graphology.Graph({ multi: false, type: 'undirected' });
		this.hover = null;
		this.only = '';
		this.renderer = new window.Sigma(this.graph, place, {
			labelColor: { color: colour('--text') }, labelFont: 'system-ui, sans-serif', labelSize: 12, labelRenderedSizeThreshold: 7, labelDensity: 0.6,
			defaultEdgeColor: colour('--line'), renderEdgeLabels: false, hideEdgesOnMove: false, minCameraRatio: 0.02, maxCameraRatio: 8, allowInvalidContainer: true,
			nodeReducer: (key, a) => {
				if (this.only && a.kind !== this.only && a.kind !== 'tag')
					return { ...a, hidden: true };
				if (this.hover && key !== this.hover && !this.near.has(key))
					return { ...a, color: colour('--line'), label: null, zIndex: 0 };
				return this.hover ? { ...a, forceLabel: true, zIndex: 1 } : a;
			},
			edgeReducer: (key, a) => {
				if (!this.hover)
					return a;
				return this.graph.hasExtremity(key, this.hover) ? { ...a, color: colour('--accent'), size: a.size + 0.6 } : { ...a, hidden: true };
			},
		});
		this.renderer.on('enterNode', ({ node }) => this.point(node));
		this.renderer.on('leaveNode', () => this.point(null));
		this.renderer.on('clickNode', ({ node }) => choose(this.graph.getNodeAttribute(node, 'of')));
		this.worker = new Worker('js/layout-worker.js', { type: 'module' });
		this.worker.onmessage = (event) => this.move(event.data);
	}

	point(node) {
		this.hover = node;
		this.near = new Set(node ? this.graph.neighbors(node) : []);
		this.renderer.refresh({ skipIndexation: true });
	}

	add(answer, around) {
		const centre = around && this.graph.hasNode(around) ? this.graph.getNodeAttributes(around) : { x: 0, y: 0 };
		const small = answer.nodes.length > 300 ? 0.5 : 1; // many are told apart better when they are small
		for (const n of answer.nodes) {
			const key = keyOf(n), kind = n.id === undefined ? 'tag' : n.kind;
			const size = n.id === undefined ? 5 + Math.min(10, Math.sqrt(n.files ?? 1)) : 4 + Math.min(6, (n.files ?? 0) / 4);
			const label = n.id === undefined ? `#${n.tag}` : n.name;
			if (!this.graph.hasNode(key))
				this.graph.addNode(key, { x: centre.x + Math.random() - 0.5, y: centre.y + Math.random() - 0.5, size: size * small, label, kind, color: colour(PALETTE[kind] ?? '--kind-0'), of: n });
		}
		for (const e of answer.edges) {
			const from = keyOf(answer.nodes[e.from]), to = keyOf(answer.nodes[e.to]);
			if (from !== to && !this.graph.hasEdge(from, to))
				this.graph.addEdge(from, to, { size: 0.5 + Math.min(2, e.weight ?? 1), weight: e.weight ?? 1, color: colour('--line') });
		}
		this.layOut();
	}

	layOut() {
		this.keys = this.graph.nodes();
		const at = new Map(this.keys.map((k, i) => [k, i]));
		const nodes = this.keys.flatMap((k) => {
			const a = this.graph.getNodeAttributes(k);
			return [a.x * (this.scale ?? 100), a.y * (this.scale ?? 100), a.size];
		});
		const edges = this.graph.mapEdges((_, a, from, to) => [at.get(from), at.get(to), a.weight]).flat();
		this.scale = 1;
		this.worker.postMessage({ nodes, edges });
	}

	move(positions) {
		this.keys.forEach((k, i) => {
			if (this.graph.hasNode(k))
				this.graph.mergeNodeAttributes(k, { x: positions[i * 2], y: positions[i * 2 + 1] });
		});
	}

	clear() {
		this.worker.postMessage(null);
		this.graph.clear();
		this.scale = undefined;
	}

	end() {
		this.worker.terminate();
		this.renderer.kill();
	}
}

// ---- the page ------------------------------------------------------------------------

export default async function graph({ main, search, watch }) {
	const place = el('div.graph', { role: 'img', 'aria-label': t('graphPicture') }), side = el('aside.panel.graphside', { 'aria-live': 'polite' }), info = el('p.hint', { role: 'status' });
	const list = el('div');
	let picture = null;
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
		replace(side, loading());
		try {
			const answer = await fetchAround(n);
			picture.clear();
			picture.add(answer);
			picture.renderer.getCamera().setState({ x: 0.5, y: 0.5, ratio: 1, angle: 0 });
			tell();
			choose(answer.nodes[0] ?? n);
		} catch (error) {
			replace(side, failure(error));
		}
	};
	const expand = async (n) => {
		try {
			picture.add(await fetchAround(n), keyOf(n));
			tell();
		} catch (error) {
			replace(side, failure(error));
		}
	};
	const choose = (n) => {
		const file = n.id !== undefined;
		replace(side, el('h2', file ? n.name : `#${n.tag}`), el('p.hint', file ? `${said('kinds', n.kind)} · ${n.path ?? ''}` : t('filesN', count(n.files ?? 0))),
			el('div.actions.left', el('button.small', { onclick: () => expand(n) }, icon('plus'), t('expand')), el('button.small', { onclick: () => start(n) }, t('startFrom')),
				file ? [el('button.small', { onclick: () => (n.kind === 'folder' ? go(`files?in=${encodeURIComponent(n.path)}`) : preview(n)) }, t('open')),
					n.kind !== 'folder' && el('a.button.small', { href: taggerUrl('content', { id: n.id, download: 1 }), download: n.name }, icon('download'), t('download'))]
					: el('a.button.small', { href: `#/files?q=${encodeURIComponent(`tag:"${n.tag}"`)}` }, icon('files'), t('files'))));
	};
	const whole = async () => {
		replace(side, loading());
		try {
			const answer = await wholeGraph();
			picture.clear();
			picture.add(answer);
			tell();
			replace(side, el('h2', t('wholeGraph')), el('p', answer.total > ALL_MAX ? t('graphPart', count(ALL_MAX), count(answer.total)) : t('graphWhole')));
		} catch (error) {
			replace(side, failure(error, whole));
		}
	};
	const found = el('ul.chips');
	const find = debounce(async (text) => {
		try {
		const [{ tags }, { files }] = await Promise.all([text ? taggerGet('suggest', { q: text, limit: 8 }) : taggerGet('tags', { limit: 12 }), text ? taggerGet('search', { q: `name:"${text.replace(/"/g, '')}"`, limit: 4 }) : { files: [] }]);
		replace(found, tags.map((x) => el('li', el('button.small', { onclick: () => start({ tag: x.tag, files: x.files }) }, `#${x.tag}`, el('small', count(x.files))))), files.map((f) => el('li', el('button.small', { onclick: () => start(f) }, icon('file'), f.name))));
		} catch (error) {
			replace(found, failure(error));
		}
	}, 150);
	const kinds = ['', 'image', 'video', 'audio', 'document', 'text', 'source', 'folder'];
	replace(main, el('div.head', el('h1', t('graph')), info),
		el('div.toolbar', { role: 'search' }, el('input', { type: 'search', placeholder: t('graphFind'), 'aria-label': t('graphFind'), oninput: (event) => find(event.target.value.trim()) }),
			select('only', kinds.map((k) => [k, k ? said('kinds', k) : t('anyKind')]), '', (event) => {
				picture.only = event.target.value;
				picture.renderer.refresh();
			}, t('kind')),
			el('button', { onclick: whole }, t('wholeGraph')), el('button', { onclick: () => { picture.clear(); tell(); replace(side, hint()); } }, t('reset'))),
		found, el('div.graphframe', place, side),
		el('div.legend', Object.entries(PALETTE).map(([kind, name]) => el('span', el('i.key', { style: { background: `var(${name})` } }), kind === 'tag' ? t('tag') : said('kinds', kind)))), list);
	const hint = () => empty('graph', t('graphStart'), t('graphStartText'));
	replace(side, hint());
	try {
		await loadLibraries();
		picture = new Picture(place, choose);
	} catch (error) {
		replace(place, failure(error));
		return;
	}
	watch(() => picture.end());
	find('');
	if (search.get('id'))
		await start({ id: Number(search.get('id')), ...(await taggerGet('file', { id: search.get('id') })) });
	else if (search.get('tag'))
		await start({ tag: search.get('tag') });
}
