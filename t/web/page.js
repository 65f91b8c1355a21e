// A browser for the tests: Debian's chromium without a window, driven by playwright-core, which is found in
// the folder WEFT_WEB_MODULES.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const require = createRequire(`${resolve(process.env.WEFT_WEB_MODULES)}/`);
const { chromium } = require('playwright-core');

export const axeSource = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

export async function openBrowser() {
	return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
}

// A window: what goes wrong in it is collected in faults.
export async function openPage(browser, options = {}) {
	const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, locale: 'en-GB', ...options });
	const page = await context.newPage();
	page.faults = [];
	page.expected = [];
	page.setDefaultTimeout(60000); // for machines that are slow and busy
	page.on('pageerror', (error) => page.faults.push(`error: ${error.message}`));
	page.on('console', (message) => {
		const text = message.text(), { url, lineNumber } = message.location();
		if (message.type() === 'error' && !/status of 4|ERR_CONNECTION|ERR_INCOMPLETE|ERR_NETWORK|ERR_INTERNET|Blocked script execution/.test(text))
			page.faults.push(`console: ${text} (at ${url}:${lineNumber}, while on ${page.url()})`);
	});
	return page;
}

// Nothing may be wider than the window.
export async function overflow(page) {
	return page.evaluate(() => {
		const width = document.documentElement.clientWidth;
		return [...document.querySelectorAll('body *')].filter((e) => {
			const box = e.getBoundingClientRect();
			return box.width > 0 && box.right > width + 1 && !e.closest('.scroll, .hidden, pre, .skip, .u-legend') && getComputedStyle(e).position !== 'fixed';
		}).slice(0, 5).map((e) => `${e.tagName}.${e.className}`);
	});
}
