// How an event reads: its sentence comes from its word, in the page's language.
import { el } from './dom.js';
import { ago, moment } from './format.js';
import { said, t } from './i18n.js';

const TONES = { 'server.down': 'bad', 'server.older': 'bad', 'login.failed': 'warn', 'volume.deleted': 'warn', 'server.removed': 'warn', 'server.up': 'good' };
const PLACES = { volume: 'volumes', server: 'servers' };

export function eventText(e) {
	const text = said('eventTexts', e.what);
	return typeof text === 'function' ? text(e.object, e.detail) : `${e.what} ${e.object}`;
}

export function eventRow(e, full = false) {
	const place = PLACES[e.what.split('.')[0]];
	const gone = /deleted|removed/.test(e.what);
	return el('li.event', { 'data-key': String(e.number) },
		el(`span.dot.${TONES[e.what] ?? 'plain'}`, { 'aria-hidden': 'true' }),
		el('div', el('p', place && e.object && !gone ? el('a', { href: `#/${place}/${encodeURIComponent(e.object)}` }, eventText(e)) : eventText(e)),
			full && e.detail && el('p.hint', e.detail),
			el('p.hint', e.who ? t('byWhom', e.who) : t('byItself'), ' · ', el('time', { datetime: new Date(e.time).toISOString(), title: moment(e.time / 1000) }, full ? moment(e.time / 1000) : ago(e.time / 1000)))));
}
