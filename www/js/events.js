// How an event reads: its sentence comes from its word, in the page's language.
import { el } from './dom.js';
import { ago, moment } from './format.js';
import { said, t } from './i18n.js';

const TONES = { 'server.down': 'bad', 'server.older': 'bad', 'login.failed': 'warn', 'volume.deleted': 'warn', 'server.removed': 'warn', 'server.up': 'good', 'server.emptied': 'good' };
const PLACES = { volume: 'volumes', server: 'servers' };

export function eventText(e) {
	const text = said('eventTexts', e.what);
	return typeof text === 'function' ? text(e.object, e.detail) : `${e.what} ${e.object}`;
}

// What the sentence does not say already.
function detailText(e) {
	return e.what.startsWith('login') ? t('fromAddress', e.detail.replace(/^from /, '')) : e.detail;
}

export function eventRow(e, full = false) {
	const place = PLACES[e.what.split('.')[0]];
	const gone = /deleted|removed/.test(e.what);
	const text = eventText(e), detail = text.includes(e.detail) ? '' : detailText(e);
	return el('li.event', { 'data-key': String(e.number) },
		el(`span.dot.${TONES[e.what] ?? 'plain'}`, { 'aria-hidden': 'true' }),
		el('div', el('p', place && e.object && !gone ? el('a', { href: `#/${place}/${encodeURIComponent(e.object)}` }, text) : text),
			full && detail && el('p.hint', detail),
			el('p.hint', e.who ? t('byWhom', e.who) : t('byItself'), ' · ', el('time', { datetime: new Date(e.time).toISOString(), title: moment(e.time / 1000) }, full ? moment(e.time / 1000) : ago(e.time / 1000)))));
}
