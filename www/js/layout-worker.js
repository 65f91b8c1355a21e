// Where the nodes of a graph lie: ForceAtlas2 of graphology, on a thread of its own. Gets { nodes: [x, y, size],
// edges: [from, to, weight] } flat, answers with positions again and again until it is told to stop.
import iterate from '../lib/forceatlas2.js';

const PPN = 10, PPE = 3, STEPS = 12;
let running = null;

function start({ nodes, edges }) {
	const n = nodes.length / 3, m = edges.length / 3;
	const N = new Float32Array(n * PPN), E = new Float32Array(m * PPE);
	for (let i = 0; i < n; i++) {
		N[i * PPN] = nodes[i * 3];
		N[i * PPN + 1] = nodes[i * 3 + 1];
		N[i * PPN + 6] = 1;
		N[i * PPN + 7] = 1;
		N[i * PPN + 8] = nodes[i * 3 + 2];
	}
	for (let i = 0; i < m; i++) {
		const [from, to, weight] = edges.slice(i * 3, i * 3 + 3);
		E[i * PPE] = from * PPN;
		E[i * PPE + 1] = to * PPN;
		E[i * PPE + 2] = weight;
		N[from * PPN + 6] += weight;
		N[to * PPN + 6] += weight;
	}
	const options = {
		linLogMode: false, outboundAttractionDistribution: false, adjustSizes: n < 300, edgeWeightInfluence: 1, scalingRatio: 8, strongGravityMode: false,
		gravity: 1, slowDown: 2 + Math.log(n + 1), barnesHutOptimize: n > 400, barnesHutTheta: 0.6,
	};
	let left = n > 2000 ? 150 : 400;
	const step = () => {
		for (let i = 0; i < STEPS && left > 0; i++, left--)
			iterate(options, N, E);
		const out = new Float32Array(n * 2);
		for (let i = 0; i < n; i++) {
			out[i * 2] = N[i * PPN];
			out[i * 2 + 1] = N[i * PPN + 1];
		}
		postMessage(out, [out.buffer]);
		running = left > 0 ? setTimeout(step, 0) : null;
	};
	step();
}

onmessage = (event) => {
	clearTimeout(running);
	if (event.data)
		start(event.data);
};
