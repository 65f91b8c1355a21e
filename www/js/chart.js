// Charts of rates and latencies, by uPlot. A chart is a picture; beside it stands the last value in words.
import { colour, el, onColours, replace } from './dom.js';
import { get, query } from './api.js';
import { live } from './live.js';
import { bytes, count, latency, rate } from './format.js';
import { language, t } from './i18n.js';

const HEIGHT = 190;
const SPANS = { hour: { step: 2, points: 900 }, day: { step: 120, points: 720 } };

let library = null;

function loadLibrary() {
	library ??= new Promise((resolve, reject) => {
		document.head.append(el('link', { rel: 'stylesheet', href: 'lib/uPlot.min.css' }));
		const script = el('script', { src: 'lib/uPlot.iife.min.js' });
		script.onload = () => resolve(window.uPlot);
		script.onerror = () => {
			library = null; // the next one tries again
			reject(new Error(t('noCharts')));
		};
		document.head.append(script);
	});
	return library;
}

// Steps of an axis that are round numbers to people: powers of two for bytes.
const BINARY = Array.from({ length: 50 }, (_, i) => 2 ** i);

const KINDS = {
	bytes: { title: 'throughput', names: ['read_bytes', 'write_bytes'], value: rate, axis: (v) => `${bytes(v)}/s`, incrs: BINARY, least: 1024 },
	requests: { title: 'requests', names: ['reads', 'writes'], value: (v) => `${count(v)}/s`, axis: (v) => count(v), least: 10 },
	latency: { title: 'latency', names: ['read_us', 'write_us'], value: latency, axis: (v) => (v ? latency(v) : '0'), least: 1000 },
	reads: { title: 'readLatency', names: ['read_us'], value: latency, axis: (v) => (v ? latency(v) : '0'), least: 1000 },
	rebuild: { title: 'rebuild', names: ['rebuild_bytes'], labels: ['rebuildBytes'], value: rate, axis: (v) => `${bytes(v)}/s`, incrs: BINARY, least: 1024 },
};

const labelOf = (kind, i) => t((kind.labels ?? ['reads', 'writes'])[i]);

function options(kind, width) {
	const text = colour('--text-2'), grid = colour('--line');
	const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font: '12px system-ui' };
	const time = (at) => {
		const seconds = at.length > 1 && at[1] - at[0] < 60;
		const f = new Intl.DateTimeFormat(language(), { hour: '2-digit', minute: '2-digit', second: seconds ? '2-digit' : undefined, hourCycle: 'h23' });
		return at.map((s) => f.format(new Date(s * 1000)));
	};
	const series = (label, name) => ({ label, stroke: colour(name), width: 2, fill: colour(name, 0.13), points: { show: false }, value: (u, v) => (v === null ? '–' : kind.value(v)) });
	return {
		width, height: HEIGHT, cursor: { y: false }, legend: { live: true },
		scales: { y: { range: (u, min, max) => [0, Math.max(max * 1.1, kind.least)] } },
		axes: [
			{ ...axis, space: 76, values: (u, at) => time(at) },
			{ ...axis, size: 78, incrs: kind.incrs, values: (u, at) => at.map((v) => kind.axis(v)) },
		],
		series: [
			{ label: t('time'), value: (u, v) => (v === null ? '–' : new Date(v * 1000).toLocaleTimeString(language(), { hourCycle: 'h23' })) },
			...kind.names.map((_, i) => series(labelOf(kind, i), `--chart-${i + 1}`)),
		],
	};
}

// The history as columns, the newest last. What is missing at the front is not drawn.
function columns(history, kind) {
	const n = history.reads.length;
	return [history.reads.map((_, i) => history.end - (n - 1 - i) * history.step), ...kind.names.map((name) => history[name])];
}

// One chart. of: { volume } or { server } or {}; pick(event) gives the rates in a live event.
export function chart(which, of, pick, watch) {
	const kind = KINDS[which];
	const place = el('div.plot'), now = el('p.now', { 'aria-live': 'off' });
	let plot = null, history = null, ended = false, span = 'hour', asked = 0;
	const draw = async () => {
		if (!history || ended || !place.isConnected)
			return;
		let uPlot;
		try {
			uPlot = await loadLibrary();
		} catch (error) {
			replace(place, el('p.hint', error.message));
			return;
		}
		if (ended)
			return;
		plot?.destroy();
		replace(place);
		plot = new uPlot(options(kind, Math.max(240, place.clientWidth)), columns(history, kind), place);
	};
	const load = async () => {
		const mine = ++asked;
		try {
			const answer = await get(query('/history', { ...of, span: span === 'day' ? 'day' : undefined }));
			if (mine !== asked) // another span was chosen meanwhile
				return;
			history = answer;
			await draw();
		} catch (error) {
			if (error.name !== 'AbortError')
				replace(place, el('p.hint', error.message));
		}
	};
	const add = (event) => {
		const rates = pick(event);
		now.textContent = kind.names.map((name, i) => `${labelOf(kind, i)} ${kind.value(rates?.[name] ?? 0)}`).join(' · ');
		if (!history || span !== 'hour')
			return;
		history.end = Date.now() / 1000;
		for (const name of Object.keys(history).filter((k) => Array.isArray(history[k]))) {
			history[name].push(rates?.[name] ?? 0);
			if (history[name].length > SPANS.hour.points)
				history[name].shift();
		}
		plot?.setData(columns(history, kind));
	};
	const resize = new ResizeObserver(() => plot && Math.abs(plot.width - place.clientWidth) > 4 && plot.setSize({ width: Math.max(240, place.clientWidth), height: HEIGHT }));
	resize.observe(place);
	const endColours = onColours(() => draw());
	const stop = live((event) => event && add(event));
	watch(() => {
		ended = true;
		stop();
		resize.disconnect();
		endColours();
		plot?.destroy();
	});
	queueMicrotask(load);
	const e = el('figure.chart', el('figcaption', el('span', t(kind.title)), now), place);
	e.setSpan = (s) => {
		span = s;
		load();
	};
	return e;
}

// Charts side by side, with one choice of how far back they go.
export function charts(kinds, of, pick, watch) {
	const list = kinds.map((kind) => chart(kind, of, pick, watch));
	const buttons = Object.keys(SPANS).map((span) => el('button.small', {
		'aria-pressed': String(span === 'hour'),
		onclick: (event) => {
			buttons.forEach((b) => b.setAttribute('aria-pressed', String(b === event.currentTarget)));
			list.forEach((c) => c.setSpan(span));
		},
	}, t(`span_${span}`)));
	return el('section.panel', el('div.head', el('h2', t('activity')), el('div.segmented', { role: 'group', 'aria-label': t('timeSpan') }, buttons)),
		el('div.charts', list));
}
