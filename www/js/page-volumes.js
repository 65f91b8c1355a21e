// All volumes: found, sorted and given in pages by volmgr, so that ten thousand are no different from ten.
import { el, icon, morph, replace } from './dom.js';
import { get, query } from './api.js';
import { live } from './live.js';
import { bytes, count, latency } from './format.js';
import { t } from './i18n.js';
import { routedPart, volumeBadge } from './health.js';
import { bar, debounce, empty, failure, lastPage, loading, pager, select } from './ui.js';
import { mayChange } from './main.js';

const LIMIT = 50;
const ASKED = { q: '', sort: 'name', order: 'asc', offset: 0 };

const COLUMNS = ['name', 'state', 'used', 'profile', 'requests', 'latency99', 'routed', 'clients'];

function row(v) {
	const r = v.rates ?? {};
	const cell = (name, ...children) => el('td', { 'data-name': t(name) }, children);
	return el('tr', { 'data-key': v.name },
		el('th', { scope: 'row' }, el('a', { href: `#/volumes/${encodeURIComponent(v.name)}` }, v.name)),
		cell('state', volumeBadge(v)),
		cell('used', el('div.usage', bar(v.used, v.size), el('span', t('usedOf', bytes(v.used), bytes(v.size))))),
		cell('profile', t('kPlusM', v.k, v.m)),
		cell('requests', `${count((r.reads ?? 0) + (r.writes ?? 0))}/s`),
		cell('latency99', latency(Math.max(r.read_us ?? 0, r.write_us ?? 0))),
		cell('routed', routedPart(v)),
		cell('clients', count(v.clients)));
}

function table(volumes) {
	return el('table.list', el('caption.hidden', t('volumes')),
		el('thead', el('tr', COLUMNS.map((n) => el('th', { scope: 'col' }, t(n))))),
		el('tbody', volumes.map((v) => row(v))));
}

export default async function volumes({ main, search, here, watch }) {
	// what is asked for is in the address, too: who looks at a volume and goes back finds it again
	const state = { ...ASKED, ...Object.fromEntries([...search].filter(([name]) => name in ASKED)) };
	state.offset = Math.floor(Number(state.offset)) || 0;
	const place = el('div', loading());
	let list = null, last = null, asked = 0;
	const load = async () => {
		const mine = ++asked;
		const answer = await get(query('/volumes', { ...state, limit: LIMIT }));
		if (mine !== asked) // what was asked later may be answered sooner
			return;
		if (answer.volumes.length === 0 && answer.total > 0) { // what was there has gone
			state.offset = lastPage(LIMIT, answer.total);
			await load();
			return;
		}
		list = answer;
		draw();
	};
	const again = () => load().catch((error) => replace(place, failure(error, again)));
	const ask = (more) => {
		if (!here())
			return;
		Object.assign(state, more);
		const at = new URLSearchParams(Object.entries(state).filter(([name, value]) => value !== ASKED[name]));
		history.replaceState(null, '', at.size ? `#/volumes?${at}` : '#/volumes');
		again();
	};
	const draw = () => {
		if (list.total === 0) {
			replace(place, state.q
				? empty('search', t('nothingFits'), t('nothingFitsText'))
				: empty('volumes', t('noVolumes'), t('noVolumesText'), mayChange() && el('a.button.primary', { href: '#/volumes/new' }, icon('plus'), t('newVolume'))));
			return;
		}
		const fresh = el('div.scroll', { tabindex: '-1' }, table(list.volumes));
		if (place.firstElementChild?.matches('.scroll'))
			morph(place.firstElementChild, fresh);
		else
			replace(place, fresh, el('div'));
		replace(place.lastElementChild, pager(state.offset, LIMIT, list.total, (offset) => {
			ask({ offset });
			scrollTo(0, 0);
		}));
	};
	const changed = (more) => ask({ ...more, offset: 0 });
	replace(main,
		el('div.head', el('h1', t('volumes')), mayChange() && el('a.button.primary', { href: '#/volumes/new' }, icon('plus'), t('newVolume'))),
		el('div.toolbar', { role: 'search' },
			el('input', { type: 'search', value: state.q, placeholder: t('findVolume'), 'aria-label': t('findVolume'), oninput: debounce((event) => changed({ q: event.target.value.trim() })) }),
			select('sort', [['name asc', t('byName')], ['busy desc', t('byBusy')], ['used desc', t('byUsed')], ['size desc', t('bySize')], ['state desc', t('byState')]],
				`${state.sort} ${state.order}`, (event) => {
					const [sort, order] = event.target.value.split(' ');
					changed({ sort, order });
				}, t('sortBy'))),
		place);
	await load();
	watch(live((event) => {
		if (!event || !list)
			return;
		for (const v of list.volumes)
			v.rates = event.busy[v.name] ?? {};
		draw();
		if (last !== null && last !== event.last_event)
			again();
		last = event.last_event;
	}));
	const slowly = setInterval(again, 15000);
	watch(() => clearInterval(slowly));
}
