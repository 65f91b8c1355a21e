// How an event reads: its sentence comes from its word, in the page's language.
import { el } from './dom.js';
import { ago, moment } from './format.js';
import { allSaid, inWords, said, t } from './i18n.js';

const TONES = { 'server.down': 'bad', 'server.older': 'bad', 'server.lost': 'warn', 'login.failed': 'warn', 'volume.deleted': 'warn', 'server.removed': 'warn', 'server.up': 'good', 'server.emptied': 'good' };
const PLACES = { volume: 'volumes', server: 'servers' };

// Details that are words of ours, and no names or paths.
const WORDS = /^(?:server|person|token|invitation|settings|command)\./;

function detailOf(e) {
	return WORDS.test(e.what) ? inWords(e.detail, undefined, true) : e.detail;
}

export function eventText(e) {
	const text = said('eventTexts', e.what);
	return typeof text === 'function' ? text(e.object, detailOf(e)) : `${e.what} ${e.object}`;
}

// What the sentence does not say already.
function detailText(e) {
	return e.what.startsWith('login') ? t('fromAddress', e.detail.replace(/^from /, '')) : detailOf(e);
}

// What was typed, as volmgr looks for it: each word with the words of those events whose sentences have it.
const WORDS_MAX = 8;

export function eventQuery(typed) {
	const sentences = allSaid('eventTexts').map(([what, text]) => [what, `${text('', '')} ${text('\0', '\0')}`.toLowerCase()]);
	return typed.toLowerCase().replaceAll('|', ' ').split(/\s+/).filter(Boolean).slice(0, WORDS_MAX)
		.map((word) => [word, ...sentences.filter(([what, text]) => text.includes(word) && !what.includes(word)).map(([what]) => what)].join('|')).join(' ');
}

export function eventRow(e, full = false) {
	const place = PLACES[e.what.split('.')[0]];
	const gone = /deleted|removed/.test(e.what);
	const text = eventText(e), detail = text.includes(detailOf(e)) ? '' : detailText(e);
	return el('li.event', { 'data-key': String(e.number) },
		el(`span.dot.${TONES[e.what] ?? 'plain'}`, { 'aria-hidden': 'true' }),
		el('div', el('p', place && e.object && !gone ? el('a', { href: `#/${place}/${encodeURIComponent(e.object)}` }, text) : text),
			full && detail && el('p.hint', detail),
			el('p.hint', e.who ? t('byWhom', e.who) : t('byItself'), ' · ', el('time', { datetime: new Date(e.time).toISOString(), title: moment(e.time / 1000) }, full ? moment(e.time / 1000) : ago(e.time / 1000)))));
}
