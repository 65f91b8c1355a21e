// Versions, what the machine offers, where things are.
import { el, replace } from './dom.js';
import { get } from './api.js';
import { duration } from './format.js';
import { inWords, t } from './i18n.js';
import { me } from './main.js';
import { taggerGet } from './tagger.js';
import { facts, notice } from './ui.js';

function ebpf({ state, why }) {
	return why ? `${inWords(state, undefined, true)}: ${inWords(why, undefined, true)}` : inWords(state, undefined, true);
}

// Servers by the version of their nbdsrv, as far as they told it.
function versions(told) {
	return Object.entries(told ?? {}).sort(([a], [b]) => b.localeCompare(a, undefined, { numeric: true }))
		.map(([version, names]) => el('div', `nbdsrv ${version} `, el('span.hint', names.join(', '))));
}

export default async function about({ main }) {
	const [s, tagger] = await Promise.all([get('/status'), me.tagger ? taggerGet('status').catch(() => null) : null]);
	const thanks = await fetch('lib/LICENSES.txt', { method: 'HEAD' }).then((r) => r.ok, () => false); // may be built without any
	replace(main, el('h1', t('about')),
		s.warning && notice('warn', el('p', inWords(s.warning))),
		el('section.panel', facts([t('version'), [`volmgr ${s.version}`, ...versions(s.server_versions), tagger?.version && el('div', `tagger ${tagger.version}`)]], ['Linux', s.kernel],
			[t('runningFor'), duration(s.uptime)], [t('cluster'), el('code', s.cluster)],
			[t('erasureCode'), s.code], ['eBPF', ebpf(s.ebpf)],
			[t('nbdAddresses'), s.listen.map((l) => el('div', el('code', l)))], [t('webAddress'), s.web])),
		el('section.panel', el('h2', t('forScripts')), el('p', t('forScriptsText')),
			el('ul', el('li', el('code', 'man weft-api'), ' ', t('manApi')), el('li', el('code', 'man volctl'), ' ', t('manVolctl')),
				el('li', el('a', { href: 'metrics' }, '/metrics'), ' ', t('manMetrics')))),
		thanks && el('section.panel', el('h2', t('licences')), el('p', t('licencesText')),
			el('ul', el('li', 'uPlot (MIT)'), el('li', 'Sigma.js, Graphology (MIT)')), el('p', el('a', { href: 'lib/LICENSES.txt' }, t('licenceTexts')))));
}
