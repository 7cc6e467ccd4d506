// Debian's Chromium with a profile of its own, headless. It cannot receive push messages from a server of one's own,
// so it drives pages only.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';
import { PATIENCE_MS } from './until.js';

/** A running Chromium. */
export class Chromium {
  #browser;

  /** @param {string} directory where its profile is kept */
  static async start(directory) {
    const chromium = new Chromium();
    chromium.#browser = await puppeteer.launch({
      executablePath: binary(),
      userDataDir: join(directory, 'chromium'),
      defaultViewport: { width: 1000, height: 464 },
      protocolTimeout: PATIENCE_MS,
      // Its sandbox needs rights that a container and root do not have. The page is ours, and no other host is reached.
      args: ['--no-sandbox', '--disable-dev-shm-usage', '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1'],
      env: { PATH: process.env.PATH, HOME: directory, TZ: 'UTC' },
    });
    return chromium;
  }

  /** Opens a page. */
  async open(url) {
    const page = await this.#browser.newPage();
    await page.goto(url);
    return page;
  }

  /** Ends it. */
  async kill() {
    await this.#browser.close();
  }
}

/** Debian's package, or the program that `CHROMIUM` names. */
function binary() {
  const candidates = process.env.CHROMIUM ? [process.env.CHROMIUM] : ['chromium', 'chromium-browser'];
  const found = candidates
    .map((name) => spawnSync('sh', ['-c', 'command -v "$0"', name], { encoding: 'utf8' }))
    .find((search) => search.status === 0);
  if (found === undefined) {
    throw new Error(`no ${candidates.join(' and no ')}: install chromium, or name one in CHROMIUM`);
  }
  return found.stdout.trim();
}
