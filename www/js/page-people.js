// One's own account: password, sessions, tokens. For admins: people, roles, invitations.
import { el, icon, replace } from './dom.js';
import { del, get, patch, post } from './api.js';
import { ago, moment } from './format.js';
import { said, t } from './i18n.js';
import { badge, commands, confirmName, confirmPlain, dialog, empty, failure, field, notice, once, select, toast } from './ui.js';
import { mayChange, me } from './main.js';
import { allSpaces, ownShares } from './shares.js';

const ROLES = ['admin', 'user', 'read-only'];
const roleOptions = (most) => ROLES.slice(ROLES.indexOf(most)).map((r) => [r, said('roles', r)]);

// ---- one's own -------------------------------------------------------------------

function changePassword() {
	dialog({
		title: t('changePassword'), submit: t('change'),
		body: [field(t('oldPassword'), el('input', { name: 'old', type: 'password', required: true, autocomplete: 'current-password' })),
			field(t('newPassword'), el('input', { name: 'fresh', type: 'password', required: true, autocomplete: 'new-password', minlength: '8' }), t('passwordHint'))],
		check: (form) => form.elements.old.value && form.elements.fresh.value.length >= 8,
		done: async (form) => {
			await post('/password', { old: form.elements.old.value, new: form.elements.fresh.value });
			toast(t('passwordChanged'));
		},
	});
}

// A secret that is shown once.
function showSecret(title, text, secret) {
	dialog({ title, body: [el('p', text), commands(secret)], submit: t('done') });
}

function newToken(done) {
	dialog({
		title: t('newToken'), submit: t('create'),
		body: [el('p', t('tokenText')), field(t('label'), el('input', { name: 'label', required: true, maxlength: '64', autocomplete: 'off' })),
			field(t('role'), select('role', roleOptions(me.role), 'read-only')),
			field(t('days'), el('input', { name: 'days', type: 'number', value: '365', min: '1', max: '3650' }))],
		check: (form) => form.elements.label.value.trim() !== '',
		done: async (form) => {
			const answer = await post('/tokens', { label: form.elements.label.value.trim(), role: form.elements.role.value, days: Number(form.elements.days.value) });
			done();
			showSecret(t('tokenMade'), t('tokenOnce'), answer.secret);
		},
	});
}

function ticketList(list, path, load, text) {
	return el('ul.rows', list.map((x) => el('li', el('div', el('p', x.label || t('noLabel'), x.current && badge('ok', t('thisOne'))),
		el('p.hint', text(x))), el('button.small', {
		'aria-label': `${t(path === '/sessions' ? 'end' : 'remove')}: ${x.label}`,
		onclick: once(() => del(`${path}/${x.id}`).then(load, (error) => toast(error.message, 'bad'))),
	}, t(path === '/sessions' ? 'end' : 'remove')))));
}

// It has ended by itself, or somewhere else, which is as well.
function gone(error) {
	if (error.status !== 404)
		throw error;
}

function endOthers(sessions, load) {
	const others = sessions.filter((s) => !s.current);
	confirmPlain({
		title: t('endOthersTitle', others.length), submit: t('end'), text: el('p', t('endOthersText')),
		done: async () => {
			for (const s of others)
				await del(`/sessions/${s.id}`).catch(gone);
			load();
		},
	});
}

async function account(place) {
	const load = async () => {
		try {
			const [{ sessions }, { tokens }] = await Promise.all([get('/sessions'), get('/tokens')]);
			replace(place, el('div.head', el('h2', t('account')), el('button', { onclick: changePassword }, t('changePassword'))),
				el('p', t('youAre', me.name, said('roles', me.role))),
				el('div.head', el('h3', t('sessions')), sessions.length > 1 && el('button.small', { onclick: () => endOthers(sessions, load) }, t('endOthers'))), ticketList(sessions.sort((a, b) => (b.current ?? false) - (a.current ?? false) || b.seen - a.seen), '/sessions', load, (s) => t('seenAgo', ago(s.seen))),
				el('div.head', el('h3', t('tokens')), el('button.small', { onclick: () => newToken(load) }, icon('plus'), t('newToken'))),
				tokens.length ? ticketList(tokens, '/tokens', load, (x) => `${said('roles', x.role)} · ${t('endsAt', moment(x.expires))}`) : el('p.hint', t('noTokens')));
		} catch (error) {
			replace(place, failure(error, load));
		}
	};
	await load();
}

// ---- everybody ----------------------------------------------------------------------------

function invite(done) {
	dialog({
		title: t('invite'), submit: t('create'),
		body: [el('p', t('inviteText')), field(t('role'), select('role', roleOptions('admin'), 'user'), t('rolesHint')),
			field(t('label'), el('input', { name: 'label', maxlength: '64', autocomplete: 'off' }), t('inviteLabelHint'))],
		done: async (form) => {
			const answer = await post('/invitations', { role: form.elements.role.value, label: form.elements.label.value.trim() });
			done();
			showSecret(t('inviteMade'), t('inviteOnce'), `${location.origin}${location.pathname}#/join/${answer.secret}`);
		},
	});
}

function newPassword(p) {
	dialog({
		title: t('setPasswordFor', p.name), submit: t('change'),
		body: field(t('newPassword'), el('input', { name: 'fresh', type: 'password', required: true, autocomplete: 'new-password', minlength: '8' }), t('passwordHint')),
		check: (form) => form.elements.fresh.value.length >= 8,
		done: async (form) => {
			await patch(`/people/${encodeURIComponent(p.name)}`, { password: form.elements.fresh.value });
			toast(t('passwordChanged'));
		},
	});
}

function personRow(p, load) {
	const path = `/people/${encodeURIComponent(p.name)}`;
	const change = (body) => patch(path, body).then(load, (error) => {
		toast(error.message, 'bad');
		load();
	});
	return el('tr', el('th', { scope: 'row' }, p.name, p.name === me.name && badge('ok', t('you'))),
		el('td', { 'data-name': t('role') }, select('role', roleOptions('admin'), p.role, (event) => change({ role: event.target.value }), t('roleOf', p.name))),
		el('td', { 'data-name': t('state') }, p.waiting ? [badge('waiting', t('waits')), ' ', el('button.small.primary', { onclick: once(() => change({ waiting: false })) }, t('approve'))] : badge('ok', t('active'))),
		el('td', { 'data-name': t('lastLogin') }, p.seen ? ago(p.seen) : t('never')),
		el('td.right', el('button.small', { onclick: () => newPassword(p) }, t('setPassword')), ' ',
			el('button.small.danger', {
				onclick: () => confirmName({
					title: t('removePersonTitle', p.name), name: p.name, submit: t('remove'), text: el('p', t('removePersonText')),
					done: async () => {
						await del(path);
						load();
					},
				}), 'aria-label': `${t('remove')}: ${p.name}`,
			}, icon('trash'))));
}

async function everybody(place) {
	const load = async () => {
		try {
			const [{ people }, { invitations }] = await Promise.all([get('/people'), get('/invitations')]);
			people.sort((a, b) => Number(b.waiting) - Number(a.waiting) || a.name.localeCompare(b.name));
			replace(place, el('div.head', el('h2', t('everybody')), el('button.primary', { onclick: () => invite(load) }, icon('plus'), t('invite'))),
				people.length === 0 ? empty('people', t('noPeople'), t('noPeopleText')) : el('div.scroll', { tabindex: '-1' }, el('table.list', el('caption.hidden', t('people')),
					el('thead', el('tr', ['name', 'role', 'state', 'lastLogin'].map((n) => el('th', { scope: 'col' }, t(n))), el('th', { scope: 'col' }, el('span.hidden', t('actions'))))),
					el('tbody', people.map((p) => personRow(p, load))))),
				invitations.length > 0 && [el('h3', t('invitations')), ticketList(invitations, '/invitations', load, (x) => `${said('roles', x.role)} · ${t('byWhom', x.person)} · ${t('endsAt', moment(x.expires))}`)]);
		} catch (error) {
			replace(place, failure(error, load));
		}
	};
	await load();
}

export default async function people({ main }) {
	const mine = el('section.panel'), all = el('section.panel'), shares = el('section.panel'), spaces = el('section.panel');
	const files = me.name && me.tagger;
	replace(main, el('h1', t('people')), me.name ? mine : notice('info', el('p', t('guestText'))), files && shares, mayChange() && all, mayChange() && files && spaces);
	await Promise.all([me.name && account(mine), files && ownShares(shares), mayChange() && everybody(all), mayChange() && files && allSpaces(spaces)]);
}
