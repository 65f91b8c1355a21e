// Markdown as elements: headings, lists, code, quotes, rules, bold, italic, code and links to the outside.
// Nothing of it is ever put in as HTML.
import { el } from './dom.js';

function inline(text) {
	const out = [];
	const rule = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[([^\]]+)\]\((https?:[^)\s]+)\)/g;
	let at = 0;
	for (const m of text.matchAll(rule)) {
		out.push(text.slice(at, m.index));
		if (m[1])
			out.push(el('code', m[1]));
		else if (m[2])
			out.push(el('strong', m[2]));
		else if (m[3])
			out.push(el('em', m[3]));
		else
			out.push(el('a', { href: m[5], rel: 'noreferrer noopener', target: '_blank' }, m[4]));
		at = m.index + m[0].length;
	}
	out.push(text.slice(at));
	return out;
}

export function markdown(text) {
	const out = el('div.markdown');
	let list = null, code = null, paragraph = null;
	const close = () => {
		list = paragraph = null;
	};
	for (const line of text.split('\n')) {
		if (/^```/.test(line)) {
			code = code ? null : out.appendChild(el('pre'));
			close();
		} else if (code) {
			code.append(`${line}\n`);
		} else if (/^#{1,6} /.test(line)) {
			close();
			out.append(el(`h${Math.min(6, line.match(/^#+/)[0].length + 2)}`, inline(line.replace(/^#+ /, ''))));
		} else if (/^\s*([-*]|\d+\.) /.test(line)) {
			paragraph = null;
			list ??= out.appendChild(el(/^\s*\d/.test(line) ? 'ol' : 'ul'));
			list.append(el('li', inline(line.replace(/^\s*([-*]|\d+\.) /, ''))));
		} else if (/^(---|\*\*\*)\s*$/.test(line)) {
			close();
			out.append(el('hr'));
		} else if (line.trim() === '') {
			close();
		} else {
			list = null;
			paragraph ??= out.appendChild(el(line.startsWith('>') ? 'blockquote' : 'p'));
			paragraph.append(...inline(`${line.replace(/^> ?/, '')} `));
		}
	}
	return out;
}
