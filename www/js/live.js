// One stream of events from volmgr for the whole page: state, rates, and the number of the last event, by
// which lists know that something has changed. While the page is hidden there is no stream. When volmgr goes
// away the browser tries again by itself, and the page says so meanwhile.

const listeners = new Set();
let source = null;
let retry = null;
let fails = 0;
let last = null;
let connected = null; // null: not known yet

const RETRY_MS = 3000;

function tell() {
	for (const fn of [...listeners])
		fn(last, connected);
}

// A stream ends now and then on purpose: only when the next one fails as well, something is wrong.
function failed() {
	source?.close();
	source = null;
	if (++fails > 1 && connected !== false) {
		connected = false;
		tell();
	}
	clearTimeout(retry);
	if (!document.hidden && listeners.size > 0)
		retry = setTimeout(open, fails > 1 ? RETRY_MS : 200);
}

function open() {
	if (source || document.hidden)
		return;
	source = new EventSource('api/v1/live');
	source.addEventListener('live', (event) => {
		fails = 0;
		last = JSON.parse(event.data);
		connected = true;
		tell();
	});
	source.onerror = failed;
}

export function close() {
	clearTimeout(retry);
	source?.close();
	source = null;
}

// fn(last, connected) now, if something is known, and on each event. Returns what ends it.
export function live(fn) {
	listeners.add(fn);
	open();
	if (last)
		fn(last, connected);
	return () => listeners.delete(fn);
}

export function forget() {
	close();
	last = null;
	connected = null;
}

document.addEventListener('visibilitychange', () => (document.hidden ? close() : listeners.size && open()));
addEventListener('online', () => listeners.size && open());
