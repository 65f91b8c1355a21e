// What a link leads to, for whoever has it: a file or a folder, to look at and download, and nothing beside it. Each
// folder and file has an address of its own, so that the way back is the browser's.
import { el, icon, replace } from './dom.js';
import { call, query } from './api.js';
import { bytes, moment } from './format.js';
import { said, t } from './i18n.js';
import { empty, facts, notice, pager } from './ui.js';
import { fileIcon, nameOf } from './tagger.js';
import { picture } from './preview.js';

const LIMIT = 200;

export default async function shared({ main, words, search, here }) {
	const secret = encodeURIComponent(words[1] ?? ''), offset = Math.floor(Number(search.get('at'))) || 0;
	const url = (route, parameters) => `api/v1${query(`/shared/${secret}/${route}`, parameters)}`;
	const list = (parameters) => call('GET', query(`/shared/${secret}/folder`, parameters));
	const address = (folder, at, file) => `#${query(`/shared/${secret}`, { in: folder, at: at || null, file })}`;
	const link = await call('GET', `/shared/${secret}`).catch((error) => {
		if (error.code !== 'link_ended')
			throw error;
		replace(main, el('section.panel', empty('link', t('linkEnded'), t('linkEndedText'))));
	});
	if (!link)
		return;
	const head = (name, action) => el('div.head', el('div', el('h1', name), el('p.hint', [t('sharedBy', link.giver), link.expires && t('endsAt', moment(link.expires))].filter(Boolean).join(' · '))), action);
	const download = (f) => el('a.button.small', { href: url('content', { id: f.id, download: 1 }), download: f.name, 'aria-label': `${t('download')}: ${f.name}` }, icon('download'), t('download'));
	const crumbs = (folder) => {
		const parts = folder.split('/');
		return el('nav.crumbs', { 'aria-label': t('folder') }, parts.map((w, i) => [i > 0 && ' / ', el('a', { href: address(parts.slice(0, i + 1).join('/')) }, w)]));
	};
	const showFile = async (f) => {
		const shown = await picture(f, url);
		if (here())
			replace(main, el('section.panel', f.path.includes('/') && crumbs(f.path.split('/').slice(0, -1).join('/')), head(f.name, download(f)),
				el('div.show', shown), facts([t('kind'), said('kinds', f.kind)], [t('size'), bytes(f.size)], [t('changed'), moment(f.mtime)])));
	};
	if (!link.folder) {
		const { files } = await list({});
		await showFile(files.find((f) => f.name === link.name) ?? files[0]);
		return;
	}
	const folder = search.get('in') || link.name, wanted = Number(search.get('file'));
	const { files, total } = await list({ path: folder, offset, limit: LIMIT });
	const file = files.find((f) => f.id === wanted);
	if (file) {
		await showFile(file);
		return;
	}
	const row = (f) => el('li', f.kind === 'folder' ? el('a.filename', { href: address(f.path) }, icon('folder'), el('span', f.name))
		: el('a.filename', { href: address(folder, offset, f.id) }, icon(fileIcon(f)), el('span', f.name, el('small', bytes(f.size)))), f.kind !== 'folder' && download(f));
	replace(main, el('section.panel', folder.includes('/') && crumbs(folder), head(nameOf(folder), el('a.button.small', { href: url('archive', { path: folder, format: 'zip' }), download: `${nameOf(folder)}.zip` }, icon('download'), t('downloadZip'))),
		files.length ? el('ul.rows.sharedlist', files.map(row)) : notice('info', el('p', t('emptyFolder'))), pager(offset, LIMIT, total, (to) => {
			location.hash = address(folder, to);
		})));
}
