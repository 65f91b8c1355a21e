// The shell of the page: who is here, where to go, what is shown. A place is the part of the address after
// the hash; each has a module that is loaded when it is first visited.
import { el, icon, replace } from './dom.js';
import { get, post, setCsrf, whenLoggedOut } from './api.js';
import { forget, live } from './live.js';
import { languageName, setLanguage, t, said } from './i18n.js';
import { failure, loading, toast, tone } from './ui.js';

const PLACES = [
	{ name: 'overview', module: 'overview' },
	{ name: 'volumes', module: 'volumes' },
	{ name: 'servers', module: 'servers' },
	{ name: 'files', module: 'files', when: (me) => me.tagger },
	{ name: 'graph', module: 'graph', when: (me) => me.tagger },
	{ name: 'events', module: 'events' },
	{ name: 'people', module: 'people', icon: 'people' },
	{ name: 'settings', module: 'settings' },
	{ name: 'about', module: 'about' },
];
const START_MS = 10000;
const OUTSIDE = { join: 'login', login: 'login', register: 'login', shared: 'shared' };

export const me = { name: '', role: 'none' };
const logo = el('img', { src: 'weft.svg', alt: '', width: '26', height: '26' }); // one for all places: it stays when volmgr is away
let leave = []; // what the shown page wants to be told when it goes
let shown = 0;

export const mayChange = () => me.role === 'admin';
// Sees spaces and shares only.
export const isHeld = () => Boolean(me.spaces) && me.role !== 'admin';

// ---- theme -------------------------------------------------------------------

export function theme() {
	return localStorage.getItem('weft-theme') ?? 'auto';
}

export function setTheme(name) {
	localStorage.setItem('weft-theme', name);
	applyTheme();
	document.dispatchEvent(new Event('themechange'));
}

function applyTheme() {
	const name = theme();
	document.documentElement.style.colorScheme = name === 'auto' ? 'light dark' : name;
}

// ---- going places ------------------------------------------------------------------

export function go(path) {
	location.hash = `#/${path}`;
}

function where() {
	const [path, search] = location.hash.replace(/^#\/?/, '').split('?');
	return { words: path.split('/').filter(Boolean).map(plain), search: new URLSearchParams(search ?? '') };
}

// What is typed into the address may be no text at all; then it is the name of nothing.
function plain(word) {
	try {
		return decodeURIComponent(word);
	} catch {
		return word;
	}
}

// "volumes/new" and "volumes/NAME" have modules of their own.
function moduleOf(words) {
	if (words[0] === 'volumes' && words[1] === 'new')
		return 'create';
	if (words[0] === 'volumes' && words[1])
		return 'volume';
	if (words[0] === 'servers' && words[1])
		return 'server';
	if (words[0] === 'files' && words[1] === 'bin')
		return 'bin';
	return Object.hasOwn(OUTSIDE, words[0]) ? OUTSIDE[words[0]] : PLACES.find((p) => p.name === words[0])?.module;
}

// A file of ours that does not come has the same cause as an answer that does not.
async function module(name) {
	try {
		return await import(`./page-${name}.js`);
	} catch (error) {
		throw error instanceof TypeError ? await get('/me').then(() => error, (away) => away) : error;
	}
}

async function show() {
	const { words, search } = where();
	if (words.length === 0)
		words.push('overview');
	const outside = Object.hasOwn(OUTSIDE, words[0]);
	if (me.name && words[0] === 'login') {
		location.replace('#/overview');
		return;
	}
	if (me.role === 'none' && !outside) {
		sessionStorage.setItem('weft-then', location.hash);
		location.replace('#/login');
		return;
	}
	const mine = ++shown;
	leave.forEach((fn) => fn());
	leave = [];
	const main = outside ? outsideShell(words[0] === 'shared') : insideShell(words[0]);
	replace(main, loading());
	const name = moduleOf(words);
	try {
		if (!name)
			throw Object.assign(new Error(t('noSuchPage')), { hint: t('noSuchPageHint') });
		const page = await module(name);
		if (mine !== shown)
			return;
		// who is left before they are there have nothing to wait for, and take nobody along
		const here = () => mine === shown;
		await page.default({ main, words, search, here, watch: (fn) => (here() ? leave.push(fn) : fn()), refresh: show });
	} catch (error) {
		if (mine === shown)
			replace(main, failure(error, show));
	}
	if (mine !== shown)
		return;
	const heading = main.querySelector('h1');
	document.title = heading ? `${heading.textContent} – weft` : 'weft';
}

// ---- the shell ---------------------------------------------------------------------------

function navigation(current) {
	return el('nav', { id: 'nav', 'aria-label': t('navigation') },
		PLACES.filter((p) => !p.when || p.when(me)).map((p) => el('a', {
			href: `#/${p.name}`, 'aria-current': p.name === current ? 'page' : null,
			onclick: () => document.body.classList.remove('nav-open'),
		}, icon(p.name), el('span', t(p.name)))));
}

function languageButton() {
	const other = languageName() === 'zh' ? 'en' : 'zh';
	return el('button.quiet', {
		lang: other === 'zh' ? 'zh-CN' : 'en',
		onclick: () => {
			setLanguage(other);
			document.getElementById('app').replaceChildren();
			show();
		},
	}, other === 'zh' ? '中文' : 'English');
}

async function logOut() {
	try {
		await post('/logout');
	} catch (error) {
		if (me.role === 'none')
			return; // it was over already
		toast(error.message, 'bad'); // who believes to be out leaves the machine to others
		return;
	}
	forget();
	setCsrf('');
	Object.assign(me, { name: '', role: 'none' });
	go('login');
}

function personMenu() {
	if (!me.name)
		return el('a.button', { href: '#/login' }, t('logIn'));
	return el('div.person', el('a', { href: '#/people', title: said('roles', me.role) }, icon('user'), el('span', me.name)),
		el('button.quiet', { onclick: logOut }, t('logOut')));
}

function stateLine() {
	const line = el('a.state', { href: '#/overview' });
	leave.push(live((event, connected) => {
		if (connected === false)
			recheck();
		if (connected === false)
			replace(line, el('span.dot.bad'), el('span', t('noConnection')));
		else if (event)
			replace(line, el(`span.dot.${tone(event.state)}`), el('span', said('states', event.state)));
		document.body.classList.toggle('offline', connected === false);
	}));
	return line;
}

function insideShell(current) {
	const app = document.getElementById('app');
	const main = el('main', { id: 'main', tabindex: '-1' });
	const menu = el('button.quiet.menu', {
		'aria-label': t('menu'), 'aria-controls': 'nav', 'aria-expanded': 'false',
		onclick: () => menu.setAttribute('aria-expanded', String(document.body.classList.toggle('nav-open'))),
	}, icon('menu'));
	document.body.classList.remove('nav-open');
	replace(app,
		el('header.top', menu, el('a.brand', { href: '#/overview' }, logo, 'weft'),
			stateLine(), el('span.space'), languageButton(), personMenu()),
		el('div.frame', navigation(current), main));
	document.querySelector('.skip').textContent = t('skip');
	return main;
}

function outsideShell(wide) {
	const main = el('main', { id: 'main', tabindex: '-1' });
	document.body.classList.remove('nav-open', 'offline');
	replace(document.getElementById('app'),
		el('header.top', el('span.brand', logo, 'weft'), el('span.space'), languageButton()),
		el(`div.outside${wide ? '.wide' : ''}`, main));
	document.querySelector('.skip').textContent = t('skip');
	return main;
}

// The stream of events has ended: is volmgr away, or are we not welcome any more?
async function recheck() {
	try {
		const now = await get('/me');
		if (now.role === me.role && now.name === me.name)
			return;
		Object.assign(me, now);
		setCsrf(now.csrf);
		show();
	} catch {
		// still away
	}
}

// ---- start -----------------------------------------------------------------------------------

// After logging in: who is it, and back to where they wanted to go.
export function welcome(answer) {
	Object.assign(me, answer);
	setCsrf(answer.csrf);
	forget();
	const then = sessionStorage.getItem('weft-then');
	sessionStorage.removeItem('weft-then');
	location.replace(then && !/#\/(?:login|join|register)/.test(then) ? then : '#/overview'); // nobody goes back to the form
}

whenLoggedOut(() => {
	if (me.role === 'none')
		return;
	Object.assign(me, { name: '', role: 'none' });
	forget();
	toast(t('sessionEnded'), 'warn');
	show();
});

addEventListener('hashchange', () => {
	document.querySelectorAll('dialog[open]').forEach((d) => d.close());
	show().then(() => {
		const main = document.getElementById('main');
		if (!main?.contains(document.activeElement)) // who was faster than the page goes on where they are
			main?.focus({ preventScroll: true });
	});
	scrollTo(0, 0);
});

async function start() {
	applyTheme();
	module(moduleOf(where().words) ?? 'overview').catch(() => {}); // meanwhile
	try {
		Object.assign(me, await get('/me'));
		setCsrf(me.csrf);
	} catch (error) {
		const notice = failure(Object.assign(error, { status: -1 }), start); // without an answer nobody knows who asks: no stream
		replace(document.getElementById('app'), el('div.outside', el('main', { id: 'main' }, notice)));
		setTimeout(() => notice.isConnected && start(), START_MS);
		return;
	}
	await show();
	// so that each place comes at once, and when volmgr is away as well
	requestIdleCallback(() => [...new Set([...PLACES.filter((p) => !p.when || p.when(me)).map((p) => p.module), 'volume', 'server'])].forEach((name) => module(name).catch(() => {})));
}

start();
