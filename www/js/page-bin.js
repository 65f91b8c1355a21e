// The bin: what was deleted, to be put back or deleted for good.
import { el, icon, replace } from './dom.js';
import { ago, bytes, moment } from './format.js';
import { said, t } from './i18n.js';
import { confirmPlain, empty, failure, lastPage, once, pager, toast } from './ui.js';
import { fileIcon, parentOf, taggerDelete, taggerGet, taggerPost } from './tagger.js';
import { mayEdit } from './preview.js';

const LIMIT = 100;

export default async function bin({ main }) {
	const place = el('div'), clear = el('button.danger', { hidden: true, onclick: () => emptyIt() }, icon('trash'), t('emptyBin'));
	let offset = 0, total = 0;
	const load = async () => {
		const list = await taggerGet('bin', { offset, limit: LIMIT });
		total = list.total;
		if (list.files.length === 0 && offset > 0) { // what was there has gone
			offset = lastPage(LIMIT, total);
			await load();
			return;
		}
		clear.hidden = !mayEdit() || total === 0;
		replace(place, list.files.length === 0 ? empty('trash', t('binEmpty'), t('binText', list.days)) : [
			el('p.hint.above', t('binText', list.days), ' ', t('binHolds', bytes(list.bytes))),
			el('div.scroll', { tabindex: '-1' }, el('table.list', el('caption.hidden', t('bin')),
				el('thead', el('tr', ['name', 'deletedWhen', 'size', 'keptUntil'].map((n) => el('th', { scope: 'col' }, t(n))), el('th', { scope: 'col' }, el('span.hidden', t('actions'))))),
				el('tbody', list.files.map(row)))),
			pager(offset, LIMIT, total, (to) => {
				offset = to;
				again();
			})]);
	};
	const again = () => load().catch((error) => replace(place, failure(error, again)));
	const back = async (f) => {
		try {
			const { path } = await taggerPost('bin/restore', { id: f.id });
			toast(t('restoredTo', path));
		} catch (error) {
			toast(`${f.name}: ${error.message}`, 'bad');
		}
		again();
	};
	const forGood = (f) => confirmPlain({
		title: t('forGoodTitle', f.name), submit: t('deleteForGood'), text: el('p', t('forGoodText')),
		done: async () => {
			await taggerDelete('bin', { id: f.id });
			again();
		},
	});
	const emptyIt = () => confirmPlain({
		title: t('emptyBinTitle', total), submit: t('emptyBin'), text: el('p', t('forGoodText')),
		done: async () => {
			await taggerDelete('bin', { all: 1 });
			offset = 0;
			again();
		},
	});
	const row = (f) => el('tr', el('th', { scope: 'row' }, el('span.filename', icon(fileIcon(f)), el('span', f.name, el('small', parentOf(f.path))))),
		el('td', { 'data-name': t('deletedWhen') }, el('span', { title: moment(f.time) }, ago(f.time), f.by && el('small.hint', ` · ${t('byWhom', f.by)}`))),
		el('td', { 'data-name': t('size') }, el('span', bytes(f.size), el('small.hint', ` · ${said('kinds', f.kind)}`))), el('td', { 'data-name': t('keptUntil') }, moment(f.ends)),
		el('td.right', mayEdit() && [el('button.small', { 'aria-label': `${t('restore')}: ${f.name}`, onclick: once(() => back(f)) }, t('restore')), ' ',
			el('button.small.danger', { 'aria-label': `${t('deleteForGood')}: ${f.name}`, onclick: () => forGood(f) }, icon('trash'))]));
	replace(main, el('nav.crumbs', { 'aria-label': t('folder') }, el('a', { href: '#/files' }, t('allFiles'))),
		el('div.head', el('h1', t('bin')), el('div.actions', clear)), place);
	await load();
}
