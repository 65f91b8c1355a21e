// Where a volume's extents are, as a picture: a column is an extent, a row is a server, a filled square is a
// shard. The same in words for who does not see it, and in a table on demand.
import { colour, el, onColours, replace } from './dom.js';
import { t } from './i18n.js';
import { failure, loading, once } from './ui.js';

const PAGE = 120, CELL = 11, LABEL = 110, GAP = 2;

function colours() {
	return { data: colour('--chart-1'), parity: colour('--chart-2'), stale: colour('--bad'), empty: colour('--line'), text: colour('--text-2') };
}

function draw(canvas, extents, servers, k) {
	const width = LABEL + extents.length * CELL, height = servers.length * CELL + 4;
	const scale = devicePixelRatio || 1, c = colours(), g = canvas.getContext('2d');
	canvas.width = width * scale;
	canvas.height = height * scale;
	canvas.style.width = `${width}px`;
	canvas.style.height = `${height}px`;
	g.scale(scale, scale);
	g.font = '10px system-ui, sans-serif';
	g.textBaseline = 'middle';
	servers.forEach((name, row) => {
		g.fillStyle = c.text;
		g.fillText(name, 0, row * CELL + CELL / 2, LABEL - 8);
		extents.forEach((x, column) => {
			const i = x.shards.findIndex((s) => s.server === name);
			g.fillStyle = i < 0 ? c.empty : x.shards[i].stale ? c.stale : i < k ? c.data : c.parity;
			g.globalAlpha = i < 0 ? 0.5 : 1;
			g.fillRect(LABEL + column * CELL, row * CELL, CELL - GAP, CELL - GAP);
			g.globalAlpha = 1;
		});
	});
}

function cellAt(event, extents, servers) {
	const column = Math.floor((event.offsetX - LABEL) / CELL), row = Math.floor(event.offsetY / CELL);
	const x = extents[column], name = servers[row];
	if (!x || !name)
		return '';
	const i = x.shards.findIndex((s) => s.server === name);
	return i < 0 ? t('cellEmpty', x.extent, name) : t('cellShard', x.extent, name, i, x.shards[i].slot, x.shards[i].stale);
}

function table(extents) {
	return el('div.scroll', { tabindex: '0' }, el('table.list.dense', el('caption.hidden', t('extents')),
		el('thead', el('tr', el('th', { scope: 'col' }, t('extent')), el('th', { scope: 'col' }, t('shards')))),
		el('tbody', extents.map((x) => el('tr', el('th', { scope: 'row' }, String(x.extent)),
			el('td', x.shards.map((s) => (s.stale ? `${s.server} (${t('stale')})` : s.server)).join(', ')))))));
}

export function extentMap(v, fetchPage, watch) {
	const place = el('div', loading()), hover = el('p.hint.hover', ' ');
	const canvas = el('canvas', { role: 'img' });
	let extents = [], servers = [], from = 0;
	const earlier = [];
	const show = () => {
		const stale = extents.flatMap((x) => x.shards).filter((s) => s.stale).length;
		servers = [...new Set(extents.flatMap((x) => x.shards.map((s) => s.server)))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
		canvas.setAttribute('aria-label', t('mapWords', extents.length, servers.length, stale));
		draw(canvas, extents, servers, v.k);
	};
	const load = async (at) => {
		try {
			const page = await fetchPage(at, PAGE);
			extents = page.extents;
			from = at;
			if (!extents.length) {
				replace(place, el('p.hint', t('noExtents')));
				return;
			}
			show();
			replace(place,
				el('div.legend', el('span', el('i.key.data'), t('data')), el('span', el('i.key.parity'), t('parity')), el('span', el('i.key.stale'), t('stale'))),
				el('div.scroll.map', { tabindex: '0' }, canvas), hover,
				(page.next !== undefined || earlier.length > 0) && el('nav.pager', { 'aria-label': t('pages') },
					el('button', { disabled: earlier.length === 0, onclick: once(() => load(earlier.pop())) }, t('previous')),
					el('span', t('extentsFrom', extents[0].extent, extents.at(-1).extent)),
					el('button', { disabled: page.next === undefined, onclick: once(() => {
						earlier.push(from);
						return load(page.next);
					}) }, t('next'))),
				el('details', el('summary', t('asTable')), table(extents)));
		} catch (error) {
			replace(place, failure(error, () => load(at)));
		}
	};
	canvas.addEventListener('mousemove', (event) => {
		hover.textContent = cellAt(event, extents, servers) || ' ';
	});
	watch(onColours(() => extents.length && show()));
	load(0);
	return el('section.panel', el('h2', t('extentsTitle')), el('p.hint', t('extentsText', v.k + v.m)), place);
}
