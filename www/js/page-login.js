// Log in, register, or join by an invitation.
import { el, icon, replace } from './dom.js';
import { post } from './api.js';
import { t } from './i18n.js';
import { commands, failure, field, notice } from './ui.js';
import { me, welcome } from './main.js';

const PASSWORD_MIN = '8';

function form({ title, text, submit, fresh, send }) {
	const error = el('div');
	const button = el('button.primary', { type: 'submit' }, submit);
	const name = el('input', { name: 'name', required: true, autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', maxlength: '63' });
	const password = el('input', { name: 'password', type: 'password', required: true, autocomplete: fresh ? 'new-password' : 'current-password', minlength: fresh ? PASSWORD_MIN : null, maxlength: '256' });
	const onsubmit = async (event) => {
		event.preventDefault();
		button.disabled = true;
		replace(error);
		try {
			await send({ name: name.value, password: password.value }, error);
		} catch (refused) {
			replace(error, failure(refused));
		}
		button.disabled = false;
	};
	queueMicrotask(() => name.focus());
	return el('form.panel.login', { onsubmit }, el('h1', title), text && el('p', text),
		field(t('name'), name, fresh ? t('personNameHint') : null), field(t('password'), password, fresh ? t('passwordHint') : null),
		error, el('div.actions', button));
}

export default async function login({ main, words }) {
	if (words[0] === 'join') {
		replace(main, form({
			title: t('join'), text: t('joinText'), submit: t('joinSubmit'), fresh: true,
			send: async (body) => welcome(await post('/join', { ...body, invitation: words[1] ?? '' })),
		}));
		return;
	}
	if (words[0] === 'register') {
		replace(main, form({
			title: t('register'), text: t(me.registration === 'approval' ? 'registerApproval' : 'registerText'), submit: t('register'), fresh: true,
			send: async (body, place) => {
				const answer = await post('/register', body);
				if (answer.waiting)
					replace(place, notice('good', el('p', t('registered'))));
				else
					welcome(answer);
			},
		}), el('p.center', el('a', { href: '#/login' }, t('haveAccount'))));
		return;
	}
	replace(main, form({ title: t('logIn'), submit: t('logIn'), send: async (body) => welcome(await post('/login', body)) }),
		me.empty && el('section.panel.login', el('h2', t('nobodyYet')), el('p', t('nobodyYetText')), commands('sudo volctl user invite --role admin')),
		me.registration && me.registration !== 'off' && el('p.center', el('a', { href: '#/register' }, icon('user'), t('register'))));
}
