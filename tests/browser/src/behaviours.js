// What a person and a site see of the server, however it is run. The tests of one fleet use one browser, one
// after another; each has a folder of the site, and so a subscription, of its own.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { APP_SERVERS, ask, ENCODINGS, newVapidKeys } from './app_servers.js';
import { until } from './until.js';
import { answers, Visit } from './visit.js';

/** More than two batches of stored messages (`batch_size` 10). */
const BACKLOG = 25;

/** By this one Mozilla tells Firefox that there are new settings to fetch. */
const FIREFOX_BROADCAST = 'remote-settings/monitor_changes';

/** The longest text that sites send in practice; libraries pad nothing by themselves. */
const LONG_TEXT = 'Grüße '.repeat(375);

/**
 * Defines the tests that hold for every fleet, and those that only this one has.
 *
 * @param {string} name
 * @param {() => Promise<import('./fleet.js').Fleet>} startFleet
 * @param {(test: (name: string, body: (visit: Visit) => Promise<void>) => void) => void} more
 */
export function behaviours(name, startFleet, more) {
  describe(name, () => {
    let visit;
    before(async () => {
      visit = await Visit.start(startFleet);
    });
    after(async () => {
      await visit?.end();
    });
    const test = (title, body) => it(title, () => visit.run(body));
    subscribing(test);
    receiving(test);
    refusing(test);
    beingAway(test);
    broadcasts(test);
    more(test);
    leaving(test);
  });
}

function subscribing(test) {
  test('a page subscribes, with and without the key of an application server', async (visit) => {
    const vapid = newVapidKeys();
    const open = await visit.subscribe('open', undefined);
    const restricted = await visit.subscribe('restricted', vapid);
    const origin = visit.fleet.endpointOrigin;
    assert.ok(open.endpoint.startsWith(`${origin}/wpush/v1/`), open.endpoint);
    assert.ok(restricted.endpoint.startsWith(`${origin}/wpush/v2/`), restricted.endpoint);
    // UnifiedPush's limit.
    assert.ok(restricted.endpoint.length <= 1000);
    assert.deepEqual(await visit.subscribe('restricted', vapid), restricted);
  });
}

function receiving(test) {
  for (const [library, send] of Object.entries(APP_SERVERS)) {
    for (const encoding of ENCODINGS) {
      test(`a message that ${library} encrypts as ${encoding} arrives decrypted`, async (visit) => {
        const folder = `${library}-${encoding}`;
        const vapid = newVapidKeys();
        const subscription = await visit.subscribe(folder, vapid);
        const texts = ['x', `sent by ${library} as ${encoding}`, LONG_TEXT];
        assert.equal(Buffer.byteLength(LONG_TEXT), 3000);
        for (const text of texts) {
          await answers(201, send(subscription, { text, encoding, vapid }), text.slice(0, 40));
        }
        await visit.receives(folder, texts);
        assert.equal((await visit.received(folder)).length, texts.length);
      });

      test(`${library} sends ${encoding} without VAPID to an unrestricted endpoint`, async (visit) => {
        const folder = `${library}-${encoding}-open`;
        const subscription = await visit.subscribe(folder, undefined);
        await answers(201, send(subscription, { text: 'from anybody', encoding }));
        await visit.receives(folder, ['from anybody']);
      });
    }

    test(`a message without a body that ${library} sends arrives`, async (visit) => {
      const folder = `${library}-empty`;
      const vapid = newVapidKeys();
      const subscription = await visit.subscribe(folder, vapid);
      await answers(201, send(subscription, { vapid }));
      await visit.receives(folder, [null]);
    });
  }
}

function refusing(test) {
  test('whoever has not the key of the subscription is refused', async (visit) => {
    const vapid = newVapidKeys();
    const subscription = await visit.subscribe('guarded', vapid);
    for (const [library, send] of Object.entries(APP_SERVERS)) {
      const foreign = newVapidKeys();
      await answers(401, send(subscription, { text: 'foreign', vapid: foreign }), `${library}, a foreign key`);
      await answers(401, send(subscription, { text: 'unsigned', vapid: undefined }), `${library}, no key`);
      await answers(201, send(subscription, { text: library, vapid }), `${library}, the key`);
    }
    // What was refused would have arrived before these.
    const libraries = Object.keys(APP_SERVERS);
    await visit.receives('guarded', libraries);
    assert.deepEqual((await visit.received('guarded')).sort(), libraries.sort());
  });

  test('an endpoint with a changed letter does not exist', async (visit) => {
    const { endpoint } = await visit.subscribe('changed', undefined);
    const last = endpoint.at(-2) === 'A' ? 'B' : 'A';
    const changed = endpoint.slice(0, -2) + last + endpoint.at(-1);
    const headers = { TTL: '60' };
    assert.equal((await ask(changed, { headers })).status, 404);
    assert.equal((await ask(endpoint, { headers })).status, 201);
    await visit.receives('changed', [null]);
  });
}

function beingAway(test) {
  test('what is sent while the browser is closed arrives when it is started again', async (visit) => {
    const vapid = newVapidKeys();
    const [first, second] = Object.values(APP_SERVERS);
    const before = await visit.subscribe('away', vapid);
    await answers(201, first(before, { text: 'while open', vapid }));
    await visit.receives('away', ['while open']);

    await visit.quitBrowser();
    await answers(201, first(before, { text: 'while closed', vapid }));
    await answers(201, second(before, { text: 'while closed, in the old way', encoding: 'aesgcm', vapid }));
    await answers(201, first(before, { text: 'too late', ttl: 0, vapid }));
    await answers(201, first(before, { text: 'score 0:0', topic: 'score', vapid }));
    await answers(201, second(before, { text: 'score 2:1', topic: 'score', vapid }));
    await visit.startBrowser();

    const arrived = ['while open', 'while closed', 'while closed, in the old way', 'score 2:1'];
    await visit.receives('away', arrived);
    assert.deepEqual((await visit.received('away')).sort(), arrived.sort());
    assert.deepEqual(await visit.subscription('away'), before);
  });

  test(`${BACKLOG} messages arrive, each once, after a crash of the browser`, async (visit) => {
    const send = APP_SERVERS['web-push'];
    const subscription = await visit.subscribe('crash', undefined);
    await visit.firefox.remembers(visit.site.page('crash'));
    await visit.firefox.kill();
    const texts = Array.from({ length: BACKLOG }, (_, index) => `message ${index}`);
    for (const text of texts) {
      await answers(201, send(subscription, { text }), text);
    }
    await visit.startBrowser();
    await visit.receives('crash', texts);
    assert.deepEqual((await visit.received('crash')).sort(), texts.sort());
  });
}

function broadcasts(test) {
  test('Firefox hears of the broadcast that it subscribes to by itself', async (visit) => {
    const [first, second] = [randomUUID(), randomUUID()];
    const hears = async (version) => {
      const heard = new RegExp(`BroadcastService: "receivedBroadcastMessage:".*${version}`);
      // It may subscribe some time after its start.
      await until(`Firefox hears of ${version}`, () => heard.test(visit.firefox.log));
    };
    // Subscribing to a broadcast that is not there has no effect, so it has to be there when Firefox starts.
    await visit.fleet.setBroadcast(FIREFOX_BROADCAST, first);
    await visit.quitBrowser();
    await visit.startBrowser();
    await hears(first);
    await visit.fleet.setBroadcast(FIREFOX_BROADCAST, second);
    await hears(second);
  });
}

function leaving(test) {
  test('after unsubscribing the endpoint is gone, and a new subscription has another', async (visit) => {
    const vapid = newVapidKeys();
    const former = await visit.subscribe('leaving', vapid);
    assert.equal(await visit.unsubscribe('leaving'), true);
    for (const [library, send] of Object.entries(APP_SERVERS)) {
      await answers(410, send(former, { text: 'gone', vapid }), library);
    }
    const latter = await visit.subscribe('leaving', vapid);
    assert.notEqual(latter.endpoint, former.endpoint);
    await answers(201, APP_SERVERS['web-push'](latter, { text: 'back', vapid }));
    await visit.receives('leaving', ['back']);
    assert.deepEqual(await visit.received('leaving'), ['back']);
  });
}
