// Where the nodes of a graph lie: ForceAtlas2 of graphology, on a thread of its own. Gets { nodes: [x, y, size],
// edges: [from, to, weight] } flat, answers with positions again and again until it is told to stop.
import iterate from '../lib/forceatlas2.js';

const PPN = 10, PPE = 3, MANY = 1000;
const TELL_MS = 60, TELL_MANY_MS = 400; // many: twice as long each time, as drawing them takes long without a graphics card
const STEPS = 400, STEPS_MANY = 120;
const ROUNDS = 6, SPREAD = 10, GOLDEN = Math.PI * (3 - Math.sqrt(5));
let running = null;

// Groups: each node takes the one that most of what it is joined to has, a few times over.
function groups(n, edges) {
	const near = Array.from({ length: n }, () => []), of = Int32Array.from({ length: n }, (_, i) => i);
	for (let i = 0; i < edges.length; i += 3) {
		near[edges[i]].push(edges[i + 1], edges[i + 2]);
		near[edges[i + 1]].push(edges[i], edges[i + 2]);
	}
	for (let round = 0; round < ROUNDS; round++) {
		for (let i = 0; i < n; i++) {
			const sums = new Map();
			let best = of[i], most = 0;
			for (let k = 0; k < near[i].length; k += 2) {
				const g = of[near[i][k]], sum = (sums.get(g) ?? 0) + near[i][k + 1];
				sums.set(g, sum);
				if (sum > most)
					[best, most] = [g, sum];
			}
			of[i] = best;
		}
	}
	return of;
}

// Where to begin: groups as discs, the largest in the middle, on a spiral that leaves room for each.
function begin(nodes, edges) {
	const n = nodes.length / 3, of = groups(n, edges), members = new Map();
	for (let i = 0; i < n; i++)
		members.set(of[i], [...(members.get(of[i]) ?? []), i]);
	let area = 0, turn = 0;
	for (const list of [...members.values()].sort((a, b) => b.length - a.length)) {
		const out = 2 * SPREAD * Math.sqrt(area), size = SPREAD * Math.sqrt(list.length);
		const x = out * Math.cos(turn), y = out * Math.sin(turn);
		for (const i of list) {
			const r = size * Math.sqrt(Math.random()), a = Math.random() * 2 * Math.PI;
			nodes[i * 3] = x + r * Math.cos(a);
			nodes[i * 3 + 1] = y + r * Math.sin(a);
		}
		area += list.length;
		turn += GOLDEN;
	}
}

function start({ nodes, edges, fresh }) {
	if (fresh && nodes.length / 3 > MANY)
		begin(nodes, edges);
	const n = nodes.length / 3, m = edges.length / 3, many = n > MANY;
	const N = new Float32Array(n * PPN), E = new Float32Array(m * PPE);
	for (let i = 0; i < n; i++) {
		N[i * PPN] = nodes[i * 3];
		N[i * PPN + 1] = nodes[i * 3 + 1];
		N[i * PPN + 6] = 1;
		N[i * PPN + 7] = 1;
		N[i * PPN + 8] = nodes[i * 3 + 2];
	}
	for (let i = 0; i < m; i++) {
		const from = edges[i * 3], to = edges[i * 3 + 1], weight = edges[i * 3 + 2];
		E[i * PPE] = from * PPN;
		E[i * PPE + 1] = to * PPN;
		E[i * PPE + 2] = weight;
		N[from * PPN + 6] += weight;
		N[to * PPN + 6] += weight;
	}
	// many: groups drift apart, and what belongs to none of them does not drift away
	const options = {
		linLogMode: false, outboundAttractionDistribution: false, adjustSizes: n < 300, edgeWeightInfluence: many ? 0 : 1, scalingRatio: many ? 3 : 8, strongGravityMode: many,
		gravity: many ? 0.03 : 1, slowDown: many ? 1 : 2 + Math.log(n + 1), barnesHutOptimize: n > 400, barnesHutTheta: many ? 0.9 : 0.6,
	};
	let left = many ? STEPS_MANY : STEPS;
	let ms = many ? TELL_MANY_MS : TELL_MS;
	const tell = () => {
		const out = new Float32Array(n * 2);
		for (let i = 0; i < n; i++) {
			out[i * 2] = N[i * PPN];
			out[i * 2 + 1] = N[i * PPN + 1];
		}
		postMessage(out, [out.buffer]);
	};
	const step = () => {
		const end = performance.now() + ms;
		do
			iterate(options, N, E);
		while (--left > 0 && performance.now() < end);
		tell();
		ms *= many ? 2 : 1;
		running = left > 0 ? setTimeout(step, 0) : null;
	};
	if (many)
		tell(); // something to look at
	step();
}

onmessage = (event) => {
	clearTimeout(running);
	if (event.data)
		start(event.data);
};
