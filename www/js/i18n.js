// The page's language: chosen by the person, else by the browser. Texts are in text-en.js and text-zh.js,
// with the same names; a text with numbers in it is a function.
import en from './text-en.js';
import zh from './text-zh.js';

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

document.documentElement.lang = language();
