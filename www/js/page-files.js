// Folders and search in one: a folder's content, or what fits the words above it.
import { el, icon, morph, replace } from './dom.js';
import { bytes, count, moment } from './format.js';
import { said, t } from './i18n.js';
import { debounce, dialog, empty, failure, field, lastPage, loading, note, pager, select, toast } from './ui.js';
import { chosen, dropped } from './drop.js';
import { upload } from './upload.js';
import { uploadPanel } from './upload-panel.js';
import { addTags, fileIcon, joinPath, nameOf, parentOf, taggerDelete, taggerGet, taggerPost, taggerUrl } from './tagger.js';
import { mayEdit, preview, thumbnail } from './preview.js';
import { go, isHeld, me } from './main.js';
import { share, shortcuts } from './shares.js';

const LIMIT = 100;
const ARCHIVE_MAX = 700; // numbers of ten digits, in a request of 8 KiB, which is what proxies take
const FOLDERS_MAX = 200; // to choose from
const UNDO_MS = 10000; // later it is in the bin
const REFRESH_MS = 1000;
const ASKED = { q: '', kind: '', date: '', size: '', sort: 'best' }; // what is asked for, in the address too: a link to a folder then always leads there
const KINDS = ['image', 'video', 'audio', 'document', 'text', 'source', 'page', 'mail', 'archive', 'data'];

// ---- the search line ------------------------------------------------------------

function suggestions(input, choose) {
	const list = el('ul.suggest', { role: 'listbox', id: 'suggest', hidden: true });
	let found = [], at = -1, asked = 0;
	const word = () => input.value.split(/\s+/).at(-1);
	const mark = (n) => {
		at = n;
		[...list.children].forEach((li, i) => li.setAttribute('aria-selected', String(i === n)));
		input.setAttribute('aria-activedescendant', n >= 0 ? `suggest-${n}` : '');
	};
	const close = () => {
		asked++; // what is still under way comes too late
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
		const mine = ++asked;
		const { tags } = await taggerGet('suggest', { q, limit: 8 }).catch(() => ({ tags: [] }));
		if (mine !== asked || document.activeElement !== input)
			return;
		found = tags;
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
			event.preventDefault(); // else the field is emptied, too
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
	let found = null, asked = 0;
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
		const mine = ++asked;
		const { tags } = await taggerGet('tags', { q: find.value.trim(), limit: 30 }).catch(() => ({ tags: [] }));
		if (mine !== asked)
			return;
		found = tags;
		draw();
	};
	const summary = el('summary', chosen.size ? t('pickedTags', chosen.size) : t('pickTags'));
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

// Below the name of a folder: those in it, to go into, and the way up.
function folderChooser(input) {
	const list = el('ul.chips', { 'aria-label': t('folder') });
	const load = async () => {
		const path = input.value.replace(/^\/+|\/+$/g, ''), to = (folder, name, what) => el('li', el('button.small', { type: 'button', onclick: () => {
			input.value = folder;
			load();
		} }, icon(what), name));
		const { files } = await taggerGet('folder', { path: path || undefined, limit: FOLDERS_MAX }).catch(() => ({ files: [] }));
		if (path === input.value.replace(/^\/+|\/+$/g, ''))
			replace(list, path && to(parentOf(path), parentOf(path) ? nameOf(parentOf(path)) : t('allFiles'), 'back'), files.filter((x) => x.kind === 'folder').map((x) => to(x.path, x.name, 'folder')));
	};
	input.addEventListener('input', debounce(load, 200));
	load();
	return list;
}

function move(files, done) {
	const input = el('input', { name: 'folder', value: parentOf(files[0].path), autocomplete: 'off' });
	let left = files;
	dialog({
		title: t('moveTitle', files.length), submit: t('move'), body: [field(t('folder'), input, t('moveHint')), folderChooser(input)],
		done: async () => {
			const folder = input.value.replace(/^\/+|\/+$/g, ''), refused = [];
			for (const f of left)
				await taggerPost('move', { id: f.id, to: joinPath(folder, f.name) }).catch((error) => refused.push([f, error]));
			if (refused.length < left.length)
				done();
			left = refused.map(([f]) => f);
			if (refused.length)
				throw Object.assign(refused[0][1], { message: `${refused[0][0].name}: ${refused[0][1].message}`, hint: refused[0][1].hint });
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
	const offer = el('div.toast.good', el('span', t('deletedN', kept.length)), el('button.small', {
		onclick: async () => {
			offer.remove();
			for (const id of kept) // folders that were deleted last come first
				await taggerPost('bin/restore', { id }).catch((error) => toast(error.message, 'bad'));
			done();
		},
	}, t('undo')));
	note(offer, UNDO_MS);
}

// Nothing can be put where one only passes through.
const mayPut = (folder) => mayEdit() && (folder !== '' || !isHeld());
const mayShare = () => mayEdit() && me.name !== '';

// ---- the page -------------------------------------------------------------------------------

export default async function files({ main, search, here, watch }) {
	const state = { folder: search.get('in') ?? '', offset: 0, tags: new Set(search.getAll('tag')), grid: localStorage.getItem('weft-files') === 'grid' };
	for (const [name, usual] of Object.entries(ASKED))
		state[name] = search.get(name) ?? usual;
	const marked = new Map();
	const place = el('div', loading()), bar = el('div.toolbar.marks', { hidden: true }), title = el('h1', t('files'));
	let list = { files: [], total: 0 }, asked = 0;
	const counted = el('span.hint', { role: 'status' });
	const iso = (days) => new Date(Date.now() - days * 864e5).toISOString().slice(0, 10);
	const since = (span) => ({ week: iso(7), month: iso(31), year: `${new Date().getFullYear()}-01-01` }[span] ?? span);
	const words = () => [state.q.trim(), ...[...state.tags].map((x) => `tag:"${x}"`), state.kind && `kind:${state.kind}`, state.date && `date:>${since(state.date)}`, state.size && `size:>${state.size}`].filter(Boolean).join(' ');
	const inFolder = (q) => [q, state.folder && `in:"${state.folder}"`].filter(Boolean).join(' ');
	const load = async () => {
		const q = words(), mine = ++asked;
		const page = { sort: q || state.sort !== 'best' ? state.sort : undefined, offset: state.offset, limit: LIMIT };
		const answer = q ? await taggerGet('search', { q: inFolder(q), ...page }) : await taggerGet('folder', { path: state.folder || undefined, ...page });
		if (mine !== asked) // what was asked later may be answered sooner
			return;
		if (answer.files.length === 0 && answer.total > 0 && state.offset > 0) { // what was there has gone
			state.offset = lastPage(LIMIT, answer.total);
			await load();
			return;
		}
		list = answer;
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
	const markAll = (on) => {
		for (const f of list.files.filter((x) => !x.through))
			mark(f, on);
		draw();
	};
	const drawBar = () => {
		const some = [...marked.values()];
		bar.hidden = some.length === 0;
		replace(bar, el('strong', t('markedN', some.length)),
			some.length > ARCHIVE_MAX ? el('span.hint', t('archiveMax', ARCHIVE_MAX)) : el('a.button.small', { href: `${taggerUrl('archive', { format: 'zip' })}&id=${some.map((f) => f.id).join(',')}`, download: 'files.zip' }, icon('download'), t('downloadZip')),
			mayEdit() && [el('button.small', { onclick: () => tagMany(some, reload) }, icon('tag'), t('tags')), el('button.small', { onclick: () => move(some, reload) }, t('move')),
				some.length === 1 && mayShare() && el('button.small', { onclick: () => share(some[0]) }, icon('link'), t('share')),
				some.length === 1 && el('button.small', { onclick: () => rename(some[0], reload) }, t('rename')), el('button.small.danger', { onclick: () => { marked.clear(); draw(); remove(some, reload); } }, icon('trash'), t('delete'))],
			list.files.some((f) => !f.through && !marked.has(f.id)) && el('button.small', { onclick: () => markAll(true) }, t('markAll')), el('button.small', { onclick: () => { marked.clear(); draw(); } }, t('cancel')));
	};
	const check = (f) => !f.through && el('input', { type: 'checkbox', value: `${f.id}`, 'aria-label': t('markOne', f.name), checked: marked.has(f.id), onchange: (event) => mark(f, event.target.checked) });
	const row = (f) => el('tr', { 'data-key': keyOf(f) }, el('td.mark', check(f)), el('th', { scope: 'row' }, el('button.quiet.filename', { onclick: () => open(f) }, icon(fileIcon(f)), el('span', { dir: 'auto' }, f.name, words() && parentOf(f.path) && el('small', parentOf(f.path))))),
		el('td', { 'data-name': t('kind') }, said('kinds', f.kind), f.state === 'waiting' && el('small.hint', ` · ${t('beingRead')}`)), el('td', { 'data-name': t('size') }, f.kind === 'folder' ? '' : bytes(f.size)), el('td', { 'data-name': t('changed') }, moment(f.mtime)));
	const card = (f) => el('li.filecard', { 'data-key': keyOf(f) }, check(f), el('button.quiet', { onclick: () => open(f) }, thumbnail(f), el('span', { dir: 'auto' }, f.name)));
	// data-key: all that a row's buttons know of its file
	const keyOf = (f) => JSON.stringify([f.id, f.path, f.kind, f.size, f.mtime]);
	const pages = () => {
		const nav = pager(state.offset, LIMIT, list.total, (offset) => {
			state.offset = offset;
			again();
			scrollTo(0, 0);
		});
		nav?.setAttribute('data-key', `${state.offset}:${list.total}`);
		return nav;
	};
	const shown = () => {
		if (list.files.length === 0)
			return el('div', { 'data-key': 'empty', 'data-fresh': '' }, empty(words() ? 'search' : 'folder', t(words() ? 'nothingFits' : 'emptyFolder'), t(words() ? 'searchHint' : mayPut(state.folder) ? 'emptyFolderText' : 'emptyFolderRead')));
		if (state.grid)
			return el('ul.filegrid', { 'data-key': 'grid' }, list.files.map(card));
		return el('div.scroll', { tabindex: '-1', 'data-key': 'list' }, el('table.list.filelist', el('caption.hidden', t('files')), el('thead', el('tr', el('th.mark', { scope: 'col' }, el('input', { type: 'checkbox', 'aria-label': t('markAll'), onchange: (event) => markAll(event.target.checked) })), ['name', 'kind', 'size', 'changed'].map((n) => el('th', { scope: 'col' }, t(n))))), el('tbody', list.files.map(row))));
	};
	const draw = () => {
		drawBar();
		counted.textContent = list.files.length ? t(words() ? 'foundN' : 'entriesN', count(list.total), list.total) : '';
		morph(place, el('div', shown(), list.files.length > 0 && pages())); // who is in the list stays there
		for (const box of place.querySelectorAll('input[type=checkbox]'))
			box.checked = box.closest('thead') ? list.files.every((f) => marked.has(f.id)) : marked.has(Number(box.value));
	};
	const changed = (more) => {
		if (!here()) // typed just before leaving
			return;
		Object.assign(state, more, { offset: 0 });
		const at = new URLSearchParams(state.folder ? { in: state.folder } : {});
		for (const [name, usual] of Object.entries(ASKED))
			if (state[name] !== usual)
				at.set(name, state[name]);
		for (const tag of state.tags)
			at.append('tag', tag);
		history.replaceState(null, '', at.size ? `#/files?${at}` : '#/files');
		again();
	};
	const send = async ({ files: some, folders }) => {
		for (const folder of folders)
			await taggerPost('mkdir', { path: joinPath(state.folder, folder) }).catch(() => {});
		if (folders.length)
			again();
		upload(some, state.folder);
	};
	const uploads = uploadPanel(debounce(() => here() && again(), 500));
	const picker = (label, more) => {
		const e = el('input', { type: 'file', multiple: true, hidden: true, 'aria-label': label, ...more, onchange: () => {
			send(chosen(e));
			e.value = ''; // the same one may be chosen again
		} });
		return e;
	};
	const filePicker = picker(t('upload')), folderPicker = picker(t('uploadFolder'), { webkitdirectory: true });
	const input = el('input', { type: 'search', name: 'q', value: state.q, placeholder: t('searchFiles'), role: 'combobox', 'aria-label': t('searchFiles'), 'aria-expanded': 'false', 'aria-controls': 'suggest', autocomplete: 'off', oninput: debounce(() => changed({ q: input.value }), 200) });
	const ways = me.spaces && me.name && state.folder === '' ? await shortcuts().catch(() => null) : null;
	const view = el('button', { 'aria-pressed': String(state.grid), onclick: () => {
		state.grid = !state.grid;
		localStorage.setItem('weft-files', state.grid ? 'grid' : 'list');
		view.setAttribute('aria-pressed', String(state.grid));
		draw();
	} }, t('thumbnails'));
	replace(main, el('div.head', title, mayEdit() && el('div.actions', el('a.button', { href: '#/files/bin' }, icon('trash'), t('bin')), mayPut(state.folder) && [el('button', { onclick: () => newFolder(state.folder, again) }, icon('folder'), t('newFolder')), el('button', { onclick: () => folderPicker.click() }, icon('upload'), t('uploadFolder')), el('button.primary', { onclick: () => filePicker.click() }, icon('upload'), t('upload')), filePicker, folderPicker])), ways,
		el('div.toolbar', { role: 'search' }, el('div.searchbox', input, suggestions(input, () => changed({ q: input.value }))),
			select('kind', [['', t('anyKind')], ...KINDS.map((k) => [k, said('kinds', k)])], state.kind, (e) => changed({ kind: e.target.value }), t('kind')),
			select('date', [['', t('anyDate')], ['week', t('lastWeek')], ['month', t('lastMonth')], ['year', t('thisYear')]], state.date, (e) => changed({ date: e.target.value }), t('changed')),
			select('size', [['', t('anySize')], ['1M', '> 1 MiB'], ['100M', '> 100 MiB'], ['1G', '> 1 GiB']], state.size, (e) => changed({ size: e.target.value }), t('size')),
			select('sort', ['best', 'name', 'newest', 'oldest', 'largest', 'smallest'].map((s) => [s, t(`sort_${s}`)]), state.sort, (e) => changed({ sort: e.target.value }), t('sortBy')), view, el('button', { onclick: () => go(`graph?${new URLSearchParams(inFolder(words()) ? { q: inFolder(words()) } : { whole: 1 })}`) }, icon('graph'), t('asGraph'))),
		tagPicker(state.tags, () => changed({})), el('div.head', crumbs(state.folder), counted), uploads, place, bar);
	if (state.folder)
		title.textContent = nameOf(state.folder);
	const over = (event) => {
		if (![...event.dataTransfer.types].includes('Files'))
			return;
		event.preventDefault(); // else the browser goes away from here to show the file
		event.dataTransfer.dropEffect = mayPut(state.folder) ? 'copy' : 'none';
		document.body.classList.toggle('dropping', mayPut(state.folder));
	};
	const drop = async (event) => {
		document.body.classList.remove('dropping');
		if (![...event.dataTransfer.types].includes('Files'))
			return;
		event.preventDefault();
		if (mayPut(state.folder))
			dropped(event.dataTransfer).then(send).catch((error) => toast(error.message, 'bad')); // what cannot be read
	};
	const away = (event) => !event.relatedTarget && document.body.classList.remove('dropping');
	addEventListener('dragover', over);
	addEventListener('drop', drop);
	addEventListener('dragleave', away);
	watch(() => {
		removeEventListener('dragover', over);
		removeEventListener('drop', drop);
		removeEventListener('dragleave', away);
	});
	// what others change shows by itself; all that has come before the stream is there is looked for once
	const events = new EventSource(taggerUrl('events'));
	let timer = null;
	const soon = () => {
		timer ??= setTimeout(() => {
			timer = null;
			again();
		}, REFRESH_MS);
	};
	events.addEventListener('open', soon);
	events.addEventListener('change', soon);
	watch(() => {
		events.close();
		clearTimeout(timer);
	});
	await again(); // a folder that is not there leaves the way up
}
