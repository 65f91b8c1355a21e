// One stream of events from volmgr for the whole page: state, rates, and the number of the last event, by
// which lists know that something has changed. While the page is hidden there is no stream. When volmgr goes
// away the browser tries again by itself, and the page says so meanwhile.

const listeners = new Set();
let source = null;
let retry = null;
let fails = 0;
let last = null;
let connected = null; // null: not known yet

// volmgr is restarted in seconds; after some tries it is asked as seldom as anything is asked for.
const RETRY_MS = [200, 1000, 2000, 4000, 10000];
const LATE_MS = 10000; // an event comes every two seconds; a connection that is dead may not say so
let late = null;

function tell() {
	for (const fn of [...listeners])
		fn(last, connected);
}

// A stream ends now and then on purpose: only when the next one fails as well, something is wrong.
function failed() {
	source?.close();
	source = null;
	clearTimeout(late);
	if (++fails > 1 && connected !== false) {
		connected = false;
		tell();
	}
	clearTimeout(retry);
	if (!document.hidden && listeners.size > 0)
		retry = setTimeout(open, RETRY_MS[Math.min(fails, RETRY_MS.length) - 1]);
}

// Nothing has come for long, or the network is gone: no need to try once more before it is said.
function lost() {
	if (!source)
		return;
	fails = Math.max(fails, 1);
	failed();
}

function expect() {
	clearTimeout(late);
	late = setTimeout(lost, LATE_MS);
}

// Somebody looks again, or there is a network again: now is the time to try.
function again() {
	fails = Math.min(fails, 1);
	if (listeners.size > 0)
		open();
}

function open() {
	if (source || document.hidden)
		return;
	source = new EventSource('api/v1/live');
	expect();
	source.addEventListener('live', (event) => {
		expect();
		fails = 0;
		last = JSON.parse(event.data);
		connected = true;
		tell();
	});
	source.onerror = failed;
}

export function close() {
	clearTimeout(retry);
	clearTimeout(late);
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

// fn() with the next event, which comes when volmgr is there again. Returns what ends it.
export function onceBack(fn) {
	let asked = false;
	const stop = live((event, there) => {
		if (!asked || !event || !there)
			return;
		stop();
		fn();
	});
	asked = true;
	return stop;
}

export function forget() {
	close();
	last = null;
	connected = null;
}

document.addEventListener('visibilitychange', () => (document.hidden ? close() : again()));
addEventListener('offline', lost);
addEventListener('online', again);
