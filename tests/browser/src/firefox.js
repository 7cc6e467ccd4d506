// A stock Firefox with a profile of its own, headless, driven over WebDriver BiDi.

import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { spawnSync } from 'node:child_process';
import { basename, dirname, join } from 'node:path';
import puppeteer from 'puppeteer-core';
import { trust } from './certificates.js';
import { pushPreferences, TEST_PREFERENCES } from './preferences.js';
import { Program } from './program.js';
import { PATIENCE_MS, until } from './until.js';

/** A running Firefox. */
export class Firefox {
  #browser;
  #profile;
  #program;

  /**
   * Starts Firefox and waits until it can be driven.
   *
   * @param {string} directory where its profile is kept; a second start with the same one is the same user
   * @param {string | undefined} webSocketUrl the push server, unless policies name it
   * @param {{authority?: string, policies?: object}} [options] the PEM file of an authority to trust; the content of
   *   policies.json
   */
  static async start(directory, webSocketUrl, { authority, policies } = {}) {
    const firefox = new Firefox();
    const profile = join(directory, 'profile');
    firefox.#profile = profile;
    const isNew = mkdirSync(profile, { recursive: true }) !== undefined;
    if (isNew && authority !== undefined) {
      trust(profile, authority);
    }
    const push = webSocketUrl === undefined ? {} : pushPreferences(webSocketUrl);
    // Read at each start; what Firefox itself has to remember is in prefs.js.
    writeFileSync(join(profile, 'user.js'), lines({ ...TEST_PREFERENCES, ...push }));
    const program = policies === undefined ? binary() : managed(directory, policies);
    const command = [program, '--headless', '--no-remote', '--profile', profile, '--remote-debugging-port', '0'];
    starts += 1;
    firefox.#program = new Program('firefox', command, {
      // A home of its own, for caches and crash reports.
      environment: { HOME: directory, MOZ_CRASHREPORTER_DISABLE: '1', TZ: 'UTC' },
      directory,
      log: join(directory, `firefox-${starts}.log`),
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

  /**
   * Waits until the service worker of a page is written down. Firefox does that some time after it was registered,
   * and would end a subscription without a service worker.
   */
  async remembers(url) {
    const file = join(this.#profile, 'serviceworker.txt');
    await until(`Firefox has written down ${url}`, () => readFileSync(file, 'utf8').includes(url));
  }

  /** Kills it as a crash would. */
  async kill() {
    await this.#program.kill();
  }
}

/** So that each start has a log of its own. */
let starts = 0;

function lines(preferences) {
  const line = ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`;
  return Object.entries(preferences).map(line).join('');
}

/**
 * A Firefox with policies, which it reads from the folder it is in: links to all files of the installed one, beside a
 * `distribution` of its own. The program itself is a copy, because it finds its folder by its own file.
 */
function managed(directory, policies) {
  const found = spawnSync('sh', ['-c', 'command -v "$0"', binary()], { encoding: 'utf8' }).stdout.trim();
  const installed = realpathSync(found);
  const folder = join(directory, 'firefox');
  mkdirSync(join(folder, 'distribution'), { recursive: true });
  for (const name of readdirSync(dirname(installed)).filter((name) => name !== 'distribution')) {
    const file = join(dirname(installed), name);
    if (file === installed) {
      copyFileSync(file, join(folder, name));
    } else {
      symlinkSync(file, join(folder, name));
    }
  }
  writeFileSync(join(folder, 'distribution', 'policies.json'), JSON.stringify(policies));
  return join(folder, basename(installed));
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
