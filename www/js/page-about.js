// Versions, what the machine offers, where things are.
import { el, replace } from './dom.js';
import { get } from './api.js';
import { duration } from './format.js';
import { t } from './i18n.js';
import { facts, notice } from './ui.js';

export default async function about({ main }) {
	const s = await get('/status');
	replace(main, el('h1', t('about')),
		s.warning && notice('warn', el('p', s.warning)),
		el('section.panel', facts([t('version'), `weft ${s.version}`], [t('runningFor'), duration(s.uptime)], [t('cluster'), el('code', s.cluster)],
			[t('erasureCode'), s.code], ['eBPF', s.ebpf.why ? `${s.ebpf.state}: ${s.ebpf.why}` : s.ebpf.state],
			[t('nbdAddresses'), s.listen.map((l) => el('div', el('code', l)))], [t('webAddress'), s.web])),
		el('section.panel', el('h2', t('forScripts')), el('p', t('forScriptsText')),
			el('ul', el('li', el('code', 'man weft-api'), ' ', t('manApi')), el('li', el('code', 'man volctl'), ' ', t('manVolctl')),
				el('li', el('a', { href: 'metrics' }, '/metrics'), ' ', t('manMetrics')))),
		el('section.panel', el('h2', t('licences')), el('p', t('licencesText')),
			el('ul', el('li', 'uPlot (MIT)'), el('li', 'Sigma.js, Graphology (MIT)'))));
}
