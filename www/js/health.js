// What is being rebuilt and scrubbed, for the overview and a volume.
import { el, replace } from './dom.js';
import { get, post } from './api.js';
import { bytes, count, duration, moment, percent, rate } from './format.js';
import { said, t } from './i18n.js';
import { badge, bar, facts, failure, notice, once, toast } from './ui.js';
import { mayChange } from './main.js';

// How a volume is: its own state, and when that is good, what it misses.
export function volumeBadge(v) {
	const state = v.state !== 'ready' ? v.state : v.spare < 0 ? 'unavailable' : v.rebuild?.shards > 0 ? 'rebuilding' : v.spare < v.m ? 'degraded' : 'ready';
	return badge(state, said('states', state));
}

// Reads that went past volmgr, of all.
export function routedPart(v) {
	const past = v.routed?.reads ?? 0;
	return past > 0 ? percent(past, past + v.stat.reads) : '–';
}

// rebuild: of a volume, or of all; null when nothing is. told: it is said above what is done.
export function rebuildLine(r, told = false) {
	if (!r || !(r.shards > 0))
		return null;
	return notice('warn', !told && el('p', t('rebuildingShards', r.shards)), bar(r.done, r.total, t('rebuildProgress')),
		el('p.hint', t('usedOf', bytes(r.done), bytes(r.total)), r.rate > 0 && ` · ${rate(r.rate)}`, r.seconds_left > 0 && ` · ${t('timeLeft', duration(r.seconds_left))}`));
}

// How long so many bytes take at that rate; nothing when that is not known.
export function leftAt(left, perSecond) {
	return left > 0 && perSecond > 0 && ` · ${t('timeLeft', duration(Math.floor(left / perSecond) + 1))}`;
}

// Shards on their way to other servers, all together. m: moves of /status.
export function movesLine(m) {
	if (!(m?.total > 0))
		return null;
	return notice('info', el('p', t('movingShards', m.shards)), bar(m.done, m.total, t('movingProgress')),
		el('p.hint', t('usedOf', bytes(m.done), bytes(m.total)), m.rate > 0 && ` · ${rate(m.rate)}`, leftAt(m.total - m.done, m.rate)));
}

// What the last scrub of a volume found; start and stop.
export function scrubPanel(volume, watch) {
	const place = el('section.panel');
	let ended = false, timer = null;
	const order = (action) => post('/scrub', { action, volume }).then(load, (error) => toast(error.message, 'bad'));
	const draw = (s) => replace(place,
		el('div.head', el('h2', t('scrub_')), mayChange() && (s.state === 'running' || s.state === 'waiting'
			? el('button.small', { onclick: once(() => order('stop')) }, t('stop')) : el('button.small', { onclick: once(() => order('start')) }, t('scrubNow')))),
		el('p.hint', t('scrubText')),
		s.state === 'running' && bar(s.percent, 100, t('scrub_')),
		facts([t('state'), said('scrubs', s.state)], [t('lastTime'), s.finished ? moment(s.finished) : t('never')],
			s.stripes > 0 && [t('looked'), bytes(s.bytes)], [t('badBlocks'), count(s.bad_blocks + s.misfit_blocks)], [t('repairedBlocks'), count(s.repaired_blocks)],
			s.lost_rows > 0 && [t('lostRows'), count(s.lost_rows)]));
	const load = async () => {
		clearTimeout(timer);
		try {
			const s = (await get('/scrub')).scrubs.find((x) => x.volume === volume);
			if (ended)
				return;
			if (s)
				draw(s);
			timer = setTimeout(load, 10000);
		} catch (error) {
			if (!ended)
				replace(place, failure(error, load));
		}
	};
	watch(() => {
		ended = true;
		clearTimeout(timer);
	});
	load();
	return place;
}
