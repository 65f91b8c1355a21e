// Pieces that pages share: messages, dialogs, bars, tables, copying.
import { el, icon, replace } from './dom.js';
import { bytes, exact, percent } from './format.js';
import { t } from './i18n.js';
import { onceBack } from './live.js';

// ---- messages -------------------------------------------------------------

// A note for a while, above all else, dialogs too.
export function note(e, ms) {
	const place = document.getElementById('toasts');
	place.append(e);
	if (place.matches(':popover-open'))
		place.hidePopover(); // what was opened last is above
	place.showPopover();
	setTimeout(() => e.remove(), ms);
}

export function toast(text, tone = 'good') {
	note(el(`div.toast.${tone}`, icon(tone === 'good' ? 'good' : tone), el('span', text)), tone === 'good' ? 4000 : 9000);
}

// What went wrong and what to do, in place of what could not be shown. When volmgr was away, it is tried again as
// soon as it is back.
export function failure(error, again) {
	const e = el('div.notice.bad', { role: 'alert' }, icon('bad'), el('div',
		el('p', el('strong', error.message)),
		error.hint && el('p', error.hint),
		again && el('p', el('button', { onclick: again }, t('tryAgain')))));
	if (again && error.status === 0)
		onceBack(() => e.isConnected && again());
	return e;
}

export function notice(tone, ...children) {
	return el(`div.notice.${tone}`, icon(tone === 'info' ? 'about' : tone), el('div', ...children));
}

export function empty(picture, title, text, action) {
	return el('div.empty', icon(picture), el('h2', title), el('p', text), action);
}

export function loading() {
	return el('div.loading', { role: 'status', 'aria-label': t('loading') }, el('i'), el('i'), el('i'));
}

// ---- states ---------------------------------------------------------------------

const TONES = {
	ok: 'good', up: 'good', ready: 'good', down: 'bad', failed: 'bad', unavailable: 'bad', 'wrong store': 'bad',
};

export function tone(state) {
	return TONES[state] ?? 'warn';
}

export function badge(state, text) {
	return el(`span.badge.${tone(state)}`, text);
}

export function bar(used, size, label) {
	const part = size > 0 ? Math.min(1, used / size) : 0;
	return el(`div.bar${part > 0.9 ? '.full' : ''}`, {
		role: 'meter', 'aria-valuemin': '0', 'aria-valuemax': '100', 'aria-valuenow': String(Math.round(part * 100)),
		'aria-label': label ?? t('usedOf', bytes(used), bytes(size)), title: t('usedOf', bytes(used), bytes(size)),
	}, el('i', { style: { width: `${(part * 100).toFixed(1)}%` } }));
}

export function usage(used, size) {
	return el('div.usage', bar(used, size), el('span', t('usedOf', bytes(used), bytes(size)), ' · ', percent(used, size)));
}

export function facts(...pairs) {
	return el('dl.facts', pairs.filter((p) => p && p[1] !== undefined && p[1] !== null && p[1] !== '')
		.map(([name, value]) => el('div', el('dt', name), el('dd', value))));
}

export function tile(name, value, more) {
	return el('div.tile', el('span.name', name), el('b', value), more && el('span.more', more));
}

// ---- dialogs ---------------------------------------------------------------------------

// A modal dialog with a form. fields: inputs; done(form): a promise; its refusal is shown in the dialog. Without done
// it only shows something.
export function dialog({ title, body, submit, danger, done, check }) {
	const error = el('div.error', { role: 'alert' });
	const button = el(`button.${danger ? 'danger' : 'primary'}`, { type: 'submit' }, submit);
	const form = el('form', { method: 'dialog' },
		el('h2', { id: 'dialog-title' }, title), el('div.body', body), error,
		el('div.actions', done && el('button', { type: 'button', onclick: () => box.close() }, t('cancel')), button));
	const box = el('dialog', { 'aria-labelledby': 'dialog-title' }, form);
	let busy = false;
	const checkNow = () => {
		button.disabled = busy || (check ? !check(form) : false);
	};
	form.addEventListener('input', checkNow);
	form.addEventListener('submit', async (event) => {
		event.preventDefault();
		if (button.disabled)
			return;
		button.disabled = busy = true;
		button.classList.add('busy');
		replace(error);
		try {
			await done?.(form);
			box.close();
		} catch (refused) {
			replace(error, failure(refused));
		}
		busy = false;
		button.classList.remove('busy');
		checkNow();
	});
	box.addEventListener('close', () => box.remove());
	document.body.append(box);
	checkNow();
	box.showModal();
	return box;
}

// What cannot be undone wants its name typed.
export function confirmName({ title, text, name, submit, done }) {
	dialog({
		title, submit, danger: true, done,
		body: [text, field(t('typeName', name), el('input', { name: 'confirm', autocomplete: 'off', required: true, spellcheck: 'false' }))],
		check: (form) => form.elements.confirm.value === name,
	});
}

export function confirmPlain({ title, text, submit, danger = true, done }) {
	dialog({ title, submit, danger, done, body: text });
}

// A dialog for which something is asked first: open(answer), once, unless the place was left meanwhile.
let asking = null;

export async function dialogAfter(asked, open) {
	const main = document.getElementById('main');
	if (asking === main)
		return;
	asking = main;
	try {
		const answer = await asked;
		if (main.isConnected)
			open(answer);
	} catch (error) {
		toast(error.message, 'bad');
	}
	if (asking === main)
		asking = null;
}

// What a button orders, once: not again before fn() has ended, and not by the second of two quick clicks, under
// which there may be another one by then.
export function once(fn) {
	return async (event) => {
		const button = event.currentTarget;
		if (button.disabled || event.detail > 1)
			return;
		button.disabled = true;
		try {
			await fn(event);
		} finally {
			button.disabled = false;
		}
	};
}

let ids = 0;

export function field(label, input, hint) {
	const control = input.matches?.('input, select, textarea') ? input : input.querySelector('input, select, textarea');
	const id = `f${++ids}`;
	control.id = id;
	if (hint)
		control.setAttribute('aria-describedby', `${id}-hint`);
	return el('div.field', el('label', { for: id }, label), input, hint && el('p.hint', { id: `${id}-hint` }, hint));
}

export function select(name, options, chosen, onchange, label) {
	return el('select', { name, onchange, 'aria-label': label },
		options.map(([value, text]) => el('option', { value, selected: value === chosen }, text)));
}

// ---- copying ---------------------------------------------------------------------------------

export async function copy(text) {
	try {
		await navigator.clipboard.writeText(text);
	} catch {
		const area = el('textarea', { value: text, style: { position: 'fixed', opacity: '0' } });
		area.value = text;
		(document.querySelector('dialog[open]') ?? document.body).append(area);
		area.select();
		document.execCommand('copy');
		area.remove();
	}
	toast(t('copied'));
}

export function commands(text) {
	return el('div.commands', el('pre', { tabindex: '0' }, el('code', text)),
		el('button.small', { type: 'button', onclick: () => copy(text), 'aria-label': t('copy') }, icon('copy'), t('copy')));
}

// ---- tabs -----------------------------------------------------------------------------------------

export function tabs(label, entries, chosen = 0) {
	const panel = el('div.tabpanel', { role: 'tabpanel' });
	const show = (i) => {
		buttons.forEach((b, n) => {
			b.setAttribute('aria-selected', String(n === i));
			b.tabIndex = n === i ? 0 : -1;
		});
		replace(panel, entries[i][1]());
	};
	const buttons = entries.map(([name], i) => el('button', {
		role: 'tab', type: 'button', onclick: () => show(i),
		onkeydown: (event) => {
			const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
			if (!step)
				return;
			const n = (i + step + entries.length) % entries.length;
			show(n);
			buttons[n].focus();
		},
	}, name));
	show(chosen);
	return el('div.tabs', el('div.tablist', { role: 'tablist', 'aria-label': label }, buttons), panel);
}

// ---- lists in pages -----------------------------------------------------------------------------------

export function pager(offset, limit, total, go) {
	if (total <= limit)
		return null;
	const to = Math.min(total, offset + limit), many = total > 2 * limit;
	return el('nav.pager', { 'aria-label': t('pages') },
		many && el('button', { onclick: () => go(0), disabled: offset === 0, 'aria-label': t('firstPage') }, icon('first')),
		el('button', { onclick: () => go(Math.max(0, offset - limit)), disabled: offset === 0, 'aria-label': t('previous') }, icon('back')),
		el('span', t('fromToOf', exact(offset + 1), exact(to), exact(total))),
		el('button', { onclick: () => go(offset + limit), disabled: to >= total, 'aria-label': t('next') }, icon('next')),
		many && el('button', { onclick: () => go(lastPage(limit, total)), disabled: to >= total, 'aria-label': t('lastPage') }, icon('last')));
}

// Where the last page begins: a list that was longer has no page behind it.
export function lastPage(limit, total) {
	return Math.max(0, Math.ceil(total / limit) - 1) * limit;
}

// Calls fn a while after the last of many calls.
export function debounce(fn, ms = 250) {
	let timer;
	return (...args) => {
		clearTimeout(timer);
		timer = setTimeout(() => fn(...args), ms);
	};
}
