// Folders and search in one: a folder's content, or what fits the words above it.
import { el, icon, replace } from './dom.js';
import { bytes, count, moment } from './format.js';
import { said, t } from './i18n.js';
import { debounce, dialog, empty, failure, field, pager, select, toast } from './ui.js';
import { csrfToken } from './api.js';
import { chosen, dropped, foldersOf, upload, uploadPanel, uploadToken } from './upload.js';
import { addTags, fileIcon, joinPath, nameOf, parentOf, taggerDelete, taggerGet, taggerPost, taggerUrl } from './tagger.js';
import { mayEdit, preview, thumbnail } from './preview.js';
import { go, isHeld, me } from './main.js';
import { share, shortcuts } from './shares.js';

const LIMIT = 100;
const UNDO_MS = 10000; // later it is in the bin
const KINDS = ['image', 'video', 'audio', 'document', 'text', 'source', 'page', 'mail', 'archive', 'data'];

// ---- the search line ------------------------------------------------------------

function suggestions(input, choose) {
	const list = el('ul.suggest', { role: 'listbox', id: 'suggest', hidden: true });
	let found = [], at = -1;
	const word = () => input.value.split(/\s+/).at(-1);
	const mark = (n) => {
		at = n;
		[...list.children].forEach((li, i) => li.setAttribute('aria-selected', String(i === n)));
		input.setAttribute('aria-activedescendant', n >= 0 ? `suggest-${n}` : '');
	};
	const close = () => {
		list.hidden = true;
		input.setAttribute('aria-expanded', 'false');
		mark(-1);
	};
	const take = (tag) => {
		const words = input.value.split(/\s+/).slice(0, -1);
		input.value = `${[...words, /\s/.test(tag) ? `tag:"${tag}"` : `tag:${tag}`].join(' ')} `;
		close();
		input.focus();
		choose();
	};
	const load = debounce(async () => {
		const q = word();
		if (q.length < 2 || /[:"(|]/.test(q)) {
			close();
			return;
		}
		found = (await taggerGet('suggest', { q, limit: 8 }).catch(() => ({ tags: [] }))).tags;
		replace(list, found.map((x, i) => el('li', { role: 'option', id: `suggest-${i}`, 'aria-selected': 'false', onmousedown: (e) => e.preventDefault(), onclick: () => take(x.tag) },
			icon('tag'), el('span', x.tag), el('small', t('filesN', count(x.files))))));
		list.hidden = found.length === 0;
		input.setAttribute('aria-expanded', String(found.length > 0));
		mark(-1);
	}, 120);
	input.addEventListener('input', load);
	input.addEventListener('blur', () => setTimeout(close, 150));
	input.addEventListener('keydown', (event) => {
		if (list.hidden)
			return;
		if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
			event.preventDefault();
			mark((at + (event.key === 'ArrowDown' ? 1 : -1) + found.length) % found.length);
		} else if (event.key === 'Enter' && at >= 0) {
			event.preventDefault();
			take(found[at].tag);
		} else if (event.key === 'Escape') {
			close();
		}
	});
	return list;
}

function crumbs(path) {
	const words = path ? path.split('/') : [];
	return el('nav.crumbs', { 'aria-label': t('folder') }, el('a', { href: '#/files' }, t('allFiles')),
		words.map((w, i) => [' / ', el('a', { href: `#/files?in=${encodeURIComponent(words.slice(0, i + 1).join('/'))}` }, w)]));
}

// Tags to choose from: those that most files have, or that have in them what is typed. chosen: a Set.
function tagPicker(chosen, changed) {
	const list = el('ul.chips'), find = el('input', { type: 'search', placeholder: t('findTag'), 'aria-label': t('findTag'), oninput: debounce(() => load(), 150) });
	let found = null;
	const toggle = (tag) => {
		if (!chosen.delete(tag))
			chosen.add(tag);
		draw();
		changed();
	};
	const draw = () => {
		const rest = (found ?? []).filter((x) => !chosen.has(x.tag));
		replace(list, [...chosen].map((tag) => el('li', el('button.small', { 'aria-pressed': 'true', onclick: () => toggle(tag) }, icon('close'), tag))),
			rest.map((x) => el('li', el('button.small', { 'aria-pressed': 'false', onclick: () => toggle(x.tag) }, x.tag, el('small', count(x.files))))),
			found && rest.length + chosen.size === 0 && el('li.hint', t('noTags')));
		summary.textContent = chosen.size ? t('pickedTags', chosen.size) : t('pickTags');
	};
	const load = async () => {
		found = (await taggerGet('tags', { q: find.value.trim(), limit: 30 }).catch(() => ({ tags: [] }))).tags;
		draw();
	};
	const summary = el('summary', t('pickTags'));
	return el('details.tagpick', { ontoggle: (event) => event.target.open && found === null && load() }, summary, find, list);
}

// ---- changes ----------------------------------------------------------------------------

function rename(f, done) {
	dialog({
		title: t('rename'), submit: t('rename'), body: field(t('name'), el('input', { name: 'name', value: f.name, required: true, autocomplete: 'off' })),
		check: (form) => form.elements.name.value.trim() !== '' && !form.elements.name.value.includes('/'),
		done: async (form) => {
			await taggerPost('move', { id: f.id, to: joinPath(parentOf(f.path), form.elements.name.value) });
			done();
		},
	});
}

function move(files, done) {
	dialog({
		title: t('moveTitle', files.length), submit: t('move'), body: field(t('folder'), el('input', { name: 'folder', value: parentOf(files[0].path), autocomplete: 'off' }), t('moveHint')),
		done: async (form) => {
			const folder = form.elements.folder.value.replace(/^\/+|\/+$/g, '');
			for (const f of files)
				await taggerPost('move', { id: f.id, to: joinPath(folder, f.name) });
			done();
		},
	});
}

function newFolder(path, done) {
	dialog({
		title: t('newFolder'), submit: t('create'), body: field(t('name'), el('input', { name: 'name', required: true, autocomplete: 'off' })),
		check: (form) => form.elements.name.value.trim() !== '' && !form.elements.name.value.includes('/'),
		done: async (form) => {
			await taggerPost('mkdir', { path: joinPath(path, form.elements.name.value.trim()) });
			done();
		},
	});
}

function tagMany(files, done) {
	dialog({
		title: t('tagTitle', files.length), submit: t('change'),
		body: [field(t('addTags'), el('input', { name: 'add', autocomplete: 'off' }), t('tagsHint')), field(t('removeTags'), el('input', { name: 'remove', autocomplete: 'off' }))],
		check: (form) => form.elements.add.value.trim() || form.elements.remove.value.trim(),
		done: async (form) => {
			const words = (name) => form.elements[name].value.split(/[,,]/).map((w) => w.trim()).filter(Boolean);
			await addTags(files, words('add'), words('remove'));
			toast(t('tagged', files.length));
			done();
		},
	});
}

// Into the bin, from which a note offers to take them back.
async function remove(files, done) {
	const kept = [];
	for (const f of files) {
		try {
			const { bin } = await taggerDelete('file', { id: f.id, recursive: f.kind === 'folder' ? 1 : undefined });
			if (bin)
				kept.unshift(bin);
		} catch (error) {
			toast(`${f.name}: ${error.message}`, 'bad');
		}
	}
	done();
	if (kept.length === 0)
		return;
	const note = el('div.toast.good', el('span', t('deletedN', kept.length)), el('button.small', {
		onclick: async () => {
			note.remove();
			for (const id of kept) // folders that were deleted last come first
				await taggerPost('bin/restore', { id }).catch((error) => toast(error.message, 'bad'));
			done();
		},
	}, t('undo')));
	document.getElementById('toasts').append(note);
	setTimeout(() => note.remove(), UNDO_MS);
}

// Nothing can be put where one only passes through.
const mayPut = (folder) => mayEdit() && (folder !== '' || !isHeld());
const mayShare = () => mayEdit() && me.name !== '';

// ---- the page -------------------------------------------------------------------------------

export default async function files({ main, search, watch }) {
	const state = { folder: search.get('in') ?? '', q: search.get('q') ?? '', kind: '', date: '', size: '', sort: 'best', offset: 0, tags: new Set(), grid: localStorage.getItem('weft-files') === 'grid' };
	const marked = new Map();
	const place = el('div'), bar = el('div.toolbar.marks', { hidden: true }), title = el('h1', t('files'));
	let list = { files: [], total: 0 };
	const words = () => [state.q.trim(), ...[...state.tags].map((x) => `tag:"${x}"`), state.kind && `kind:${state.kind}`, state.date && `date:>${state.date}`, state.size && `size:>${state.size}`].filter(Boolean).join(' ');
	const load = async () => {
		const q = words();
		list = q ? await taggerGet('search', { q: state.folder ? `${q} in:"${state.folder}"` : q, sort: state.sort, offset: state.offset, limit: LIMIT })
			: await taggerGet('folder', { path: state.folder || undefined, offset: state.offset, limit: LIMIT });
		draw();
	};
	const again = () => load().catch((error) => replace(place, failure(error, again)));
	const reload = () => {
		marked.clear();
		again();
	};
	const open = (f) => (f.kind === 'folder' ? go(`files?in=${encodeURIComponent(f.path)}`)
		: preview(f, { list: list.files.filter((x) => x.kind !== 'folder'), changed: again, actions: (full, box) => mayEdit() && [
			mayShare() && el('button.small', { onclick: () => share(full) }, icon('link'), t('share')),
			el('button.small', { onclick: () => { box.close(); rename(full, reload); } }, t('rename')),
			el('button.small.danger', { onclick: () => { box.close(); remove([full], reload); } }, icon('trash'), t('delete'))] }));
	const mark = (f, on) => {
		if (on)
			marked.set(f.id, f);
		else
			marked.delete(f.id);
		drawBar();
	};
	const drawBar = () => {
		const some = [...marked.values()];
		bar.hidden = some.length === 0;
		replace(bar, el('strong', t('markedN', some.length)),
			el('a.button.small', { href: `${taggerUrl('archive', { format: 'zip' })}&${some.map((f) => `path=${f.href}`).join('&')}`, download: 'files.zip' }, icon('download'), t('downloadZip')),
			mayEdit() && [el('button.small', { onclick: () => tagMany(some, reload) }, icon('tag'), t('tags')), el('button.small', { onclick: () => move(some, reload) }, t('move')),
				some.length === 1 && mayShare() && el('button.small', { onclick: () => share(some[0]) }, icon('link'), t('share')),
				some.length === 1 && el('button.small', { onclick: () => rename(some[0], reload) }, t('rename')), el('button.small.danger', { onclick: () => remove(some, reload) }, icon('trash'), t('delete'))],
			el('button.small', { onclick: () => { marked.clear(); draw(); } }, t('cancel')));
	};
	const check = (f) => !f.through && el('input', { type: 'checkbox', 'aria-label': t('markOne', f.name), checked: marked.has(f.id), onchange: (event) => mark(f, event.target.checked) });
	const row = (f) => el('tr', el('td.mark', check(f)), el('th', { scope: 'row' }, el('button.quiet.filename', { onclick: () => open(f) }, icon(fileIcon(f)), el('span', f.name, words() && parentOf(f.path) && el('small', parentOf(f.path))))),
		el('td', { 'data-name': t('kind') }, said('kinds', f.kind), f.state === 'waiting' && el('small.hint', ` · ${t('beingRead')}`)), el('td', { 'data-name': t('size') }, f.kind === 'folder' ? '' : bytes(f.size)), el('td', { 'data-name': t('changed') }, moment(f.mtime)));
	const card = (f) => el('li.filecard', check(f), el('button.quiet', { onclick: () => open(f) }, thumbnail(f), el('span', f.name)));
	const draw = () => {
		drawBar();
		const seen = list.files;
		if (seen.length === 0) {
			replace(place, empty(words() ? 'search' : 'folder', t(words() ? 'nothingFits' : 'emptyFolder'), t(words() ? 'searchHint' : mayPut(state.folder) ? 'emptyFolderText' : 'emptyFolderRead')));
			return;
		}
		replace(place, state.grid ? el('ul.filegrid', seen.map(card))
			: el('div.scroll', { tabindex: '-1' }, el('table.list.filelist', el('caption.hidden', t('files')), el('thead', el('tr', el('th', { scope: 'col' }, el('span.hidden', t('mark'))), ['name', 'kind', 'size', 'changed'].map((n) => el('th', { scope: 'col' }, t(n))))), el('tbody', seen.map(row)))),
		pager(state.offset, LIMIT, list.total, (offset) => {
			state.offset = offset;
			again();
			scrollTo(0, 0);
		}));
	};
	const changed = (more) => {
		Object.assign(state, more, { offset: 0 });
		again();
	};
	const send = async (some) => {
		for (const folder of foldersOf(some))
			await taggerPost('mkdir', { path: joinPath(state.folder, folder) }).catch(() => {});
		upload(some, state.folder);
	};
	uploadToken(csrfToken);
	const uploads = uploadPanel(debounce(again, 500));
	const picker = el('input', { type: 'file', multiple: true, hidden: true, 'aria-label': t('upload'), onchange: () => send(chosen(picker)) });
	const input = el('input', { type: 'search', name: 'q', value: state.q, placeholder: t('searchFiles'), role: 'combobox', 'aria-label': t('searchFiles'), 'aria-expanded': 'false', 'aria-controls': 'suggest', autocomplete: 'off', oninput: debounce(() => changed({ q: input.value }), 200) });
	const ways = me.spaces && me.name && state.folder === '' ? await shortcuts().catch(() => null) : null;
	const year = new Date().getFullYear(), iso = (days) => new Date(Date.now() - days * 864e5).toISOString().slice(0, 10);
	const view = el('button', { 'aria-pressed': String(state.grid), onclick: () => {
		state.grid = !state.grid;
		localStorage.setItem('weft-files', state.grid ? 'grid' : 'list');
		view.setAttribute('aria-pressed', String(state.grid));
		draw();
	} }, t('thumbnails'));
	replace(main, el('div.head', title, mayEdit() && el('div.actions', el('a.button', { href: '#/files/bin' }, icon('trash'), t('bin')), mayPut(state.folder) && [el('button', { onclick: () => newFolder(state.folder, again) }, icon('folder'), t('newFolder')), el('button.primary', { onclick: () => picker.click() }, icon('upload'), t('upload')), picker])), ways,
		el('div.toolbar', { role: 'search' }, el('div.searchbox', input, suggestions(input, () => changed({ q: input.value }))),
			select('kind', [['', t('anyKind')], ...KINDS.map((k) => [k, said('kinds', k)])], '', (e) => changed({ kind: e.target.value }), t('kind')),
			select('date', [['', t('anyDate')], [iso(7), t('lastWeek')], [iso(31), t('lastMonth')], [`${year}-01-01`, t('thisYear')]], '', (e) => changed({ date: e.target.value }), t('changed')),
			select('size', [['', t('anySize')], ['1M', '> 1 MiB'], ['100M', '> 100 MiB'], ['1G', '> 1 GiB']], '', (e) => changed({ size: e.target.value }), t('size')),
			select('sort', ['best', 'name', 'newest', 'oldest', 'largest', 'smallest'].map((s) => [s, t(`sort_${s}`)]), 'best', (e) => changed({ sort: e.target.value }), t('sortBy')), view),
		tagPicker(state.tags, () => changed({})), crumbs(state.folder), bar, uploads, place);
	if (state.folder)
		title.textContent = nameOf(state.folder);
	const over = (event) => {
		if (!mayPut(state.folder) || ![...event.dataTransfer.types].includes('Files'))
			return;
		event.preventDefault();
		document.body.classList.add('dropping');
	};
	const drop = async (event) => {
		document.body.classList.remove('dropping');
		if (!mayPut(state.folder) || !event.dataTransfer.files.length)
			return;
		event.preventDefault();
		send(await dropped(event.dataTransfer));
	};
	const away = () => document.body.classList.remove('dropping');
	addEventListener('dragover', over);
	addEventListener('drop', drop);
	addEventListener('dragleave', away);
	watch(() => {
		removeEventListener('dragover', over);
		removeEventListener('drop', drop);
		removeEventListener('dragleave', away);
	});
	await load();
	// what others change shows by itself
	const events = new EventSource(taggerUrl('events'));
	const soon = debounce(again, 1000);
	events.addEventListener('change', soon);
	watch(() => events.close());
}
