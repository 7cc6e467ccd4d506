// Firefox, application servers and a SimplePush device with TLS: of the reverse proxies of deploy/, and of the server itself.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import WebSocket from 'ws';
import { APP_SERVERS, ask, newVapidKeys } from '../src/app_servers.js';
import { Fleet } from '../src/fleet.js';
import { REVERSE_PROXIES } from '../src/reverse_proxies.js';
import { answers, Visit } from '../src/visit.js';

/** What a push server must not refuse (RFC 8030), and more than any takes. */
const BODY_MUST_BYTES = 4096;
const BODY_TOO_LONG_BYTES = 60_000;

const HEADERS = { TTL: '600', 'Content-Encoding': 'aes128gcm' };

/** How a server gets its TLS. */
const FLEETS = {
  ...Object.fromEntries(Object.keys(REVERSE_PROXIES).map((proxy) => [`behind ${proxy}`, () => Fleet.behind(proxy)])),
  'with TLS of its own': Fleet.withTls,
};

for (const [name, start] of Object.entries(FLEETS)) {
  describe(name, () => {
    let visit;
    before(async () => {
      visit = await Visit.start(start);
    });
    after(async () => {
      await visit?.end();
    });
    const test = (title, body) => it(title, () => visit.run(body));

    test('Firefox connects by wss, and libraries send to https endpoints', async ({ fleet }) => {
      const { authority } = fleet;
      const vapid = newVapidKeys();
      const subscription = await visit.subscribe('tls', vapid);
      assert.ok(subscription.endpoint.startsWith(`${fleet.endpointOrigin}/wpush/v2/`), subscription.endpoint);
      for (const [library, send] of Object.entries(APP_SERVERS)) {
        await answers(201, send(subscription, { text: library, vapid, authority }), library);
        await answers(401, send(subscription, { text: 'foreign', vapid: newVapidKeys(), authority }), library);
      }
      await visit.receives('tls', Object.keys(APP_SERVERS));
      assert.equal(await visit.unsubscribe('tls'), true);
      await answers(410, APP_SERVERS['web-push'](subscription, { text: 'gone', vapid, authority }));
    });

    test('the limits are those of the server, with its reasons', async ({ fleet }) => {
      const { authority } = fleet;
      const { endpoint } = await visit.subscribe('limits', undefined);
      const post = (bytes) => ask(endpoint, { headers: HEADERS, body: Buffer.alloc(bytes), authority });
      const accepted = await post(BODY_MUST_BYTES);
      assert.equal(accepted.status, 201);
      assert.ok(accepted.headers.location.startsWith(`${fleet.endpointOrigin}/m/`), accepted.headers.location);
      const refused = await post(BODY_TOO_LONG_BYTES);
      assert.equal(refused.status, 413);
      assert.equal(JSON.parse(refused.text).errno, 104);
      const cancelled = await ask(accepted.headers.location, { method: 'DELETE', authority });
      assert.equal(cancelled.status, 204);
    });

    test('a SimplePush device gets what is PUT to its endpoint', async ({ fleet }) => {
      const { authority } = fleet;
      const socket = new WebSocket(fleet.webSocketUrl, 'push-notification', { ca: readFileSync(authority) });
      const say = (message) => socket.send(JSON.stringify(message));
      const hears = async () => JSON.parse((await once(socket, 'message'))[0]);
      await once(socket, 'open');
      assert.equal(socket.protocol, 'push-notification');
      say({ messageType: 'hello', use_webpush: false, channelIDs: [] });
      assert.equal((await hears()).status, 200);
      const channelID = '0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10';
      say({ messageType: 'register', channelID });
      const { pushEndpoint } = await hears();
      assert.ok(pushEndpoint.startsWith(`${fleet.endpointOrigin}/update/`), pushEndpoint);
      const [answer, notification] = await Promise.all([
        ask(pushEndpoint, { method: 'PUT', body: 'version=7', authority }),
        hears(),
      ]);
      assert.equal(answer.status, 200);
      assert.deepEqual(notification.updates, [{ channelID, version: 7 }]);
      socket.terminate();
    });
  });
}
