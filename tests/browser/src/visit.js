// A person who visits the site with Firefox, and an application server that sends to that person.

import assert from 'node:assert/strict';
import { Firefox } from './firefox.js';
import { Fleet } from './fleet.js';
import { Site } from './site.js';
import { until } from './until.js';

/** The servers, the site and a browser, started together. */
export class Visit {
  #pages = new Map();
  #startFirefox;

  /**
   * @param {() => Promise<Fleet> | Fleet} startFleet
   * @param {(fleet: Fleet) => Promise<Firefox>} [startFirefox] a Firefox whose user has set the preference, unless given
   */
  static async start(startFleet, startFirefox = startByPreference) {
    const visit = new Visit();
    visit.#startFirefox = startFirefox;
    visit.fleet = await startFleet();
    visit.site = await Site.start();
    await visit.startBrowser();
    return visit;
  }

  /** Starts the browser of the same person: the same profile. */
  async startBrowser() {
    this.#pages.clear();
    this.firefox = await this.#startFirefox(this.fleet);
  }

  /** Quits the browser, as the person would. */
  async quitBrowser() {
    await this.firefox.quit();
  }

  /** The page of a folder, opened when it is first asked for. */
  async page(folder) {
    if (!this.#pages.has(folder)) {
      this.#pages.set(folder, await this.firefox.open(this.site.page(folder)));
    }
    return this.#pages.get(folder);
  }

  /** Subscribes on the page of a folder, for the application server with this key, if there is one. */
  async subscribe(folder, vapid) {
    const page = await this.page(folder);
    return page.evaluate((key) => globalThis.push.subscribe(key), vapid?.publicKey);
  }

  /** The subscription of a folder, as the browser remembers it. */
  async subscription(folder) {
    return (await this.page(folder)).evaluate(() => globalThis.push.subscription());
  }

  async unsubscribe(folder) {
    return (await this.page(folder)).evaluate(() => globalThis.push.unsubscribe());
  }

  /** What the service worker of a folder has received: texts, null for a message without one. */
  async received(folder) {
    return (await this.page(folder)).evaluate(() => globalThis.push.received());
  }

  /** Waits until the service worker of a folder has received all these, in any order. */
  async receives(folder, texts) {
    await until(`${JSON.stringify(texts).slice(0, 200)} arrive`, async () => {
      const received = await this.received(folder);
      return texts.every((text) => received.includes(text));
    });
  }

  /** Ends everything; says what the programs said last if a test has failed. */
  async end() {
    await this.firefox?.kill();
    this.site?.close();
    await this.fleet?.close();
  }

  /** Runs one test's body; when it fails, what browser and servers have written is part of the message. */
  async run(body) {
    try {
      await body(this);
    } catch (error) {
      console.error(`${this.fleet.lastWords}\n${this.firefox.lastWords}`);
      throw error;
    }
  }
}

function startByPreference({ authority, directory, webSocketUrl }) {
  return Firefox.start(directory, webSocketUrl, { authority });
}

/** Wants a status, and says for what. */
export async function answers(status, sending, what) {
  assert.equal(await sending, status, what);
}
