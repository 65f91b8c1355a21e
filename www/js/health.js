// What is being rebuilt and scrubbed, for the overview and a volume.
import { el, replace } from './dom.js';
import { get, post } from './api.js';
import { bytes, count, duration, moment, rate } from './format.js';
import { said, t } from './i18n.js';
import { bar, facts, failure, notice, toast } from './ui.js';
import { mayChange } from './main.js';

// rebuild: of a volume, or of all; null when nothing is.
export function rebuildLine(r) {
	if (!r || !(r.shards > 0))
		return null;
	return notice('warn', el('p', t('rebuildingShards', r.shards)), bar(r.done, r.total, t('rebuildProgress')),
		el('p.hint', t('usedOf', bytes(r.done), bytes(r.total)), r.rate > 0 && ` · ${rate(r.rate)}`, r.seconds_left > 0 && ` · ${t('timeLeft', duration(r.seconds_left))}`));
}

// What the last scrub of a volume found; start and stop.
export function scrubPanel(volume, watch) {
	const place = el('section.panel');
	let ended = false, timer = null;
	const order = (action) => post('/scrub', { action, volume }).then(load, (error) => toast(error.message, 'bad'));
	const draw = (s) => replace(place,
		el('div.head', el('h2', t('scrub_')), mayChange() && (s.state === 'running' || s.state === 'waiting'
			? el('button.small', { onclick: () => order('stop') }, t('stop')) : el('button.small', { onclick: () => order('start') }, t('scrubNow')))),
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
