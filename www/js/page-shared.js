// What a link leads to, for whoever has it: a file or a folder, to look at and download, and nothing beside it.
import { el, icon, replace } from './dom.js';
import { call, query } from './api.js';
import { bytes, moment } from './format.js';
import { said, t } from './i18n.js';
import { empty, facts, failure, notice, pager } from './ui.js';
import { fileIcon, nameOf } from './tagger.js';
import { picture } from './preview.js';

const LIMIT = 200;

export default async function shared({ main, words, search }) {
	const secret = encodeURIComponent(words[1] ?? ''), path = search.get('in') ?? '';
	const url = (route, parameters) => `api/v1${query(`/shared/${secret}/${route}`, parameters)}`;
	const list = (parameters) => call('GET', query(`/shared/${secret}/folder`, parameters));
	const here = (folder) => `#/shared/${secret}?in=${encodeURIComponent(folder)}`;
	const link = await call('GET', `/shared/${secret}`).catch((error) => {
		if (error.code !== 'link_ended')
			throw error;
		replace(main, el('section.panel', empty('link', t('linkEnded'), t('linkEndedText'))));
	});
	if (!link)
		return;
	const head = (name, action) => el('div.head', el('div', el('h1', name), el('p.hint', [t('sharedBy', link.giver), link.expires && t('endsAt', moment(link.expires))].filter(Boolean).join(' · '))), action);
	const download = (f) => el('a.button.small', { href: url('content', { id: f.id, download: 1 }), download: f.name, 'aria-label': `${t('download')}: ${f.name}` }, icon('download'), t('download'));
	const showFile = async (f) => replace(main, el('section.panel', f.path.includes('/') && crumbs(f.path.split('/').slice(0, -1).join('/')), head(f.name, download(f)),
		el('div.show', await picture(f, url)), facts([t('kind'), said('kinds', f.kind)], [t('size'), bytes(f.size)], [t('changed'), moment(f.mtime)])));
	const crumbs = (folder) => {
		const parts = folder.split('/');
		return el('nav.crumbs', { 'aria-label': t('folder') }, parts.map((w, i) => [i > 0 && ' / ', el('a', { href: here(parts.slice(0, i + 1).join('/')) }, w)]));
	};
	const row = (f) => el('li', f.kind === 'folder' ? el('a.filename', { href: here(f.path) }, icon('folder'), el('span', f.name))
		: el('button.quiet.filename', { onclick: () => showFile(f).catch((error) => replace(main, failure(error))) }, icon(fileIcon(f)), el('span', f.name, el('small', bytes(f.size)))), f.kind !== 'folder' && download(f));
	const showFolder = async (folder, offset) => {
		const { files, total } = await list({ path: folder, offset, limit: LIMIT });
		replace(main, el('section.panel', folder.includes('/') && crumbs(folder), head(nameOf(folder), el('a.button.small', { href: url('archive', { path: folder, format: 'zip' }), download: `${nameOf(folder)}.zip` }, icon('download'), t('downloadZip'))),
			files.length ? el('ul.rows.sharedlist', files.map(row)) : notice('info', el('p', t('emptyFolder'))), pager(offset, LIMIT, total, (to) => showFolder(folder, to))));
	};
	if (link.folder) {
		await showFolder(path || link.name, 0);
		return;
	}
	const { files } = await list({});
	await showFile(files.find((f) => f.name === link.name) ?? files[0]);
}
