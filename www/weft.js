// The page of weft: asks volmgr's API every ten seconds and shows what it says. Everything that comes from
// there is put in as text, never as HTML.
const REFRESH_MS = 10000;
const TIMEOUT_MS = 8000;
const FULL_PART = 0.9;

const TEXTS = {
	en: {
		volumes: 'Volumes', servers: 'Servers', volume: 'volumes', up: 'servers up', free: 'free', used: 'used',
		of: (a, b) => `${a} of ${b}`, size: 'Size', usage: 'Used', shards: 'Shards', unit: 'Stripe unit',
		clients: 'Clients', address: 'Address', host: 'Host', freeSpace: 'Free', held: 'Shards held',
		ec: (k, m) => `${k} data + ${m} parity`, fine: 'Everything is fine.',
		noServers: 'No servers yet. Add one: ', noVolumes: 'No volumes yet. Make one: ',
		away: (n, all) => `${n} of ${all} servers cannot be reached.`,
		state: (s) => `The state is "${s}".`,
		lost: 'volmgr does not answer. Is it running? What is shown below is old.',
		updated: (t) => `Updated ${t}, every ten seconds. Change things with volctl on volmgr's machine.`,
		states: {},
	},
	zh: {
		volumes: '卷', servers: '服务器', volume: '个卷', up: '台服务器在线', free: '可用', used: '已用',
		of: (a, b) => `${a} / ${b}`, size: '容量', usage: '已用', shards: '分片', unit: '条带单元',
		clients: '客户端', address: '地址', host: '主机', freeSpace: '可用', held: '存放的分片',
		ec: (k, m) => `${k} 个数据 + ${m} 个校验`, fine: '一切正常。',
		noServers: '还没有服务器。添加一台:', noVolumes: '还没有卷。创建一个:',
		away: (n, all) => `${all} 台服务器中有 ${n} 台无法连接。`,
		state: (s) => `当前状态:“${s}”。`,
		lost: 'volmgr 没有响应。它在运行吗?下面显示的是旧数据。',
		updated: (t) => `更新于 ${t},每十秒刷新一次。如需更改,请在 volmgr 所在的机器上使用 volctl。`,
		states: {
			ok: '正常', up: '在线', down: '离线', connecting: '连接中', 'wrong store': '存储不符', ready: '就绪',
			starting: '启动中', failed: '故障', deleting: '删除中',
		},
	},
};

const chinese = (navigator.language || 'en').toLowerCase().startsWith('zh');
const T = TEXTS[chinese ? 'zh' : 'en'];

function element(tag, className, ...children) {
	const e = document.createElement(tag);
	if (className)
		e.className = className;
	e.append(...children);
	return e;
}

function bytes(n) {
	if (!Number.isFinite(n))
		return '–';
	const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
	let i = 0;
	while (n >= 1024 && i < units.length - 1) {
		n /= 1024;
		i++;
	}
	return `${Number(n.toFixed(1))} ${units[i]}`;
}

function tone(state) {
	if (state === 'ok' || state === 'up' || state === 'ready')
		return 'good';
	return state === 'down' || state === 'failed' || state === 'wrong store' ? 'bad' : 'warn';
}

function badge(state) {
	return element('span', `badge ${tone(state)}`, T.states[state] ?? String(state ?? '?'));
}

function meter(used, size) {
	const p = element('progress', size > 0 && used / size > FULL_PART ? 'full' : '');
	p.max = 1;
	p.value = size > 0 ? Math.min(1, used / size) : 0;
	return p;
}

function details(pairs) {
	const dl = element('dl');
	for (const [name, value] of pairs)
		if (value !== undefined && value !== null && value !== '')
			dl.append(element('dt', '', name), element('dd', '', String(value)));
	return dl;
}

function count(value) {
	return Array.isArray(value) ? value.length : value ?? 0;
}

function volumeCard(v) {
	return element('article', 'card',
		element('h3', '', element('span', '', v.name), badge(v.state)),
		meter(v.used, v.size),
		details([
			[T.usage, T.of(bytes(v.used), bytes(v.size))],
			[T.shards, T.ec(v.k, v.m)],
			[T.unit, bytes(v.unit)],
			[T.clients, count(v.clients)],
		]));
}

function serverCard(s) {
	return element('article', 'card',
		element('h3', '', element('span', '', s.name), badge(s.state)),
		meter(s.size - s.free, s.size),
		details([
			[T.freeSpace, T.of(bytes(s.free), bytes(s.size))],
			[T.held, s.slots_used],
			[T.address, s.address],
			[T.host, s.host],
		]));
}

function fact(value, name) {
	return element('div', 'fact', element('b', '', value), element('span', '', name));
}

function cards(id, list, card, none, command) {
	const place = document.getElementById(id);
	if (list.length > 0)
		place.replaceChildren(...list.map(card));
	else
		place.replaceChildren(element('p', 'none', none, element('code', '', command)));
}

function showState(status) {
	const place = document.getElementById('state');
	const servers = status.servers ?? {};
	const away = (servers.total ?? 0) - (servers.up ?? 0);
	let sentence = T.fine;
	if (status.state !== 'ok')
		sentence = status.message || T.state(status.state);
	else if (away > 0)
		sentence = T.away(away, servers.total);
	place.className = `state ${away > 0 && status.state === 'ok' ? 'warn' : tone(status.state)}`;
	place.replaceChildren(element('p', '', sentence));
	for (const more of [status.hint, status.warning])
		if (more)
			place.append(element('p', '', more));
}

function show(status, servers, volumes) {
	showState(status);
	document.getElementById('version').textContent = status.version ?? '';
	document.getElementById('facts').replaceChildren(
		fact(bytes(status.free), T.free),
		fact(bytes(status.size - status.free), T.used),
		fact(T.of(status.servers?.up ?? 0, status.servers?.total ?? 0), T.up),
		fact(String(status.volumes ?? volumes.length), T.volume));
	cards('volumes', volumes, volumeCard, T.noVolumes, 'volctl volume create NAME --size SIZE');
	cards('servers', servers, serverCard, T.noServers, 'volctl server add ADDRESS');
	document.getElementById('updated').textContent = T.updated(new Date().toLocaleTimeString());
}

async function ask(path) {
	const answer = await fetch(`api/v1/${path}`, { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
	if (!answer.ok)
		throw new Error(`${path}: ${answer.status}`);
	const body = await answer.json();
	return body[path] !== undefined && path !== 'status' ? body[path] : body;
}

async function refresh() {
	try {
		show(...await Promise.all([ask('status'), ask('servers'), ask('volumes')]));
	} catch (error) {
		console.warn(error);
		const place = document.getElementById('state');
		place.className = 'state bad';
		place.replaceChildren(element('p', '', T.lost));
	}
}

async function forever() {
	if (!document.hidden)
		await refresh();
	setTimeout(forever, REFRESH_MS);
}

document.documentElement.lang = chinese ? 'zh-CN' : 'en';
for (const e of document.querySelectorAll('[data-text]'))
	e.textContent = T[e.dataset.text];
document.addEventListener('visibilitychange', () => document.hidden || refresh());
forever();
