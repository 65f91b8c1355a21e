// Elements without a framework. What comes from elsewhere is put in as text, never as HTML.

const SVG = 'http://www.w3.org/2000/svg';

// el('button.primary', { onclick }, 'text', child, [children]): null and false children are left out.
export function el(what, props, ...children) {
	const [tag, ...classes] = what.split('.');
	const e = document.createElement(tag || 'div');
	if (classes.length)
		e.className = classes.join(' ');
	if (props instanceof Node || typeof props === 'string' || Array.isArray(props)) {
		children.unshift(props);
		props = null;
	}
	for (const [name, value] of Object.entries(props ?? {})) {
		if (value === undefined || value === null || value === false)
			continue;
		if (name.startsWith('on'))
			e.addEventListener(name.slice(2), value);
		else if (name === 'style')
			for (const [k, v] of Object.entries(value))
				e.style.setProperty(k, v);
		else if (name in e && typeof value !== 'string' && name !== 'list')
			e[name] = value;
		else
			e.setAttribute(name, value === true ? '' : value);
	}
	e.append(...children.flat(3).filter((c) => c !== null && c !== undefined && c !== false && c !== ''));
	return e;
}

// The same for pictures.
export function svg(tag, attributes, ...children) {
	const e = document.createElementNS(SVG, tag);
	for (const [name, value] of Object.entries(attributes ?? {}))
		if (value !== undefined && value !== null)
			e.setAttribute(name, value);
	e.append(...children.flat().filter(Boolean));
	return e;
}

const ICONS = {
	overview: 'M3 12 12 4l9 8M6 10v10h4v-6h4v6h4V10',
	volumes: 'M4 6c0-1.7 3.6-3 8-3s8 1.3 8 3-3.6 3-8 3-8-1.3-8-3zm0 0v12c0 1.7 3.6 3 8 3s8-1.3 8-3V6M4 12c0 1.7 3.6 3 8 3s8-1.3 8-3',
	servers: 'M4 4h16v7H4zM4 13h16v7H4zM8 7.5h.01M8 16.5h.01M12 7.5h5M12 16.5h5',
	files: 'M3 6h6l2 2h10v11H3z',
	graph: 'M6 6m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0M18 5m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0M12 18m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0M8 6l8-.6M7 8l4 8M17 7l-4 9',
	events: 'M4 5h16M4 10h16M4 15h10M4 20h7',
	people: 'M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM2 21c0-4 3-7 7-7s7 3 7 7M16 4a4 4 0 0 1 0 7M18 14c2.400 1 4 3.600 4 7',
	settings: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 7m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0M9 17m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0',
	about: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5M12 8h.01',
	menu: 'M4 6h16M4 12h16M4 18h16',
	plus: 'M12 5v14M5 12h14',
	copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
	trash: 'M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5',
	power: 'M12 3v8M6.500 6.500a8 8 0 1 0 11 0',
	search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5',
	good: 'M5 13l4 4L19 7',
	warn: 'M12 4 2.500 20h19zM12 10v4M12 17h.01',
	bad: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM9 9l6 6M15 9l-6 6',
	close: 'M6 6l12 12M18 6 6 18',
	back: 'M15 5l-7 7 7 7',
	next: 'M9 5l7 7-7 7',
	first: 'M18 5l-7 7 7 7M7 5v14',
	last: 'M6 5l7 7-7 7M17 5v14',
	user: 'M12 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 21c0-4 3.600-7 8-7s8 3 8 7',
	link: 'M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1',
	upload: 'M12 16V4M7 9l5-5 5 5M4 20h16',
	download: 'M12 4v12M7 11l5 5 5-5M4 20h16',
	folder: 'M3 6h6l2 2h10v11H3z',
	file: 'M6 3h8l4 4v14H6zM14 3v4h4',
	image: 'M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01',
	video: 'M4 5h16v14H4zM10 9v6l5-3z',
	audio: 'M9 18V5l10-2v13M9 18m-3 0a3 2.500 0 1 0 6 0a3 2.500 0 1 0-6 0M19 16m-3 0a3 2.500 0 1 0 6 0a3 2.500 0 1 0-6 0',
	source: 'M8 7l-5 5 5 5M16 7l5 5-5 5M13.500 5l-3 14',
	archive: 'M4 4h16v5H4zM5 9v11h14V9M10 13h4',
	document: 'M6 3h8l4 4v14H6zM14 3v4h4M9 12h6M9 16h6',
	text: 'M6 3h8l4 4v14H6zM14 3v4h4M9 12h6M9 16h3',
	page: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM3 12h18M12 3c3 3 3 15 0 18M12 3c-3 3-3 15 0 18',
	mail: 'M3 6h18v12H3zM3 7l9 7 9-7',
	tag: 'M3 12V4h8l10 10-8 7zM7.500 8h.01',
};

export function icon(name) {
	return svg('svg', { viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true' },
		svg('path', { d: ICONS[name] ?? ICONS.about }));
}

// A colour of the style sheet as rgb(), for pictures: with an opacity if need be.
export function colour(name, opacity = 1) {
	const probe = el('i', { style: { color: `var(${name})`, display: 'none' } });
	document.body.append(probe);
	const [r, g, b] = getComputedStyle(probe).color.match(/[0-9.]+/g);
	probe.remove();
	return `rgba(${r}, ${g}, ${b}, ${opacity})`;
}

// fn() when colours change: the theme, or the browser's scheme. Returns what ends that.
const dark = matchMedia('(prefers-color-scheme: dark)');

export function onColours(fn) {
	document.addEventListener('themechange', fn);
	dark.addEventListener('change', fn);
	return () => {
		document.removeEventListener('themechange', fn);
		dark.removeEventListener('change', fn);
	};
}

// By what one knows again the thing that had the focus.
const nameOf = (e) => `${e.tagName} ${e.getAttribute('aria-label') ?? e.getAttribute('name') ?? e.textContent}`;

// Who was on one of the old children goes on with the new one of the same name.
export function replace(place, ...children) {
	const focused = place.contains(document.activeElement) && document.activeElement !== place ? document.activeElement : null;
	place.replaceChildren(...children.flat(3).filter(Boolean));
	if (focused && !focused.isConnected)
		[...place.querySelectorAll(focused.tagName)].find((e) => nameOf(e) === nameOf(focused))?.focus({ preventScroll: true });
}

// Changes only what differs, so that a list that is refreshed keeps focus, selection and scroll.
// Old and new children are matched by their place; an element with the same data-key is updated in depth.
export function morph(from, to) {
	if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName ||
	    from.dataset?.key !== to.dataset?.key || to.dataset?.fresh !== undefined) {
		from.replaceWith(to);
		return;
	}
	if (from.nodeType === Node.TEXT_NODE) {
		if (from.data !== to.data)
			from.data = to.data;
		return;
	}
	if (from.isEqualNode(to))
		return;
	for (const { name } of [...from.attributes])
		if (!to.hasAttribute(name))
			from.removeAttribute(name);
	for (const { name, value } of to.attributes) {
		if (from.getAttribute(name) === value)
			continue;
		if (name === 'style') // as an attribute the page's policy refuses it
			from.style.cssText = to.style.cssText;
		else
			from.setAttribute(name, value);
	}
	const old = [...from.childNodes], fresh = [...to.childNodes];
	fresh.forEach((child, i) => (old[i] ? morph(old[i], child) : from.append(child)));
	old.slice(fresh.length).forEach((child) => child.remove());
}
