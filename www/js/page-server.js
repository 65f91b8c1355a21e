// One server: its store, what it does, its errors; say where it is, take it out.
import { el, icon, morph, replace } from './dom.js';
import { del, get, patch, post } from './api.js';
import { live } from './live.js';
import { bytes, count, duration } from './format.js';
import { inWords, said, t } from './i18n.js';
import { badge, bar, confirmName, confirmPlain, dialog, dialogAfter, facts, failure, field, notice, select, toast, usage } from './ui.js';
import { charts } from './chart.js';
import { leftAt } from './health.js';
import { go, mayChange } from './main.js';

function health(s) {
	if (s.state === 'wrong store')
		return notice('bad', el('p', t('wrongStore')), el('p.hint', inWords(s.message)));
	if (s.state !== 'up')
		return notice('bad', el('p', t('serverAway', said('states', s.state))), s.message && el('p.hint', inWords(s.message)), el('p.hint', t('serverAwayHint', s.address)));
	if ((s.damaged_blocks ?? 0) > 0)
		return notice('warn', el('p', t('badBlocksText', s.damaged_blocks)), el('p.hint', t('badBlocksHint')));
	if ((s.disk_errors ?? 0) > 0)
		return notice('warn', el('p', t('serverErrors')));
	return notice('good', el('p', t('serverFine')));
}

const draining = (s) => s.duty !== undefined && s.duty !== 'member';

// What misses writes there; all volumes are rebuilt at once, so it is not sooner than they.
function stale(s, now) {
	if (!(s.stale_shards > 0) || draining(s))
		return null;
	return notice('warn', el('p', t('rebuildingShards', s.stale_shards)), now?.rebuild.seconds_left > 0 && el('p.hint', t('timeLeft', duration(now.rebuild.seconds_left))));
}

// It is being emptied: how far that is.
function duty(s, now) {
	if (!draining(s))
		return null;
	const { done_bytes: done, total_bytes: total } = s.progress ?? { done_bytes: 0, total_bytes: 0 };
	return notice('warn', el('p', said('duties', s.duty)), bar(done, total, t('rebuildProgress')), el('p.hint', t('usedOf', bytes(done), bytes(total)), leftAt(total - done, now?.moves.rate)));
}

function details(s) {
	const st = s.stat ?? {};
	return facts([t('space'), s.size ? usage(s.size - s.free, s.size) : t('sizeUnknown')], [t('address'), s.address], [t('host'), s.host],
		[t('shards'), s.slots ? t('ofN', count(s.slots_used), count(s.slots)) : null],
		[t('reads'), st.reads !== undefined && `${count(st.reads)} (${bytes(st.read_bytes)})`], [t('writes'), st.writes !== undefined && `${count(st.writes)} (${bytes(st.write_bytes)})`],
		[t('flushes'), st.flushes !== undefined && count(st.flushes)],
		[t('crcErrors'), count(st.crc_errors ?? 0)], [t('ioErrors'), count(st.io_errors ?? 0)],
		s.bad_blocks !== undefined && [t('badBlocks'), count(s.bad_blocks + (s.misfit_blocks ?? 0))],
		s.repaired_blocks !== undefined && [t('repairedBlocks'), count(s.repaired_blocks)],
		[t('log'), st.log_bytes ? t('usedOf', bytes(st.log_used_bytes), bytes(st.log_bytes)) : null], [t('store'), el('code', s.store)], s.version && [t('version'), `nbdsrv ${s.version}`]);
}

export default async function server({ main, words, here, watch }) {
	const name = words[1], path = `/servers/${encodeURIComponent(name)}`;
	let s = await get(path), last = null, now = null, offered = null;
	const top = el('div'), panel = el('section.panel'), buttons = el('div.actions');
	const draw = () => {
		morph(top.firstChild ?? top.appendChild(el('div')), el('div', el('div.title', el('h1', s.name), badge(s.state, said('states', s.state))), health(s), stale(s, now), duty(s, now)));
		offer();
		replace(panel, el('h2', t('details')), details(s));
	};
	const load = async () => {
		try {
			s = await get(path);
			draw();
		} catch (error) {
			if (error.status !== 404)
				return;
			if (!draining(s)) {
				replace(main, failure(error));
				return;
			}
			if (!here())
				return;
			toast(t('serverRemoved', s.name)); // which was wanted
			go('servers');
		}
	};
	const remove = () => {
		const lost = el('input', { type: 'checkbox', name: 'lost' });
		confirmName({
			title: t('removeServerTitle', s.name), name: s.name, submit: t('remove'),
			text: [el('p', t('removeServerText')), s.slots_used > 0 && notice('warn', el('p', t('removeServerHolds', s.slots_used))),
				s.state !== 'up' && el('label.check', lost, t('lostForGood'))],
			done: async () => {
				await del(lost.checked ? `${path}?lost=1` : path);
				toast(t(lost.checked || s.slots_used > 0 ? 'removeBegun' : 'serverRemoved', s.name));
				if (lost.checked || s.slots_used > 0)
					load();
				else if (here())
					go('servers');
			},
		});
	};
	const move = () => dialog({
		title: t('moveServerTitle', s.name), submit: t('moveServer'),
		body: [el('p', t('moveServerText')),
			field(t('address'), el('input', { name: 'address', required: true, autocomplete: 'off', value: s.address, spellcheck: 'false' }), t('addressHint')),
			field(t('host'), el('input', { name: 'host', required: true, autocomplete: 'off', maxlength: '63', value: s.host }))],
		check: (form) => form.elements.address.value.trim() !== '' && form.elements.host.value.trim() !== '',
		done: async (form) => {
			const there = await patch(path, { address: form.elements.address.value.trim(), host: form.elements.host.value.trim() });
			toast(t('serverMoved', there.name, there.address));
			load();
		},
	});
	const drain = (stop) => confirmPlain({
		title: t(stop ? 'drainStopTitle' : 'drainTitle', s.name), submit: t(stop ? 'stop' : 'drain'), danger: false, text: el('p', t(stop ? 'drainStopText' : 'drainText')),
		done: async () => {
			await post(`${path}/drain`, { stop });
			load();
		},
	});
	const exchange = () => dialogAfter(get('/servers?sort=name'), ({ servers }) => {
		const others = servers.filter((x) => x.name !== s.name && x.state === 'up');
		dialog({
			title: t('replaceTitle', s.name), submit: t('replace'),
			body: [el('p', t('replaceText')), field(t('replaceBy'), select('by', others.map((x) => [x.name, `${x.name} (${bytes(x.free)})`])))],
			check: () => others.length > 0,
			done: async (form) => {
				await post(`${path}/replace`, { by: form.elements.by.value });
				load();
			},
		});
	});
	const actions = () => mayChange() && [
		draining(s) ? el('button', { onclick: () => drain(true) }, t('stop')) : el('button', { onclick: () => drain(false) }, t('drain')),
		el('button', { onclick: exchange }, t('replace')),
		el('button', { onclick: move }, t('moveServer')),
		el('button.danger', { onclick: remove }, icon('trash'), t('remove'))];
	// They are other ones when it is being emptied; a dialog that ends gives the focus back to the one it came from.
	const offer = () => {
		if (offered === draining(s))
			return;
		const focused = buttons.contains(document.activeElement);
		offered = draining(s);
		replace(buttons, actions());
		if (focused)
			buttons.firstChild.focus();
	};
	replace(main, el('p', el('a.backlink', { href: '#/servers' }, icon('back'), t('servers'))),
		el('div.head.wide', top, buttons),
		panel, charts(['bytes', 'requests', 'reads', 'rebuild'], { server: name }, (e) => e.busy_servers[name], watch));
	draw();
	watch(live((event) => {
		if (!event)
			return;
		if (last !== null && last !== event.last_event)
			load();
		last = event.last_event;
		now = event;
		draw();
	}));
	const slowly = setInterval(load, 10000);
	watch(() => clearInterval(slowly));
}
