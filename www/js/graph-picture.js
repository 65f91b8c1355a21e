// The picture of a graph: nodes and lines by sigma, where they lie by a worker. What is near the pointer stays
// bright. Of many nodes names are drawn for the largest first, and never over each other; nearer, more have room.
import { colour, onColours } from './dom.js';
import { nameOf } from './tagger.js';

export const PALETTE = { tag: '--accent', image: '--kind-1', video: '--kind-2', audio: '--kind-3', document: '--kind-4', text: '--kind-5', source: '--kind-6', folder: '--text-2' };
const MANY = 1000; // from so many nodes on they are small, and lines thin
const LABELS_MAX = 60;
const LABELLED = 5; // smaller ones have no name
const FONT = 'system-ui, "Noto Sans CJK SC", sans-serif';

export const keyOf = (n) => (n.tag !== undefined && n.id === undefined ? `tag:${n.tag}` : `file:${n.id}`);

const apart = (a, b) => a.right < b.left || b.right < a.left || a.bottom < b.top || b.bottom < a.top;

export class Picture {
	constructor(place, choose) {
		this.graph = new window.graphology.Graph({ multi: false, type: 'undirected' });
		this.hover = null;
		this.only = '';
		this.labels = [];
		this.paint();
		this.renderer = new window.Sigma(this.graph, place, {
			labelSize: 12, labelRenderedSizeThreshold: LABELLED, labelDensity: 1, labelGridCellSize: 60, zIndex: true,
			renderEdgeLabels: false, minCameraRatio: 0.01, maxCameraRatio: 8, allowInvalidContainer: true,
			defaultDrawNodeLabel: (context, data) => data.label && this.labels.push({ context, data }),
			defaultDrawNodeHover: (context, data) => this.drawHover(context, data),
			nodeReducer: (key, a) => this.reduceNode(key, a),
			edgeReducer: (key, a) => this.reduceEdge(key, a),
		});
		this.renderer.on('afterRender', () => this.drawLabels());
		this.renderer.on('enterNode', ({ node }) => this.point(node));
		this.renderer.on('leaveNode', () => this.point(null));
		this.renderer.on('clickNode', ({ node }) => choose(this.graph.getNodeAttribute(node, 'of')));
		this.endColours = onColours(() => {
			this.paint();
			this.renderer.refresh();
		});
		this.worker = new Worker('js/layout-worker.js', { type: 'module' });
		this.worker.onmessage = (event) => this.move(event.data);
	}

	// Asking the style sheet costs more than drawing: once, not for each node.
	paint() {
		const kinds = Object.entries(PALETTE).map(([kind, name]) => [kind, colour(name)]);
		this.colours = { ...Object.fromEntries(kinds), other: colour('--kind-0'), line: colour('--line'), accent: colour('--accent'), ink: colour('--text'), card: colour('--card') };
	}

	colourOf(kind) {
		return this.colours[kind] ?? this.colours.other;
	}

	get many() {
		return this.graph.order > MANY;
	}

	// ---- how a node and a line look now ---------------------------------------------

	reduceNode(key, a) {
		if (this.only && a.kind !== this.only && a.kind !== 'tag')
			return { ...a, hidden: true };
		const color = this.colourOf(a.kind);
		if (!this.hover)
			return { ...a, color, zIndex: a.kind === 'tag' ? 0 : 1 }; // files are small
		if (key !== this.hover && !this.near.has(key))
			return { ...a, color: this.colours.line, label: null, zIndex: 0 };
		return { ...a, color, forceLabel: true, zIndex: 2 };
	}

	reduceEdge(key, a) {
		if (!this.hover)
			return { ...a, color: this.colours.line };
		if (!this.nearEdges.has(key))
			return { ...a, hidden: true };
		return { ...a, color: this.colours.accent, size: a.size + 0.6, zIndex: 1 };
	}

	point(node) {
		this.hover = node;
		this.near = new Set(node ? this.graph.neighbors(node) : []);
		this.nearEdges = new Set(node ? this.graph.edges(node) : []);
		this.renderer.refresh({ skipIndexation: true });
	}

	// ---- names ---------------------------------------------------------------------------

	drawLabels() {
		const taken = [];
		const all = this.labels.sort((a, b) => (b.data.forceLabel ?? false) - (a.data.forceLabel ?? false) || b.data.size - a.data.size);
		this.labels = [];
		for (const { context, data } of all) {
			if (taken.length >= LABELS_MAX)
				return;
			const big = data.kind === 'tag' && this.many;
			context.font = `${big ? 600 : 400} ${big ? 12.5 : 12}px ${FONT}`;
			const width = context.measureText(data.label).width, right = data.x + data.size + 3;
			const x = right + width > context.canvas.clientWidth ? data.x - data.size - 3 - width : right;
			const box = { left: x - 3, right: x + width + 3, top: data.y - 9, bottom: data.y + 9 };
			if (!taken.every((b) => apart(b, box)))
				continue;
			taken.push(box);
			context.lineJoin = 'round';
			context.lineWidth = 3.5;
			context.strokeStyle = this.colours.card;
			context.strokeText(data.label, x, data.y + 4);
			context.fillStyle = this.colours.ink;
			context.fillText(data.label, x, data.y + 4);
		}
	}

	drawHover(context, data) {
		context.font = `600 13px ${FONT}`;
		const width = context.measureText(data.label ?? '').width;
		const left = data.x + data.size + 10 + width > context.canvas.clientWidth ? data.x - data.size - width - 8 : data.x + data.size + 4;
		context.beginPath();
		context.arc(data.x, data.y, data.size + 2, 0, Math.PI * 2);
		context.lineWidth = 2;
		context.strokeStyle = this.colours.ink;
		context.stroke();
		if (!data.label)
			return;
		context.beginPath();
		context.roundRect(left - 4, data.y - 11, width + 10, 22, 6);
		context.fillStyle = this.colours.card;
		context.fill();
		context.lineWidth = 1;
		context.strokeStyle = this.colours.line;
		context.stroke();
		context.fillStyle = this.colours.ink;
		context.fillText(data.label, left + 1, data.y + 4.5);
	}

	// ---- what is in it -------------------------------------------------------------------------

	// An answer of /graph; new nodes come where the one around which they are is.
	add(answer, around) {
		const centre = around && this.graph.hasNode(around) ? this.graph.getNodeAttributes(around) : { x: 0, y: 0 };
		const small = answer.nodes.length > 300 ? 0.5 : 1; // many are told apart better when they are small
		for (const n of answer.nodes) {
			const key = keyOf(n), kind = n.id === undefined ? 'tag' : n.kind;
			const size = n.id === undefined ? 5 + Math.min(10, Math.sqrt(n.files ?? 1)) : 6;
			const label = n.id === undefined ? `#${n.tag}` : n.name;
			if (!this.graph.hasNode(key))
				this.graph.addNode(key, { x: centre.x + Math.random() - 0.5, y: centre.y + Math.random() - 0.5, size: size * small, label, kind, of: n });
		}
		for (const e of answer.edges) {
			const from = keyOf(answer.nodes[e.from]), to = keyOf(answer.nodes[e.to]);
			if (from !== to && !this.graph.hasEdge(from, to))
				this.graph.addEdge(from, to, { size: 0.5 + Math.min(2, e.weight ?? 1), weight: e.weight ?? 1 });
		}
		this.layOut();
	}

	// All at once: [tag, file, weight] join nodes by their places.
	setWhole({ nodes, edges }) {
		const graph = new window.graphology.Graph({ multi: false, type: 'undirected' });
		const weight = new Float32Array(nodes.length);
		for (const [, file, w] of edges)
			weight[file] += w;
		const most = Math.max(1, ...nodes.filter((n) => n.tag !== undefined).map((n) => n.files)), heaviest = weight.reduce((a, b) => Math.max(a, b), 0.01);
		const many = nodes.length > MANY, scale = many ? Math.min(1, 0.3 + this.renderer.getDimensions().width / 1000) : 2;
		nodes.forEach((n, i) => {
			if (graph.hasNode(keyOf(n))) // tags of several stems that are read alike
				return;
			const tag = n.tag !== undefined;
			const size = scale * (tag ? 1.6 + 6.5 * Math.sqrt(n.files / most) : 1.6 + 1.4 * weight[i] / heaviest);
			const of = tag ? n : { ...n, name: nameOf(n.path) };
			graph.addNode(keyOf(n), { x: Math.random(), y: Math.random(), size, label: tag ? `#${n.tag}` : of.name, kind: tag ? 'tag' : n.kind, of });
		});
		for (const [tag, file, w] of edges)
			graph.mergeEdge(keyOf(nodes[tag]), keyOf(nodes[file]), { size: many ? 0.5 : 1, weight: w });
		this.hover = null;
		this.graph = graph;
		this.renderer.setSetting('hideEdgesOnMove', many);
		this.renderer.setSetting('labelRenderedSizeThreshold', LABELLED * Math.min(1, scale));
		this.renderer.setGraph(graph);
		this.renderer.getCamera().setState({ x: 0.5, y: 0.5, ratio: 1, angle: 0 });
		this.scale = many ? 1 : 100;
		this.layOut(true);
	}

	layOut(fresh = false) {
		this.keys = this.graph.nodes();
		const at = new Map(this.keys.map((k, i) => [k, i])), scale = this.scale ?? 100;
		const nodes = new Float32Array(this.keys.length * 3), edges = new Float32Array(this.graph.size * 3);
		this.graph.forEachNode((k, a) => nodes.set([a.x * scale, a.y * scale, a.size], at.get(k) * 3));
		let i = 0;
		this.graph.forEachEdge((_, a, from, to) => edges.set([at.get(from), at.get(to), a.weight], 3 * i++));
		this.scale = 1;
		this.worker.postMessage({ nodes, edges, fresh });
	}

	move(positions) {
		const at = new Map(this.keys.map((k, i) => [k, i]));
		this.graph.updateEachNodeAttributes((k, a) => {
			const i = at.get(k);
			if (i !== undefined) {
				a.x = positions[i * 2];
				a.y = positions[i * 2 + 1];
			}
			return a;
		}, { attributes: ['x', 'y'] });
		this.renderer.setCustomBBox(this.many ? middle(positions) : null);
	}

	clear() {
		this.worker.postMessage(null);
		this.graph.clear();
		this.renderer.setCustomBBox(null);
		this.renderer.setSetting('hideEdgesOnMove', false);
		this.renderer.setSetting('labelRenderedSizeThreshold', LABELLED);
		this.scale = undefined;
	}

	end() {
		this.endColours();
		this.worker.terminate();
		this.renderer.kill();
	}
}

// What all but a few are in: one that has drifted away makes the others no smaller.
function middle(positions) {
	const range = (offset) => {
		const sorted = positions.filter((_, i) => i % 2 === offset).sort();
		return [sorted[Math.floor(sorted.length * 0.005)], sorted[Math.ceil(sorted.length * 0.995) - 1]];
	};
	return { x: range(0), y: range(1) };
}
