// One volume: state, what goes on, how to attach it, where its extents are, settings.
import { el, icon, morph, replace } from './dom.js';
import { del, get, patch, post, query } from './api.js';
import { live } from './live.js';
import { bytes, count, parseSize } from './format.js';
import { inWords, said, t } from './i18n.js';
import { commands, confirmName, dialog, facts, failure, field, notice, select, tabs, toast, usage } from './ui.js';
import { charts } from './chart.js';
import { rebuildLine, scrubPanel, volumeBadge } from './health.js';
import { extentMap } from './map.js';
import { go, mayChange } from './main.js';

const awayOf = (status) => status.servers.total - status.servers.up;

// before: how many servers were away before v was asked for; of those that went since, each may be one that it needs.
function health(v, status, before) {
	const away = awayOf(status);
	const left = Math.max(0, v.spare - Math.max(0, away - before));
	if (v.state === 'failed')
		return notice('bad', el('p', t('volumeFailed', inWords(v.message))));
	if (v.state !== 'ready')
		return notice('warn', el('p', t('volumeNotReady', said('states', v.state))), v.message && el('p.hint', inWords(v.message)));
	if (v.spare < 0)
		return notice('bad', el('p', t('volumeEndangered')));
	if (v.rebuild.lost > 0)
		return notice('bad', el('p', t('volumeLost', v.rebuild.lost)), el('p.hint', t('volumeLostHint')));
	if (away > 0)
		return notice('warn', el('p', t('volumeLess', away, left)));
	if (v.rebuild.shards > 0 || left < v.m)
		return notice('warn', el('p', t('volumeRebuilds', left)));
	return notice('good', el('p', t('volumeFine', v.m)));
}

function details(v) {
	return facts([t('size'), bytes(v.size)], [t('used'), usage(v.used, v.size)], [t('profile'), `${t('kPlusM', v.k, v.m)} (${t('mayLoseShort', v.m)})`],
		[t('unit'), bytes(v.unit)], [t('extents'), count(v.extents)], [t('clients'), count(v.clients)], v.routed?.reads > 0 && [t('routed'), t('routedShare', Math.round(100 * v.routed.reads / (v.routed.reads + v.stat.reads)))],
		v.min !== undefined && [t('minShards'), t('minOf', v.min, v.k + v.m)], v.below_min && [t('belowMin'), t(`below_${v.below_min}`)], v.when_full && [t('whenFull'), t(`full_${v.when_full}`)],
		v.stat.degraded_reads > 0 && [t('degradedReads'), count(v.stat.degraded_reads)],
		v.stat.crc_errors > 0 && [t('crcErrors'), count(v.stat.crc_errors)],
		v.stat.waiting > 0 && [t('waiting'), count(v.stat.waiting)]);
}

// Where clients reach it: the address that NBD is served on, with this page's host when it is everywhere.
function uriOf(status, name) {
	const tcp = status.listen.find((l) => l.startsWith('tcp:'));
	if (!tcp)
		return { host: null, port: null, uri: `nbd+unix:///${name}?socket=${(status.listen[0] ?? '').replace(/^unix:/, '')}` };
	const [, host, port] = /^tcp:(.*):(\d+)$/.exec(tcp);
	const reach = ['0.0.0.0', '[::]', '::'].includes(host) ? location.hostname : host;
	return { host: reach, port, uri: `nbd://${reach}:${port}/${name}` };
}

// On volmgr's machine, by its commands: what to type is shown in any case.
function attachHere(v, status, refresh) {
	const can = (what) => mayChange() && status.commands?.includes(what);
	const order = async (event, what, said) => {
		const button = event.currentTarget;
		button.disabled = true;
		button.classList.add('busy');
		try {
			await post(`/volumes/${encodeURIComponent(v.name)}/${what}`);
			toast(t(said, v.name));
			await refresh();
		} catch (error) {
			toast(error.message, 'bad');
		}
		button.disabled = false;
		button.classList.remove('busy');
	};
	return el('div.attach-here',
		v.attached && notice('good', el('p', t('attachedAs', v.attached)), can('detach') && el('p', el('button', { onclick: (event) => order(event, 'detach', 'detached') }, t('detachNow')))),
		!v.attached && can('attach') && el('p', el('button.primary', { onclick: (event) => order(event, 'attach', 'attached') }, t('attachNow'))));
}

function attach(v, status, here) {
	const { host, port, uri } = uriOf(status, v.name);
	const near = host === null || /^(127\.|localhost|\[?::1)/.test(host);
	return el('section.panel', el('h2', t('attachTitle')),
		near && notice('info', el('p', t('attachNear'))),
		tabs(t('attachTitle'), [
			[t('attachHere'), () => [here(), el('p', t('attachHereText')), commands(`sudo volctl volume attach ${v.name}\nsudo mkfs.ext4 /dev/nbd0\nsudo mount /dev/nbd0 /mnt`), el('p.hint', t('mkfsHint')), el('p', t('detachText')), commands(`sudo umount /mnt\nsudo volctl volume detach ${v.name}`)]],
			['Linux', () => [el('p', t('attachLinux')), commands(host ? `sudo modprobe nbd\nsudo nbd-client -N ${v.name} ${host} ${port} /dev/nbd0 -persist -timeout 0` : `sudo modprobe nbd\nsudo nbd-client -N ${v.name} -unix ${status.listen[0]?.replace(/^unix:/, '')} /dev/nbd0`), el('p', t('detachText')), commands('sudo nbd-client -d /dev/nbd0')]],
			['QEMU', () => [el('p', t('attachQemu')), commands(`qemu-system-x86_64 -m 2G -accel kvm \\\n  -drive file=${uri},format=raw,if=virtio,cache=none,discard=unmap`)]],
			['Windows', () => [el('p', t('attachWindows')), commands(`wnbd-client.exe map ${v.name} ${host ?? 'HOST'} --port ${port ?? '10809'}\nGet-Disk`), el('p.hint', t('attachWindowsHint'))]],
			['fio, nbdcopy', () => [el('p', t('attachTools')), commands(`nbdinfo ${uri}\nnbdcopy ${uri} backup.img\nfio --name=test --ioengine=nbd --uri=${uri} --rw=randread --bs=4k --iodepth=32 --runtime=10 --time_based --size=100%`)]],
		]));
}

function resize(v, refresh) {
	dialog({
		title: t('resizeTitle', v.name), submit: t('resize'),
		body: [el('p', t('resizeText', bytes(v.size))), field(t('newSize'), el('input', { name: 'size', required: true, autocomplete: 'off', value: bytes(v.size).replace(' ', '').replace('iB', '') })),
			el('label.check', el('input', { type: 'checkbox', name: 'shrink' }), t('shrink'))],
		check: (form) => parseSize(form.elements.size.value) >= 4096 && (parseSize(form.elements.size.value) >= v.size || form.elements.shrink.checked),
		done: async (form) => {
			await patch(`/volumes/${encodeURIComponent(v.name)}`, { size: parseSize(form.elements.size.value), shrink: form.elements.shrink.checked });
			toast(t('resized', v.name));
			refresh();
		},
	});
}

// How careful writes are, and what happens when they cannot be done.
function settings(v, done) {
	dialog({
		title: t('settingsOf', v.name), submit: t('change'),
		body: [field(t('minShards'), el('input', { name: 'min', type: 'number', min: String(v.k), max: String(v.k + v.m), value: String(v.min), required: true }), t('minHint', v.k, v.k + v.m)),
			field(t('belowMin'), select('below_min', ['wait', 'fail'].map((x) => [x, t(`below_${x}`)]), v.below_min)),
			field(t('whenFull'), select('when_full', ['error', 'wait'].map((x) => [x, t(`full_${x}`)]), v.when_full))],
		done: async (form) => {
			await patch(`/volumes/${encodeURIComponent(v.name)}`, { min: Number(form.elements.min.value), below_min: form.elements.below_min.value, when_full: form.elements.when_full.value });
			toast(t('saved'));
			done();
		},
	});
}

function remove(v, here) {
	confirmName({
		title: t('deleteTitle', v.name), name: v.name, submit: t('delete'),
		text: [el('p', t('deleteText', bytes(v.used))), v.clients > 0 && notice('warn', el('p', t('deleteClients', v.clients)))],
		done: async () => {
			await del(`/volumes/${encodeURIComponent(v.name)}`);
			toast(t('deleted', v.name));
			if (here())
				go('volumes');
		},
	});
}

export default async function volume({ main, words, here: shown, watch }) {
	const name = words[1], path = `/volumes/${encodeURIComponent(name)}`;
	let status = await get('/status'), before = awayOf(status), v = await get(path);
	const top = el('div'), facts1 = el('section.panel');
	const here = () => attachHere(v, status, reload);
	const draw = () => {
		morph(top.firstChild ?? top.appendChild(el('div')), el('div', el('div.title', el('h1', v.name), volumeBadge(v)), health(v, status, before), rebuildLine(v.rebuild)));
		replace(facts1, el('h2', t('details')), details(v));
		const old = main.querySelector('.attach-here');
		if (old && !old.querySelector('.busy'))
			morph(old, here());
	};
	const reload = async () => {
		try {
			const then = awayOf(status);
			v = await get(path);
			before = then;
			draw();
		} catch (error) {
			if (error.status === 404)
				replace(main, failure(error));
		}
	};
	replace(main, el('p', el('a.backlink', { href: '#/volumes' }, icon('back'), t('volumes'))),
		el('div.head.wide', top, mayChange() && el('div.actions',
			el('button', { onclick: () => settings(v, reload) }, t('settings')),
			el('button', { onclick: () => resize(v, reload) }, t('resize')),
			el('button.danger', { onclick: () => remove(v, shown) }, icon('trash'), t('delete')))),
		el('div.columns', facts1, attach(v, status, here)),
		scrubPanel(name, watch),
		charts(['bytes', 'requests', 'latency', 'rebuild'], { volume: name }, (e) => e.busy[name], watch),
		extentMap(v, (from, limit) => get(query(`${path}/map`, { from, limit })), watch));
	draw();
	let last = null;
	watch(live((event) => {
		if (!event)
			return;
		status = event;
		if (last !== null && last !== event.last_event)
			reload();
		last = event.last_event;
		draw();
	}));
	const slowly = setInterval(reload, 15000);
	watch(() => clearInterval(slowly));
}
