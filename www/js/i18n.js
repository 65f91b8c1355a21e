// The page's language: chosen by the person, else by the browser. Texts are in text-en.js and text-zh.js,
// with the same names; a text with numbers in it is a function.
import en from './text-en.js';
import zh from './text-zh.js';
import saidZh from './said-zh.js';

const TEXTS = { en, zh };
const KEY = 'weft-language';

function wanted() {
	const kept = localStorage.getItem(KEY);
	if (kept in TEXTS)
		return kept;
	return navigator.languages?.find((l) => /^(zh|en)/i.test(l))?.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

let current = wanted();

export function language() {
	return current === 'zh' ? 'zh-CN' : 'en';
}

export function languageName() {
	return current;
}

export function setLanguage(name) {
	current = name;
	localStorage.setItem(KEY, name);
	document.documentElement.lang = language();
}

export function t(name, ...values) {
	const text = TEXTS[current][name] ?? TEXTS.en[name];
	if (text === undefined)
		throw new Error(`there is no text "${name}"`);
	return typeof text === 'function' ? text(...values) : text;
}

// What volmgr says, where there is a translation; else as it is.
export function said(kind, word) {
	return TEXTS[current][kind]?.[word] ?? TEXTS.en[kind]?.[word] ?? word;
}

// All there is of a kind, in the page's language: [word, text]...
export function allSaid(kind) {
	return Object.entries({ ...TEXTS.en[kind], ...TEXTS[current][kind] });
}

// A sentence of the API in the page's language: found by its words, with values in their places; else null.
let sentences = null;

function learn() {
	const quoted = (s) => s.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&').replaceAll('\\{\\}', '(.*?)');
	sentences = { plain: new Map(), patterns: [] };
	for (const [from, to, part] of saidZh)
		if (from.includes('{}'))
			sentences.patterns.push([new RegExp(`^${quoted(from)}$`, 's'), to, part, from.length]);
		else
			sentences.plain.set(from, to);
	sentences.patterns.sort((a, b) => b[3] - a[3]); // what says more of it first
}

function sentence(text, isPart) {
	if (!sentences)
		learn();
	const plain = sentences.plain.get(text) ?? zh.states[text] ?? zh.roles[text];
	if (plain !== undefined)
		return plain;
	for (const [pattern, to, part] of sentences.patterns) {
		const values = (isPart || !part) && pattern.exec(text);
		if (values)
			return to.replace(/\{(\d)(~?)\}/g, (_, i, tilde) => (tilde ? sentence(values[i], true) ?? values[i] : values[i]));
	}
	return null;
}

// In Chinese: the sentence, or what is said else, or as it is. isPart: it is no whole sentence.
export function inWords(text, other, isPart = false) {
	return current === 'zh' && text ? sentence(text, isPart) ?? other ?? text : text;
}

document.documentElement.lang = language();
