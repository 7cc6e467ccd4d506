// A stock Firefox with a profile of its own, headless, driven over WebDriver BiDi.

import { mkdirSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';
import { trust } from './certificates.js';
import { pushPreferences, TEST_PREFERENCES } from './preferences.js';
import { Program } from './program.js';
import { PATIENCE_MS } from './until.js';

/** A running Firefox. */
export class Firefox {
  #browser;
  #program;

  /**
   * Starts Firefox and waits until it can be driven.
   *
   * @param {string} directory where its profile is kept; a second start with the same one is the same user
   * @param {string} webSocketUrl the push server
   * @param {string} [authority] PEM file of an authority to trust
   */
  static async start(directory, webSocketUrl, authority) {
    const firefox = new Firefox();
    const profile = join(directory, 'profile');
    const isNew = mkdirSync(profile, { recursive: true }) !== undefined;
    if (isNew && authority !== undefined) {
      trust(profile, authority);
    }
    // Read at each start; what Firefox itself has to remember is in prefs.js.
    writeFileSync(join(profile, 'user.js'), lines({ ...TEST_PREFERENCES, ...pushPreferences(webSocketUrl) }));
    const command = [binary(), '--headless', '--no-remote', '--profile', profile, '--remote-debugging-port', '0'];
    firefox.starts = (starts += 1);
    firefox.#program = new Program('firefox', command, {
      // A home of its own, for caches and crash reports.
      environment: { HOME: directory, MOZ_CRASHREPORTER_DISABLE: '1', TZ: 'UTC' },
      directory,
      log: join(directory, `firefox-${firefox.starts}.log`),
    });
    const address = await firefox.#program.until('Firefox can be driven', () => {
      return firefox.#program.log.match(/WebDriver BiDi listening on (ws:\S+)/)?.[1];
    });
    firefox.#browser = await puppeteer.connect({
      browserWSEndpoint: `${address}/session`,
      protocol: 'webDriverBiDi',
      defaultViewport: { width: 1000, height: 464 },
      protocolTimeout: PATIENCE_MS,
    });
    return firefox;
  }

  /** Everything it has written since this start; with what its push service does. */
  get log() {
    return this.#program.log;
  }

  /** The end of its log. */
  get lastWords() {
    return this.#program.lastWords;
  }

  /** What it calls itself, like `firefox/140.1`. */
  version() {
    return this.#browser.version();
  }

  /** Opens a page. */
  async open(url) {
    const page = await this.#browser.newPage();
    await page.goto(url);
    return page;
  }

  /** Quits, as a user would. */
  async quit() {
    await this.#browser.close();
    await this.#program.ended();
  }

  /** Kills it as a crash would. */
  async kill() {
    await this.#program.kill();
  }
}

let starts = 0;

function lines(preferences) {
  const line = ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`;
  return Object.entries(preferences).map(line).join('');
}

/** Debian's package, or the program that `FIREFOX` names. */
function binary() {
  const candidates = process.env.FIREFOX ? [process.env.FIREFOX] : ['firefox-esr', 'firefox'];
  const isThere = (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0;
  const found = candidates.find(isThere);
  if (found === undefined) {
    throw new Error(`no ${candidates.join(' and no ')}: install firefox-esr, or name a Firefox in FIREFOX`);
  }
  return found;
}
