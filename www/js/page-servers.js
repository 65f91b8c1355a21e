// Hosts with their disks as a picture; add a server, look at one.
import { el, icon, morph, replace } from './dom.js';
import { get, post } from './api.js';
import { live } from './live.js';
import { bytes, latency, rate } from './format.js';
import { inWords, said, t } from './i18n.js';
import { badge, bar, commands, debounce, dialog, empty, failure, field, notice, toast, tone } from './ui.js';
import { mayChange } from './main.js';
import { movesLine, rebuildLine } from './health.js';
import { power } from './power.js';

const FEW = 6; // are seen at a glance

function disk(s) {
	const r = s.rates ?? {};
	const errors = (s.disk_errors ?? 0) + (s.damaged_blocks ?? 0);
	return el(`a.disk.${tone(s.state)}`, { href: `#/servers/${encodeURIComponent(s.name)}`, 'data-key': s.name },
		el('span.name', el('b', s.name), badge(s.state, said('states', s.state))),
		s.size ? bar(s.size - s.free, s.size) : el('div.bar'),
		el('span.hint', s.size ? t('usedOf', bytes(s.size - s.free), bytes(s.size)) : t('sizeUnknown')),
		el('span.hint', s.state === 'up' ? `↓ ${rate(r.read_bytes ?? 0)} ↑ ${rate(r.write_bytes ?? 0)}${r.read_us > 0 ? ` · ${latency(r.read_us)}` : ''}` : inWords(s.message)),
		s.stale_shards > 0 && el('span.hint', t('rebuildingShards', s.stale_shards)),
		errors > 0 && el('span.errors', icon('warn'), t('errorsN', errors)),
		s.duty !== undefined && s.duty !== 'member' && el('span.hint', said('duties', s.duty)));
}

function host(name, servers, load) {
	const up = servers.filter((s) => s.state === 'up').length;
	const size = servers.reduce((n, s) => n + (s.size ?? 0), 0), free = servers.reduce((n, s) => n + (s.free ?? 0), 0);
	return el('section.host', { 'data-key': name },
		el('div.head', el('h2', name), el('span.hint', t('ofN', up, servers.length), ' · ', t('freeOf', bytes(free), bytes(size))),
			mayChange() && el('button.small', { onclick: () => power(name, load), 'aria-label': t('powerOf', name) }, icon('power'), t('power'))),
		el('div.disks', servers.map(disk)));
}

function hosts(servers) {
	const map = new Map();
	for (const s of servers)
		map.set(s.host, [...(map.get(s.host) ?? []), s]);
	return [...map].sort(([a], [b]) => a.localeCompare(b, undefined, { numeric: true }));
}

function add(done) {
	dialog({
		title: t('addServer'), submit: t('add'),
		body: [el('p', t('addServerText')),
			commands('nbdsrv --store /srv/weft --format --size 500G --secret /etc/weft/secret\nnbdsrv --store /srv/weft --listen tcp:0.0.0.0:10810 --secret /etc/weft/secret'),
			field(t('address'), el('input', { name: 'address', required: true, autocomplete: 'off', placeholder: '192.168.1.20:10810', spellcheck: 'false' }), t('addressHint')),
			el('details', el('summary', t('more')),
				field(t('name'), el('input', { name: 'name', autocomplete: 'off', maxlength: '63' }), t('serverNameHint')),
				field(t('host'), el('input', { name: 'host', autocomplete: 'off', maxlength: '63' }), t('hostHint')))],
		check: (form) => form.elements.address.value.trim() !== '',
		done: async (form) => {
			const body = { address: form.elements.address.value.trim() };
			for (const name of ['name', 'host'])
				if (form.elements[name].value.trim())
					body[name] = form.elements[name].value.trim();
			const s = await post('/servers', body);
			toast(t('serverAdded', s.name));
			done();
		},
	});
}

export default async function servers({ main, search, here, watch }) {
	let list = (await get('/servers?sort=name')).servers, filter = '', last = null, now = null, troubled = false;
	const place = el('div');
	const draw = () => {
		troubled &&= list.some((s) => s.state !== 'up');
		const seen = list.filter((s) => (!troubled || s.state !== 'up') && (!filter || `${s.name} ${s.host} ${s.address} ${s.state}`.toLowerCase().includes(filter)));
		if (seen.length === 0) {
			replace(place, list.length
				? empty('search', t('nothingFits'), t('nothingFitsText'))
				: empty('servers', t('noServers'), t('noServersText'), mayChange() && el('button.button.primary', { onclick: () => add(load) }, icon('plus'), t('addServer'))));
			return;
		}
		const away = list.filter((s) => s.state !== 'up').length;
		morph(place.firstChild ?? place.appendChild(el('div')), el('div', away > 0 && notice('warn', el('p', t('serversAway', away, list.length)),
			list.length > FEW && el('p', el('button.small', { 'aria-pressed': String(troubled), onclick: () => { troubled = !troubled; draw(); } }, t('onlyThese')))),
			rebuildLine(now?.rebuild), movesLine(now?.moves),
			el('div.hosts', hosts(seen).map(([name, s]) => host(name, s, load)))));
	};
	const load = async () => {
		try {
			list = (await get('/servers?sort=name')).servers;
			draw();
		} catch (error) {
			replace(place, failure(error, load));
		}
	};
	replace(main, el('div.head', el('h1', t('servers')), mayChange() && el('button.primary', { onclick: () => add(load) }, icon('plus'), t('addServer'))),
		list.length > FEW && el('div.toolbar', { role: 'search' }, el('input', { type: 'search', placeholder: t('filter'), 'aria-label': t('filter'), oninput: debounce((event) => {
			filter = event.target.value.trim().toLowerCase();
			draw();
		}) })), place);
	draw();
	if (here() && search.has('add') && mayChange()) {
		history.replaceState(null, '', '#/servers');
		add(load);
	}
	watch(live((event) => {
		if (!event)
			return;
		if (last !== null && last !== event.last_event)
			load();
		last = event.last_event;
		now = event;
		for (const s of list)
			s.rates = event.busy_servers[s.name] ?? {};
		draw();
	}));
	const slowly = setInterval(load, 10000);
	watch(() => clearInterval(slowly));
}
