// Firefox and the one process that is the whole server, over the embedded store.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { APP_SERVERS, newVapidKeys } from '../src/app_servers.js';
import { behaviours } from '../src/behaviours.js';
import { Fleet } from '../src/fleet.js';
import { until } from '../src/until.js';
import { answers } from '../src/visit.js';

/** Where pictures are left for whoever wants to look. */
const PICTURES =
  process.env.BECKON_PICTURES ?? fileURLToPath(new URL('../../../target/browser', import.meta.url));

behaviours('standalone', Fleet.standalone, (test) => {
  test('the page shows the message', async (visit) => {
    const vapid = newVapidKeys();
    const subscription = await visit.subscribe('shown', vapid);
    const text = 'Hello from an application server.';
    await answers(201, APP_SERVERS['web-push'](subscription, { text, vapid }));
    const page = await visit.page('shown');
    await until('the page shows it', () => page.$eval('.received #text', (shown) => shown.textContent));
    assert.equal(await page.$eval('#text', (shown) => shown.textContent), text);
    mkdirSync(PICTURES, { recursive: true });
    await page.screenshot({ path: `${PICTURES}/received.png` });
  });

  test('the server is killed and started again: the browser comes back, and nothing is lost', async (visit) => {
    const vapid = newVapidKeys();
    const subscription = await visit.subscribe('killed', vapid);
    const [first, second] = Object.values(APP_SERVERS);
    await visit.quitBrowser();
    await answers(201, first(subscription, { text: 'stored', vapid }));
    await visit.fleet.node('beckon').kill();
    await visit.fleet.node('beckon').start();
    await visit.startBrowser();
    await visit.receives('killed', ['stored']);

    await visit.fleet.node('beckon').kill();
    await visit.fleet.node('beckon').start();
    await answers(201, second(subscription, { text: 'after the second start', vapid }));
    await visit.receives('killed', ['after the second start']);
    assert.deepEqual(await visit.received('killed'), ['stored', 'after the second start']);
  });
});
