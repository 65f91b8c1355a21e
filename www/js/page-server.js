// One server: its store, what it does, its errors; take it out.
import { el, icon, morph, replace } from './dom.js';
import { del, get } from './api.js';
import { live } from './live.js';
import { bytes, count } from './format.js';
import { said, t } from './i18n.js';
import { badge, confirmName, facts, failure, notice, toast, usage } from './ui.js';
import { charts } from './chart.js';
import { go, mayChange } from './main.js';

function health(s) {
	if (s.state === 'wrong store')
		return notice('bad', el('p', t('wrongStore')), el('p.hint', s.message));
	if (s.state !== 'up')
		return notice('bad', el('p', t('serverAway', said('states', s.state))), s.message && el('p.hint', s.message), el('p.hint', t('serverAwayHint', s.address)));
	if ((s.bad_blocks ?? 0) > 0)
		return notice('warn', el('p', t('badBlocksText', s.bad_blocks, s.repaired_blocks ?? 0)));
	if ((s.stat?.crc_errors ?? 0) + (s.stat?.io_errors ?? 0) > 0)
		return notice('warn', el('p', t('serverErrors')));
	return notice('good', el('p', t('serverFine')));
}

function details(s) {
	const st = s.stat ?? {};
	return facts([t('space'), s.size ? usage(s.size - s.free, s.size) : t('sizeUnknown')], [t('address'), s.address], [t('host'), s.host],
		[t('shards'), s.slots ? t('ofN', count(s.slots_used), count(s.slots)) : null],
		[t('reads'), st.reads !== undefined && `${count(st.reads)} (${bytes(st.read_bytes)})`], [t('writes'), st.writes !== undefined && `${count(st.writes)} (${bytes(st.write_bytes)})`],
		[t('flushes'), st.flushes !== undefined && count(st.flushes)],
		[t('crcErrors'), count(st.crc_errors ?? 0)], [t('ioErrors'), count(st.io_errors ?? 0)],
		s.repaired_blocks !== undefined && [t('repairedBlocks'), count(s.repaired_blocks)],
		[t('log'), st.log_bytes ? t('usedOf', bytes(st.log_used_bytes), bytes(st.log_bytes)) : null], [t('store'), el('code', s.store)]);
}

export default async function server({ main, words, watch }) {
	const name = words[1], path = `/servers/${encodeURIComponent(name)}`;
	let s = await get(path), last = null;
	const top = el('div'), panel = el('section.panel');
	const draw = () => {
		morph(top.firstChild ?? top.appendChild(el('div')), el('div', el('div.title', el('h1', s.name), badge(s.state, said('states', s.state))), health(s)));
		replace(panel, el('h2', t('details')), details(s));
	};
	const load = async () => {
		try {
			s = await get(path);
			draw();
		} catch (error) {
			if (error.status === 404)
				replace(main, failure(error));
		}
	};
	const remove = () => confirmName({
		title: t('removeServerTitle', s.name), name: s.name, submit: t('remove'),
		text: [el('p', t('removeServerText')), s.slots_used > 0 && notice('warn', el('p', t('removeServerHolds', s.slots_used)))],
		done: async () => {
			await del(path);
			toast(t('serverRemoved', s.name));
			go('servers');
		},
	});
	replace(main, el('p', el('a.backlink', { href: '#/servers' }, icon('back'), t('servers'))),
		el('div.head.wide', top, mayChange() && el('div.actions', el('button.danger', { onclick: remove }, icon('trash'), t('remove')))),
		panel, charts(['bytes', 'requests'], { server: name }, (e) => e.busy_servers[name], watch));
	draw();
	watch(live((event) => {
		if (event && last !== null && last !== event.last_event)
			load();
		last = event?.last_event ?? last;
	}));
	const slowly = setInterval(load, 10000);
	watch(() => clearInterval(slowly));
}
