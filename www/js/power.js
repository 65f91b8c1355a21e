// Power of a host: what may be done with it, and what volumes would miss meanwhile.
import { el } from './dom.js';
import { get, post } from './api.js';
import { t } from './i18n.js';
import { dialog, dialogAfter, field, notice, select, toast } from './ui.js';

const ACTIONS = ['stop', 'start', 'off', 'wake'];

function impact(p) {
	const n = p.impact.unavailable + p.impact.waiting;
	return [p.impact.unavailable > 0 && notice('bad', el('p', t('powerUnavailable', p.impact.unavailable))),
		p.impact.waiting > 0 && notice('warn', el('p', t('powerWaiting', p.impact.waiting))),
		n > 0 && el('ul', p.impact.volumes.map((v) => el('li', v.name)), n > p.impact.volumes.length && el('li', '…')),
		n === 0 && (p.impact.less > 0 ? notice('warn', el('p', t('powerLess', p.impact.less))) : notice('good', el('p', t('powerSafe'))))];
}

// A dialog; done() when a command has ended well.
export function power(host, done) {
	return dialogAfter(get(`/hosts/${encodeURIComponent(host)}/power`), (p) => choose(host, p, done));
}

function choose(host, p, done) {
	const actions = ACTIONS.filter((a) => p.commands.includes(a));
	const stops = (form) => ['stop', 'off'].includes(form.elements.action.value);
	const stopped = p.impact.unavailable + p.impact.waiting > 0;
	const anyway = el('label.check', el('input', { type: 'checkbox', name: 'force' }), t('powerAnyway'));
	const warning = el('div', impact(p));
	if (actions.length === 0) {
		dialog({ title: t('powerOf', host), submit: t('done'), body: [el('p', t('powerNone')), warning] });
		return;
	}
	dialog({
		title: t('powerOf', host), submit: t('powerDo'), danger: true,
		body: [el('p', t('powerText', p.up, p.servers)), field(t('powerAction'), select('action', actions.map((a) => [a, t(`power_${a}`)]), actions[0])),
			warning, stopped && anyway],
		check: (form) => {
			warning.hidden = anyway.hidden = !stops(form);
			return !stops(form) || !stopped || form.elements.force.checked;
		},
		done: async (form) => {
			const action = form.elements.action.value;
			await post(`/hosts/${encodeURIComponent(host)}/power`, { action, force: form.elements.force?.checked ?? false });
			toast(t('powerDone', host));
			done();
		},
	});
}
