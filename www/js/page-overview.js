// Is everything fine, in one sentence; and if not, what is wrong and what to do. Then space, redundancy,
// what goes on, and what happened last.
import { el, icon, morph, replace } from './dom.js';
import { get } from './api.js';
import { live } from './live.js';
import { bytes, count, latency, percent, rate } from './format.js';
import { inWords, said, t } from './i18n.js';
import { bar, empty, failure, notice, tile, tone } from './ui.js';
import { charts } from './chart.js';
import { usableBytes } from './space.js';
import { eventRow } from './events.js';
import { rebuildLine } from './health.js';
import { mayChange } from './main.js';

const BIGGEST = 6;
const SUITABLE = [[4, 2], [2, 1], [1, 1]];
const WORSE = ['failed', 'unavailable', 'waiting']; // than servers that are away

function sentence(status) {
	const { up, total } = status.servers;
	if (total === 0)
		return [t('noServersYet'), t('noServersYetHint')];
	if (up < total && !WORSE.includes(status.state))
		return [t('serversAway', total - up, total), t('serversAwayHint')];
	if (status.state === 'ok' && status.volumes === 0)
		return [t('fine'), t('noVolumesYetHint')];
	if (status.state === 'ok')
		return [t('fine'), ''];
	const short = said('sentences', status.state);
	return [short === status.state ? inWords(status.message) : short, inWords(status.hint)];
}

function hero(status, away) {
	if (away)
		return el('section.hero.bad', { 'aria-live': 'polite' }, icon('bad'), el('div', el('h1', t('offline')), el('p', t('offlineHint')), el('p.detail', t('shownIsOld'))));
	const [text, hint] = sentence(status);
	const good = status.state === 'ok' && status.servers.total > 0;
	return el(`section.hero.${good ? 'good' : status.servers.total === 0 ? 'info' : tone(status.state) === 'good' ? 'warn' : tone(status.state)}`,
		{ 'aria-live': 'polite' }, icon(good ? 'good' : 'warn'),
		el('div', el('h1', text), hint && el('p', hint), !good && status.servers.total > 0 && text !== inWords(status.message) && el('p.detail', inWords(status.message))));
}

// How many more servers may go, as the weakest extent of the weakest volume has it.
function redundancy(status) {
	if (status.spare === undefined)
		return ['–', ''];
	const left = Math.max(0, status.spare), away = status.servers.total - status.servers.up;
	const why = status.spare < 0 ? t('redundancyNone', status.weakest) : away > 0 ? t('redundancyLess', away)
		: status.rebuild.shards > 0 ? t('redundancyRebuild') : left === 0 ? t('redundancyLeast', status.weakest) : t('redundancyFull');
	return [t('moreServers', left), why];
}

// What still fits, with the erasure code of the largest volume or else one that suits so many servers.
function usableNow(servers, volumes) {
	const frees = servers.map((s) => s.free ?? 0);
	const usual = SUITABLE.find(([k, m]) => k + m <= frees.length) ?? [1, 0];
	const [k, m] = volumes.length ? [volumes[0].k, volumes[0].m] : usual;
	return [bytes(usableBytes(frees, k, m)), k, m];
}

function capacity(status, volumes, servers) {
	const [usable, k, m] = usableNow(servers, volumes);
	const used = status.size - status.free;
	return el('section.panel', el('h2', t('capacity')),
		bar(used, status.size),
		el('div.legend',
			el('span', el('b', bytes(used)), ` ${t('used')} (${percent(used, status.size)})`),
			el('span', el('b', bytes(status.free)), ` ${t('free')}`),
			el('span', el('b', bytes(status.size)), ` ${t('rawTotal')}`),
			el('span', el('b', usable), ` ${t('usableWith', k, m)}`)),
		volumes.length > 0 && el('h3', t('biggest')),
		el('ul.biggest', volumes.slice(0, BIGGEST).map((v) => el('li',
			el('a', { href: `#/volumes/${encodeURIComponent(v.name)}` }, v.name),
			bar(v.used, v.size), el('span', t('usedOf', bytes(v.used), bytes(v.size)))))));
}

function tiles(status) {
	const r = status.rates ?? {};
	const [left, why] = redundancy(status);
	return el('div.tiles',
		tile(t('redundancy'), left, why),
		tile(t('throughput'), `↓ ${rate(r.read_bytes ?? 0)}`, `↑ ${rate(r.write_bytes ?? 0)}`),
		tile(t('requests'), `${count((r.reads ?? 0) + (r.writes ?? 0))}/s`, t('readsWrites', count(r.reads ?? 0), count(r.writes ?? 0))),
		tile(t('latency99'), r.read_us || r.write_us ? latency(Math.max(r.read_us, r.write_us)) : '–', t('latencyBoth', latency(r.read_us), latency(r.write_us))),
		tile(t('volumes'), count(status.volumes), t('clientsN', status.clients)),
		tile(t('servers'), t('ofN', status.servers.up, status.servers.total), t('serversUp')));
}

export default async function overview({ main, watch }) {
	let [status, list, events, servers] = await Promise.all([get('/status'), get('/volumes?sort=used&order=desc&limit=50'), get('/events?limit=6'), get('/servers')]);
	let away = false;
	const top = el('div'), middle = el('div'), recent = el('section.panel');
	const draw = () => {
		morph(top.firstChild ?? top.appendChild(el('div')), el('div', hero(status, away), !away && status.warning && notice('warn', el('p', inWords(status.warning))), rebuildLine(status.rebuild, status.state === 'rebuilding'), tiles(status)));
		morph(middle.firstChild ?? middle.appendChild(el('div')), el('div', status.servers.total > 0 && capacity(status, list.volumes, servers.servers)));
		replace(recent, el('div.head', el('h2', t('recent')), el('a', { href: '#/events' }, t('all'))),
			events.events.length ? el('ul.events', events.events.map((e) => eventRow(e))) : el('p.hint', t('noEvents')));
	};
	const actions = status.servers.total === 0 && mayChange()
		? empty('servers', t('startHere'), t('startHereText'), el('a.button.primary', { href: '#/servers?add' }, t('addServer'))) : null;
	replace(main, top, actions, el('div.columns', middle, recent), charts(['bytes', 'requests', 'latency', 'rebuild'], {}, (e) => e.rates, watch));
	draw();
	let lastEvent = events.last;
	const reload = async () => {
		try {
			[list, events, servers] = await Promise.all([get('/volumes?sort=used&order=desc&limit=50'), get('/events?limit=6'), get('/servers')]);
			draw();
		} catch (error) {
			replace(recent, failure(error, reload));
		}
	};
	watch(live((event, connected) => {
		if (!event)
			return;
		status = event;
		away = connected === false;
		draw();
		if (event.last_event !== lastEvent) {
			lastEvent = event.last_event;
			reload();
		}
	}));
	const slowly = setInterval(reload, 30000);
	watch(() => clearInterval(slowly));
}
