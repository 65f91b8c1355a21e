// Who did what when, newest first, in pages. What is typed is looked for among all of them, by volmgr.
import { el, replace } from './dom.js';
import { get, query } from './api.js';
import { live } from './live.js';
import { t } from './i18n.js';
import { debounce, empty, failure } from './ui.js';
import { eventQuery, eventRow } from './events.js';

const PAGE = 100;

export default async function events({ main, watch }) {
	let list = [], before = null, last = 0, filter = '', asked = 0;
	const place = el('ul.events.panel'), more = el('p.center'), none = el('div');
	const load = async (older) => {
		const mine = ++asked;
		const page = await get(query('/events', { limit: PAGE, before: older ? before : undefined, q: eventQuery(filter) }));
		if (mine !== asked)
			return; // something else was typed meanwhile
		list = older ? list.concat(page.events) : page.events;
		before = page.before ?? null;
		last = page.last;
	};
	const failed = (error) => replace(more, failure(error));
	const draw = () => {
		replace(place, list.map((e) => eventRow(e, true)));
		place.hidden = list.length === 0;
		replace(none, list.length === 0 && empty('events', t('noEvents'), t(filter ? 'nothingFits' : 'noEventsText')));
		replace(more, before !== null && el('button', { onclick: () => load(true).then(draw, failed) }, t('older')));
	};
	await load(false);
	replace(main, el('div.head', el('h1', t('events')),
		el('input', { type: 'search', placeholder: t('filter'), 'aria-label': t('filter'), oninput: debounce((event) => {
			filter = event.target.value.trim();
			load(false).then(draw, failed);
		}) })), place, none, more);
	draw();
	watch(live((event) => {
		if (event && event.last_event !== last && list.length <= PAGE)
			load(false).then(draw, () => {});
	}));
}
