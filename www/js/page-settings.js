// Settings of this browser, and for admins those of the cluster's page.
import { el, replace } from './dom.js';
import { get, patch } from './api.js';
import { languageName, setLanguage, t } from './i18n.js';
import { failure, field, select, toast } from './ui.js';
import { mayChange, setTheme, theme } from './main.js';

function ofBrowser(refresh) {
	return el('section.panel', el('h2', t('thisBrowser')),
		field(t('language'), select('language', [['en', 'English'], ['zh', '简体中文']], languageName(), (event) => {
			setLanguage(event.target.value);
			refresh().then(() => document.querySelector('select[name=language]')?.focus({ preventScroll: true })); // under another label
		})),
		field(t('appearance'), select('theme', [['auto', t('asSystem')], ['light', t('light')], ['dark', t('dark')]], theme(), (event) => setTheme(event.target.value))));
}

function check(name, label, hint, settings, save) {
	const input = el('input', { type: 'checkbox', name, checked: settings[name], onchange: () => save({ [name]: input.checked }), 'aria-describedby': `${name}-hint` });
	return el('div.field', el('label.check', input, label), el('p.hint', { id: `${name}-hint` }, hint));
}

async function ofCluster(place) {
	const load = async () => {
		try {
			draw(await get('/settings'));
		} catch (error) {
			replace(place, failure(error, load));
		}
	};
	const save = async (change) => {
		try {
			draw(await patch('/settings', change));
			toast(t('saved'));
		} catch (error) {
			toast(error.message, 'bad');
			load();
		}
	};
	const draw = (settings) => replace(place, el('h2', t('forAll')),
		field(t('registration'), select('registration', ['off', 'approval', 'open'].map((r) => [r, t(`registration_${r}`)]), settings.registration,
			(event) => save({ registration: event.target.value })), t('registrationHint')),
		check('spaces', t('spacesSetting'), t('spacesHint'), settings, save),
		check('guests', t('guests'), t('guestsHint'), settings, save),
		check('metrics', t('metrics'), t('metricsHint'), settings, save));
	await load();
}

export default async function settings({ main, refresh }) {
	const place = el('section.panel');
	replace(main, el('h1', t('settings')), ofBrowser(refresh), mayChange() && place);
	if (mayChange())
		await ofCluster(place);
}
