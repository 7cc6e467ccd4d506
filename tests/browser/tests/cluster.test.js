// Firefox and a cluster: two connection-nodes, two endpoint-nodes, a Redis, and a balancer before each pair.

import assert from 'node:assert/strict';
import { APP_SERVERS, newVapidKeys } from '../src/app_servers.js';
import { behaviours } from '../src/behaviours.js';
import { Fleet } from '../src/fleet.js';
import { until } from '../src/until.js';
import { answers } from '../src/visit.js';

behaviours('cluster', Fleet.cluster, (test) => {
  test("the browser's node is killed: it moves to the other one, and nothing is lost", async (visit) => {
    const { fleet } = visit;
    const vapid = newVapidKeys();
    const subscription = await visit.subscribe('moved', vapid);
    const [first, second] = Object.values(APP_SERVERS);
    const texts = [];
    const send = async (library, text) => {
      texts.push(text);
      await answers(201, library(subscription, { text, vapid }), text);
    };
    // There and back, so that each node is once the one that is killed and once the one that takes over.
    for (const round of ['there', 'back']) {
      const [killed] = await until('the browser is connected', () => fleet.sockets.inUse.length === 1 && fleet.sockets.inUse);
      await send(first, `${round}: before`);
      await fleet.node(killed).kill();
      await send(second, `${round}: before any node has noticed`);
      await until('the browser is at the other node', () => fleet.sockets.inUse.some((name) => name !== killed));
      await send(first, `${round}: after`);
      await visit.receives('moved', texts);
      await fleet.node(killed).start();
    }
    assert.deepEqual((await visit.received('moved')).sort(), texts.sort());
    assert.deepEqual(await visit.subscription('moved'), subscription);
  });

  test('each endpoint-node sends alone while the other is killed', async (visit) => {
    const { fleet } = visit;
    const vapid = newVapidKeys();
    const subscription = await visit.subscribe('one-endpoint-node', vapid);
    const texts = [];
    for (const killed of ['e0', 'e1']) {
      await fleet.node(killed).kill();
      for (const [library, send] of Object.entries(APP_SERVERS)) {
        const text = `${library} without ${killed}`;
        texts.push(text);
        await answers(201, send(subscription, { text, vapid }), text);
      }
      await fleet.node(killed).start();
    }
    await visit.receives('one-endpoint-node', texts);
    assert.deepEqual((await visit.received('one-endpoint-node')).sort(), texts.sort());
  });
});
