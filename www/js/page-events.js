// Who did what when, newest first, in pages.
import { el, replace } from './dom.js';
import { get, query } from './api.js';
import { live } from './live.js';
import { t } from './i18n.js';
import { debounce, empty, failure } from './ui.js';
import { eventRow, eventText } from './events.js';

export default async function events({ main, watch }) {
	let list = [], before = null, last = 0, filter = '';
	const place = el('ul.events.panel'), more = el('p.center'), none = el('div');
	const load = async (older) => {
		const page = await get(query('/events', { limit: 100, before: older ? before : undefined }));
		list = older ? list.concat(page.events) : page.events;
		before = page.before ?? null;
		last = page.last;
	};
	const draw = () => {
		const seen = list.filter((e) => !filter || `${eventText(e)} ${e.who} ${e.detail} ${e.object}`.toLowerCase().includes(filter));
		replace(place, seen.map((e) => eventRow(e, true)));
		place.hidden = seen.length === 0;
		replace(none, seen.length === 0 && empty('events', t('noEvents'), t(filter ? 'nothingFits' : 'noEventsText')));
		replace(more, before !== null && el('button', {
			onclick: () => load(true).then(draw, (error) => replace(more, failure(error))),
		}, t('older')));
	};
	await load(false);
	replace(main, el('div.head', el('h1', t('events')),
		el('input', { type: 'search', placeholder: t('filter'), 'aria-label': t('filter'), oninput: debounce((event) => {
			filter = event.target.value.trim().toLowerCase();
			draw();
		}) })), place, none, more);
	draw();
	watch(live((event) => {
		if (event && event.last_event !== last && list.length <= 100)
			load(false).then(draw, () => {});
	}));
}
