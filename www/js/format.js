// Numbers, sizes and times for people, in the page's language.
import { language } from './i18n.js';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

export function bytes(n) {
	if (!Number.isFinite(n))
		return '–';
	let i = 0;
	while (Math.abs(n) >= 1024 && i < UNITS.length - 1) {
		n /= 1024;
		i++;
	}
	return `${Number(n.toFixed(n < 10 && i > 0 ? 2 : n < 100 && i > 0 ? 1 : 0))} ${UNITS[i]}`;
}

export function rate(n) {
	return `${bytes(n)}/s`;
}

export function count(n) {
	if (!Number.isFinite(n))
		return '–';
	return new Intl.NumberFormat(language(), n >= 100000 ? { notation: 'compact', maximumFractionDigits: 1 } : {}).format(n);
}

// Each digit of it.
export function exact(n) {
	return new Intl.NumberFormat(language()).format(n);
}

export function percent(part, all) {
	return all > 0 ? `${Math.round((part / all) * 100)} %` : '–';
}

// Microseconds.
export function latency(us) {
	if (!us)
		return '–';
	if (us < 1000)
		return `${Math.round(us)} µs`;
	return us < 1e6 ? `${Number((us / 1000).toFixed(us < 1e4 ? 1 : 0))} ms` : `${Number((us / 1e6).toFixed(1))} s`;
}

// Seconds since 1970.
export function moment(s) {
	return s ? new Date(s * 1000).toLocaleString(language(), { dateStyle: 'medium', timeStyle: 'short' }) : '–';
}

export function ago(s) {
	if (!s)
		return '–';
	const d = s - Date.now() / 1000;
	const f = new Intl.RelativeTimeFormat(language(), { numeric: 'auto' });
	for (const [unit, length] of [['day', 86400], ['hour', 3600], ['minute', 60]])
		if (Math.abs(d) >= length)
			return f.format(Math.round(d / length), unit);
	return f.format(Math.round(d), 'second');
}

export function duration(s) {
	if (!Number.isFinite(s))
		return '–';
	const d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24, m = Math.floor(s / 60) % 60;
	const [day, hour, minute, second] = language() === 'zh-CN' ? ['天', '小时', '分钟', '秒'] : ['d', 'h', 'min', 's'];
	if (d > 0)
		return `${d} ${day} ${h} ${hour}`;
	if (h > 0)
		return `${h} ${hour} ${m} ${minute}`;
	return m > 0 ? `${m} ${minute}` : `${Math.floor(s)} ${second}`;
}

// Seconds into a film: 1:02:03.
export function clock(s) {
	const two = (x) => String(Math.floor(x)).padStart(2, '0');
	return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two((s % 3600) / 60)}:${two(s % 60)}`;
}

// "10G" or "1.5 TiB" to bytes, rounded down to 4096; NaN when it is no size.
export function parseSize(text) {
	const m = /^\s*([0-9]+(?:[.,][0-9]+)?)\s*([kmgtp]?)(?:i?b)?\s*$/i.exec(text);
	if (!m)
		return NaN;
	const n = Number(m[1].replace(',', '.')) * 1024 ** ' kmgtp'.indexOf(m[2].toLowerCase() || ' ');
	return Math.floor(n / 4096) * 4096;
}
