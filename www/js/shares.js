// Sharing: the dialog, and lists of spaces and shares, which several places show.
import { el, icon, replace } from './dom.js';
import { del, get, post } from './api.js';
import { moment } from './format.js';
import { t } from './i18n.js';
import { badge, commands, confirmPlain, dialog, dialogAfter, failure, field, once, select, toast } from './ui.js';
import { nameOf, parentOf } from './tagger.js';

const LINK_DAYS = 7;

export const linkOf = (secret) => `${location.origin}${location.pathname}#/shared/${secret}`;
// Where a space or share is on the page: its folder, or the one that a file is in.
export const placeOf = (s) => `#/files?in=${encodeURIComponent(s.folder === false ? parentOf(s.path) : s.path)}`;

// ---- giving ---------------------------------------------------------------------

// A person, or a link: what is asked for depends on it.
export function share(f, done = () => {}) {
	return dialogAfter(get('/shares'), ({ people }) => give(f, people, done));
}

function give(f, people, done) {
	const days = el('input', { name: 'days', type: 'number', min: '1', max: '3650', value: String(LINK_DAYS), required: true });
	const label = field(t('label'), el('input', { name: 'label', maxlength: '64', autocomplete: 'off' }), t('linkLabelHint'));
	const right = field(t('right'), select('write', [['', t('mayLook')], ['1', t('mayWrite')]], ''), t('mayWriteHint'));
	const to = select('to', [['', t('byLink')], ...people.map((p) => [p, p])], '', () => {
		label.hidden = to.value !== '';
		right.hidden = to.value === '';
		days.required = to.value === '';
		days.value = to.value === '' ? String(LINK_DAYS) : '';
	});
	right.hidden = true;
	dialog({
		title: t('shareTitle', f.name), submit: t('share'),
		body: [field(t('shareWith'), to, t('shareHint')), right, field(t('days'), days, t('shareDaysHint')), label],
		check: (form) => to.value !== '' || Number(form.elements.days.value) > 0,
		done: async (form) => {
			const given = await post('/shares', {
				path: f.path, person: to.value, write: to.value !== '' && form.elements.write.value === '1',
				label: to.value === '' ? form.elements.label.value.trim() : '', days: Number(form.elements.days.value) || 0,
			});
			done();
			if (given.secret)
				dialog({ title: t('linkMade'), body: [el('p', t('linkOnce')), commands(linkOf(given.secret))], submit: t('done') });
			else
				toast(t('sharedWith', given.person));
		},
	});
}

// ---- what there is -------------------------------------------------------------------

function stateOf(s) {
	if (s.gone)
		return badge('waiting', t('shareGone'));
	return s.live ? null : badge('down', t('shareOver'));
}

function shareRow(s, given, load) {
	const end = given ? t('endShare') : t('takeOff');
	return el('li', el('div', el('p', el('a', { href: placeOf(s) }, nameOf(s.path)), ' ', stateOf(s)),
		el('p.hint', [given ? (s.person ? t('withWhom', s.person) : s.label ? t('linkFor', s.label) : t('byLink')) : t('sharedBy', s.giver), s.person && t(s.write ? 'toChange' : 'toLook'),
			s.expires ? t('endsAt', moment(s.expires)) : t('noEnd'), parentOf(s.path)].filter(Boolean).join(' · '))),
	el('button.small', {
		'aria-label': `${end}: ${nameOf(s.path)}`,
		onclick: once(() => del(`/shares/${s.id}`).then(load, (error) => toast(error.message, 'bad'))),
	}, end));
}

// What one has given and received.
export async function ownShares(place) {
	const load = async () => {
		try {
			const { given, received } = await get('/shares');
			replace(place, el('h2', t('shares')), el('h3', t('received')), received.length ? el('ul.rows', received.map((s) => shareRow(s, false, load))) : el('p.hint', t('nothingReceived')),
				el('h3', t('given')), given.length ? el('ul.rows', given.map((s) => shareRow(s, true, load))) : el('p.hint', t('nothingGiven')));
		} catch (error) {
			replace(place, failure(error, load));
		}
	};
	await load();
}

// ---- spaces, for admins ------------------------------------------------------------------

function newSpace(people, done) {
	dialog({
		title: t('newSpace'), submit: t('create'),
		body: [field(t('folder'), el('input', { name: 'path', autocomplete: 'off' }), t('spaceHint')),
			field(t('forWhom'), select('person', [['', t('everybody')], ...people.map((p) => [p.name, p.name])], '')),
			field(t('right'), select('write', [['', t('mayLook')], ['1', t('mayChangeIt')]], ''))],
		done: async (form) => {
			await post('/spaces', { path: form.elements.path.value.trim().replace(/^\/+|\/+$/g, ''), person: form.elements.person.value, write: form.elements.write.value === '1' });
			done();
		},
	});
}

function spaceRow(s, load) {
	return el('li', el('div', el('p', el('a', { href: placeOf(s) }, s.path || t('allFiles'))), el('p.hint', `${s.person || t('everybody')} · ${t(s.write ? 'toChange' : 'toLook')}`)),
		el('button.small.danger', {
			'aria-label': `${t('remove')}: ${s.path}`,
			onclick: () => confirmPlain({
				title: t('removeSpaceTitle', s.path || t('allFiles')), submit: t('remove'), text: el('p', t('removeSpaceText')),
				done: async () => {
					await del(`/spaces/${s.id}`);
					load();
				},
			}),
		}, icon('trash')));
}

export async function allSpaces(place) {
	const load = async () => {
		try {
			const { on, spaces } = await get('/spaces');
			const some = spaces.filter((s) => !s.home);
			replace(place, el('div.head', el('h2', t('spaces')), el('button', { onclick: () => dialogAfter(get('/people'), ({ people }) => newSpace(people, load)) }, icon('plus'), t('newSpace'))),
				el('p', t(on ? 'spacesOn' : 'spacesOff'), ' ', !on && el('a', { href: '#/settings' }, t('settings'))), el('ul.rows', some.map((s) => spaceRow(s, load))));
		} catch (error) {
			replace(place, failure(error, load));
		}
	};
	await load();
}

// ---- above the files ------------------------------------------------------------------------

// Ways to what is one's own and what one was given. Asking makes one's own folder, if it is missing.
export async function shortcuts() {
	const [{ spaces }, { received }] = await Promise.all([get('/spaces'), get('/shares')]);
	const all = [...spaces.map((s) => [s, s.home ? t('ownSpace') : s.path ? nameOf(s.path) : t('allFiles'), 'files']), ...received.filter((s) => s.live).map((s) => [s, nameOf(s.path), 'link'])];
	return all.length > 0 && el('nav', { 'aria-label': t('spaces') }, el('ul.chips', all.map(([s, name, picture]) => el('li', el('a.button.small', { href: placeOf(s), title: s.giver && picture === 'link' ? t('sharedBy', s.giver) : s.path }, icon(picture), name)))));
}
