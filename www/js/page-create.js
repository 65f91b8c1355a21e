// A new volume, with a picture of what k + m means here and now.
import { el, icon, replace } from './dom.js';
import { get, post } from './api.js';
import { live } from './live.js';
import { bytes, parseSize } from './format.js';
import { t } from './i18n.js';
import { failure, field, notice, select, toast } from './ui.js';
import { go } from './main.js';
import { usableBytes, worstHost } from './space.js';

const PRESETS = [[1, 1], [1, 2], [2, 1], [4, 2], [6, 3], [8, 3]];
const K_MAX = 16, M_MAX = 4;

// One stripe: the data shards, then the parity shards, each on its own server.
function stripePicture(k, m, up) {
	const box = (i) => el(`div.shard.${i < k ? 'data' : 'parity'}${i >= up ? '.missing' : ''}`,
		el('b', i < k ? `D${i + 1}` : `P${i - k + 1}`), el('span', i < up ? t('serverN', i + 1) : t('missing')));
	return el('div.stripe', { role: 'img', 'aria-label': t('stripePicture', k, m) }, Array.from({ length: k + m }, (_, i) => box(i)));
}

function explain(k, m, servers, size) {
	const up = servers.filter((s) => s.state === 'up');
	const hosts = new Map();
	for (const s of up)
		hosts.set(s.host, (hosts.get(s.host) ?? 0) + 1);
	const usable = usableBytes(up.map((s) => s.free), k, m);
	const perHost = worstHost([...hosts.values()], k + m);
	const enough = up.length >= k + m;
	return [
		stripePicture(k, m, up.length),
		el('ul.explain',
			el('li', m === 0 ? t('noLoss') : t('mayLose', m, k + m)),
			enough && hosts.size > 0 && el('li', m > 0 && perHost <= m ? t('hostMayGo', hosts.size) : t('hostMayNotGo', perHost, hosts.size)),
			el('li', t('costs', ((k + m) / k).toFixed(2).replace(/\.?0+$/, ''))),
			enough && el('li', t('usableNow', bytes(usable))),
			el('li', k === 1 ? t('speedMirror') : m > 2 || k > 8 ? t('speedWide') : t('speedUsual'))),
		!enough && notice('bad', el('p', t('tooFewServers', k + m, up.length))),
		enough && Number.isFinite(size) && size > usable && notice('warn', el('p', t('thinTooBig', bytes(size), bytes(usable)))),
	];
}

export default async function create({ main, here, watch }) {
	let { servers } = await get('/servers'), last = null;
	const up = servers.filter((s) => s.state === 'up').length;
	const best = [...PRESETS].reverse().find(([k, m]) => k <= 4 && k + m <= up) ?? [4, 2];
	const picture = el('div.picture', { 'aria-live': 'polite' }), error = el('div');
	const name = el('input', { name: 'name', required: true, autocomplete: 'off', spellcheck: 'false', maxlength: '63', pattern: '[A-Za-z0-9][A-Za-z0-9._\\-]*' });
	const size = el('input', { name: 'size', required: true, autocomplete: 'off', value: '10G', inputmode: 'text' });
	const number = (n, value, min, max) => el('input', { name: n, type: 'number', min: String(min), max: String(max), value: String(value), required: true });
	const k = number('k', best[0], 1, K_MAX), m = number('m', best[1], 0, M_MAX);
	const unit = select('unit', [4096, 8192, 16384, 32768, 65536, 131072, 262144].map((u) => [String(u), bytes(u)]), '65536');
	const button = el('button.primary', { type: 'submit' }, t('createVolume'));
	const presets = PRESETS.map(([pk, pm]) => el('button.small', {
		type: 'button', onclick: () => {
			k.value = pk;
			m.value = pm;
			update();
		},
	}, t('kPlusM', pk, pm)));
	const update = () => {
		const bytesWanted = parseSize(size.value);
		size.setCustomValidity(bytesWanted >= 4096 ? '' : t('noSize'));
		presets.forEach((b, i) => b.setAttribute('aria-pressed', String(Number(k.value) === PRESETS[i][0] && Number(m.value) === PRESETS[i][1])));
		const kn = Math.min(K_MAX, Math.max(1, Number(k.value) || 1)), mn = Math.min(M_MAX, Math.max(0, Number(m.value) || 0));
		replace(picture, explain(kn, mn, servers, bytesWanted));
	};
	const submit = async (event) => {
		event.preventDefault();
		button.disabled = true;
		replace(error);
		try {
			await post('/volumes', { name: name.value, size: parseSize(size.value), k: Number(k.value), m: Number(m.value), unit: Number(unit.value) });
			toast(t('volumeCreated', name.value));
			if (here())
				go(`volumes/${encodeURIComponent(name.value)}`);
		} catch (refused) {
			replace(error, failure(refused));
			button.disabled = false;
		}
	};
	replace(main, el('p', el('a.backlink', { href: '#/volumes' }, icon('back'), t('volumes'))), el('h1', t('newVolume')),
		el('div.columns.form', el('form.panel', { oninput: update, onsubmit: submit },
			field(t('name'), name, t('nameHint')), field(t('size'), size, t('sizeHint')),
			el('fieldset', el('legend', t('profile')), el('div.presets', presets),
				el('div.pair', field(t('dataShards'), k), field(t('parityShards'), m))),
			el('details', el('summary', t('more')), field(t('unit'), unit, t('unitHint'))),
			error, el('div.actions', el('a.button', { href: '#/volumes' }, t('cancel')), button)),
		el('section.panel', el('h2', t('whatItMeans')), picture)));
	update();
	name.focus();
	// servers that come, go or fill up meanwhile
	watch(live((event) => {
		if (event && last !== null && last !== event.last_event)
			get('/servers').then((fresh) => {
				servers = fresh.servers;
				update();
			}, () => {}); // with the next event
		last = event?.last_event ?? last;
	}));
}
