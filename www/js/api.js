// Calls of volmgr's API. A refusal becomes a Refused with what volmgr said and what to do; no answer becomes
// one with the code "offline".
import { inWords, said, t } from './i18n.js';

const TIMEOUT_MS = 20000;
let csrf = '';
let onLoggedOut = () => {};

export class Refused extends Error {
	constructor(status, error) {
		const byCode = said('refusals', error.code);
		super(inWords(error.message, byCode !== error.code ? byCode : undefined));
		this.status = status;
		this.code = error.code;
		this.hint = inWords(error.hint);
		this.original = error.message;
	}
}

export function setCsrf(token) {
	csrf = token;
}

export function csrfToken() {
	return csrf;
}

export function whenLoggedOut(fn) {
	onLoggedOut = fn;
}

// What is refused without a reason in it does not come from weft, or is a fault of it.
export function refusal(status, error) {
	return new Refused(status, error ?? { code: String(status), message: t(status === 413 ? 'tooLarge' : 'strangeAnswer', status) });
}

export async function call(method, path, body, { signal, timeout = TIMEOUT_MS } = {}) {
	const headers = {};
	if (body !== undefined)
		headers['Content-Type'] = 'application/json';
	if (method !== 'GET' && csrf)
		headers['X-Weft-CSRF'] = csrf;
	let answer;
	try {
		const late = AbortSignal.timeout(timeout);
		answer = await fetch(`api/v1${path}`, {
			method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: 'no-store',
			signal: signal ? AbortSignal.any([signal, late]) : late,
		});
	} catch (error) {
		if (signal?.aborted)
			throw error;
		throw new Refused(0, { code: 'offline', message: t('offline'), hint: t('offlineHint') });
	}
	const text = await answer.text();
	let said;
	try {
		said = JSON.parse(text);
	} catch {
		said = {};
	}
	if (answer.ok)
		return said;
	const refused = refusal(answer.status, said.error);
	if (refused.code === 'not_logged_in')
		onLoggedOut();
	throw refused;
}

export const get = (path, options) => call('GET', path, undefined, options);
export const post = (path, body = {}) => call('POST', path, body);
export const patch = (path, body) => call('PATCH', path, body);
export const del = (path) => call('DELETE', path);

export function query(path, parameters) {
	const q = new URLSearchParams();
	for (const [k, v] of Object.entries(parameters))
		if (v !== undefined && v !== null && v !== '')
			q.set(k, v);
	const text = q.toString();
	return text ? `${path}?${text}` : path;
}
