// The dashboard of a cluster under load, in the browsers that operators open it with.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { BROWSERS, row, signIn } from '../src/dashboard.js';
import { Fleet } from '../src/fleet.js';
import { Load } from '../src/load.js';
import { fill, shows, texts } from '../src/page.js';
import { isCut, isRounded } from '../src/shown.js';
import { until } from '../src/until.js';

/** Where pictures are left; those of docs/images are copies, with 256 colours. */
const PICTURES =
  process.env.BECKON_PICTURES ?? fileURLToPath(new URL('../../../target/browser', import.meta.url));

/** Finds what people with disabilities stumble on. */
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const DEVICES = 12;

/** How long the cluster works before it is pictured, so that the charts have lines. */
const PICTURE_MS = 20_000;

/** Only Chromium can be told which scheme the user prefers. */
const LOOKS = {
  firefox: [['light', 'wide'], ['light', 'phone']],
  chromium: [['light', 'wide'], ['light', 'phone'], ['dark', 'wide'], ['dark', 'phone']],
};

const SIZES = { wide: { width: 1280, height: 860 }, phone: { width: 390, height: 844 } };

/** How long a session lasts here. */
const SESSION_S = 600;

/** Clicks a button of a node and agrees. */
async function perform(page, name, verb) {
  await page.click(`${row(name)} button[data-verb="${verb}"]`);
  await page.waitForSelector('#confirm[open]');
  await page.click('#confirm-yes');
}

/** What axe finds on a page as it is now. */
async function barriers(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('\n')}`);
}

/** Shows the page as somebody sees it who prefers this scheme, on a screen of this size. */
async function look(page, browser, scheme, size) {
  if (browser === 'chromium') {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  }
  await page.setViewport(SIZES[size]);
}

for (const [name, startBrowser] of Object.entries(BROWSERS)) {
  describe(`the dashboard in ${name}`, () => {
    let fleet;
    let load;
    let browser;
    let page;
    before(async () => {
      fleet = await Fleet.cluster({
        BECKON_ADMIN_SESSION: `${SESSION_S}s`,
        BECKON_DRAIN_DELAY: '1s',
        BECKON_MAX_CONNECTIONS: '100',
      });
      load = await Load.start(fleet, DEVICES);
      browser = await startBrowser(fleet);
      // A node without sockets, which reaches the other one of its kind through a third.
      page = await browser.open(`${fleet.node('e0').adminUrl}/dashboard/`);
    });
    after(async () => {
      await browser?.kill();
      await load?.close();
      await fleet?.close();
    });

    it('nothing is shown before an operator signs in', async () => {
      await page.waitForSelector('#sign-in:not([hidden])');
      assert.deepEqual(await texts(page, '#nodes tbody tr'), []);
      assert.deepEqual(await barriers(page), []);
      await signIn(page, 'not-a-token-of-this-cluster');
      await shows(page, '#sign-in-answer', 'not an admin_token');
      await signIn(page);
      await shows(page, '#operator', 'admin_token');
      const cookies = await page.evaluate(() => document.cookie);
      assert.equal(cookies, '', 'no page can read the session');
      assert.equal(await page.$eval('#token', (field) => field.value), '');
    });

    it('all nodes are ready, and the cluster is busy', async () => {
      for (const node of ['c0', 'c1', 'e0', 'e1']) {
        await shows(page, `${row(node)} .state`, 'ready');
      }
      await shows(page, '#summary', '4 nodes');
      await shows(page, '#summary', `${DEVICES} sockets`);
      await until('the charts have lines', async () => {
        const lines = await page.$$eval('#charts svg g path:not(.area)', (paths) => paths.map((path) => path.getAttribute('d')));
        return lines.length === 10 && lines.every((line) => line?.includes('L'));
      });
      const labels = await page.$$eval('#charts svg', (charts) => charts.map((chart) => chart.getAttribute('aria-label')));
      assert.ok(labels.every((label) => /\d/.test(label)), labels.join('\n'));
    });

    it('every number on the page is one that its node has answered', async () => {
      await page.evaluate(() => {
        const real = globalThis.fetch;
        globalThis.fetch = async (...request) => {
          const answer = await real(...request);
          if (String(request[0]).startsWith('/api/cluster?')) {
            const { nodes, history } = await answer.clone().json();
            globalThis.answered = { nodes, point: history.at(-1) ?? globalThis.answered?.point };
          }
          return answer;
        };
      });
      // Between an answer and the next drawing they differ.
      const { nodes } = await until('the page shows the last answer', async () => {
        const seen = await page.evaluate(() => ({
          ...globalThis.answered,
          at: Date.now() / 1000,
          summary: [...document.querySelectorAll('#summary b')].map(({ textContent }) => textContent),
          charts: [...document.querySelectorAll('#charts .value')].map(({ textContent }) => textContent),
          rows: [...document.querySelectorAll('#nodes tbody tr')].map((row) => [...row.cells].map(({ textContent }) => textContent)),
        }));
        assert.ok(seen.point, 'there was no answer yet');
        const { rates, quantiles, sockets } = seen.point;
        const expected = [
          [seen.summary, [seen.nodes.length, sockets, rates.accepted]],
          [seen.charts, [
            rates.accepted, rates.delivered, rates.hellos, rates.ends, sockets, quantiles.request?.p50, quantiles.request?.p99,
            quantiles.ack?.p50, quantiles.ack?.p99, rates.cpu,
          ]],
        ];
        seen.nodes.forEach((node, index) => {
          const [, , open, hellos, messages, p50, p99, cpu, memory, link, up] = seen.rows[index];
          const times = node.quantiles.request ?? node.quantiles.ack;
          const { figures } = node;
          expected.push([
            [hellos, messages, p50, p99, cpu, memory],
            [node.rates.hellos, node.rates.accepted ?? node.rates.sent, times?.p50, times?.p99, node.rates.cpu, figures.memory],
          ]);
          assert.ok(isCut(up, seen.at - figures.started, 5), `${node.name}: up ${up}, since ${figures.started}`);
          if (node.sockets_max > 0) {
            expected.push([open.split(' / '), [node.sockets, node.sockets_max]]);
            expected.push([[link.replace('lease ', '')], [figures.lease_age]]);
          } else {
            assert.equal(open, '–');
            expected.push([link.replace(' streams', '').split('/'), [figures.streams_open, figures.streams_open + figures.streams_closed]]);
          }
        });
        for (const [shown, numbers] of expected) {
          assert.equal(shown.length, numbers.length, `${shown} and ${numbers}`);
          shown.forEach((text, index) => assert.ok(isRounded(text, numbers[index]), `${shown[index]} is shown for ${numbers[index]}`));
        }
        return seen;
      });
      assert.ok(nodes.some(({ rates }) => rates.accepted > 0), 'the cluster is busy');
    });

    it('numbers are those of the metrics', async () => {
      await load.pause();
      // A reading is shown for a second, and acknowledgements may be on their way.
      await until('the figures agree', async () => {
        const { nodes } = await page.evaluate(async () => (await fetch('/api/cluster')).json());
        let accepted = 0;
        for (const node of fleet.nodes) {
          const { sockets, figures } = nodes.find((one) => one.name === node.name);
          for (const [figure, metric, label] of [
            ['accepted', 'beckon_endpoint_notifications_total'],
            ['delivered', 'beckon_endpoint_notifications_total', 'outcome="delivered"'],
            ['hellos', 'beckon_hellos_total', 'outcome="claimed"'],
            ['sent', 'beckon_messages_sent_total'],
            ['streams_open', 'beckon_endpoint_node_streams', 'state="open"'],
          ]) {
            assert.equal(figures[figure] ?? 0, await node.metric(metric, label), `${figure} of ${node.name}`);
          }
          const open = await node.metric('beckon_connections');
          assert.equal(sockets, open, node.name);
          if (open > 0) {
            assert.deepEqual(await texts(page, `${row(node.name)} .sockets`), [`${open} / 100`]);
          }
          accepted += figures.accepted ?? 0;
        }
        assert.equal(accepted, load.accepted, 'what the senders have counted');
        return true;
      });
    });

    it('a device is found, tested, disconnected and blocked', async () => {
      const device = load.devices[0];
      const search = async (text) => {
        await fill(page, '#client-form [name=name]', text);
        await page.click('#client-form [type=submit]');
      };
      const verb = async (name, asks = true) => {
        await page.click(`#client button[data-verb="${name}"]`);
        if (asks) {
          await page.waitForSelector('#confirm[open]');
          await page.click('#confirm-yes');
        }
      };
      // This node has no key of UAIDs.
      await search(device.uaid);
      await shows(page, '#client-answer', 'ask a connection-node');
      await search(device.endpoint);
      await shows(page, '#client .state', 'connected');
      await shows(page, '#client dd', 'SimplePush');
      assert.equal(await page.$eval('#client-form [name=name]', (field) => field.value), '');
      assert.ok(!page.url().includes('?'), 'nothing is in the URL');
      const before = device.received.length;
      await verb('test', false);
      await shows(page, '#client-answer', 'has acknowledged the test after');
      assert.equal(device.received.length, before + 1);
      await verb('disconnect');
      await until('it is closed', () => device.closed === 1001);
      device.closed = undefined;
      await device.connect(fleet.webSocketUrl);
      await search(device.endpoint);
      await shows(page, '#client .state', 'connected');
      await verb('block');
      await shows(page, '#client .state', 'blocked');
      await until('it is closed', () => device.closed !== undefined);
      const gone = await fetch(device.endpoint, { method: 'PUT', body: 'version=1' });
      assert.equal(gone.status, 410);
      await assert.rejects(device.connect(fleet.webSocketUrl), /closed with 1008/);
      await verb('unblock', false);
      await shows(page, '#client .state', 'unknown');
      await shows(page, '#audit tr', 'block client');
      await search('https://push.example/update/nothing');
      await shows(page, '#client-answer', 'not one of this cluster');
      // The load goes on without it.
      load.devices.shift();
    });

    it('a device is forgotten, and may come back and register anew', async () => {
      const device = load.devices[0];
      const { endpoint } = device;
      await fill(page, '#client-form [name=name]', endpoint);
      await page.click('#client-form [type=submit]');
      await shows(page, '#client .state', 'connected');
      // Not if the operator thinks better of it.
      await page.click('#client button[data-verb="forget"]');
      await page.waitForSelector('#confirm[open]');
      await page.click('#confirm-no');
      await until('the question is gone', async () => (await page.$('#confirm[open]')) === null);
      assert.equal(device.closed, undefined);
      assert.equal((await fetch(endpoint, { method: 'PUT', body: '' })).ok, true);
      await page.click('#client button[data-verb="forget"]');
      await page.waitForSelector('#confirm[open]');
      await page.click('#confirm-yes');
      await shows(page, '#client .state', 'unknown');
      await until('it is closed', () => device.closed !== undefined);
      assert.equal((await fetch(endpoint, { method: 'PUT', body: '' })).status, 410);
      await shows(page, '#audit tr', 'forget client');
      device.endpoint = '';
      device.closed = undefined;
      await device.connect(fleet.webSocketUrl);
      assert.equal((await fetch(device.endpoint, { method: 'PUT', body: '' })).ok, true);
      await fill(page, '#client-form [name=name]', device.endpoint);
      await page.click('#client-form [type=submit]');
      await shows(page, '#client .state', 'connected');
    });

    it('the table is filtered by every word, with the keyboard alone', async () => {
      const shown = () =>
        page.$$eval('#nodes tbody tr', (rows) => rows.filter((one) => one.offsetParent !== null).map((one) => one.dataset.node));
      await page.focus('#nodes-filter');
      await page.keyboard.type('ENDPOINT ready');
      assert.deepEqual(await shown(), ['e0', 'e1']);
      assert.deepEqual(await texts(page, '#nodes-count'), ['2 of 4']);
      // Beside the filter is a way past the rows and their buttons, and rows that are not shown are not on the way.
      await page.keyboard.press('Tab');
      assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Table of the nodes');
      await page.keyboard.press('Tab');
      assert.equal(await page.evaluate(() => document.activeElement.closest('tr')?.dataset.node), 'e0');
      assert.deepEqual(await barriers(page), []);
      // It stays while the page is refreshed.
      await until('the page is refreshed', async () => {
        const before = await page.$eval(`${row('e0')} td:nth-child(11)`, ({ textContent }) => textContent);
        await sleep(1000);
        return before !== (await page.$eval(`${row('e0')} td:nth-child(11)`, ({ textContent }) => textContent));
      });
      assert.deepEqual(await shown(), ['e0', 'e1']);
      await page.focus('#nodes-filter');
      await page.keyboard.down('Control');
      await page.keyboard.press('a');
      await page.keyboard.up('Control');
      await page.keyboard.type('no such node');
      assert.deepEqual(await shown(), []);
      assert.deepEqual(await texts(page, '#nodes-count'), ['0 of 4']);
      await page.keyboard.down('Control');
      await page.keyboard.press('a');
      await page.keyboard.up('Control');
      await page.keyboard.press('Delete');
      assert.deepEqual(await shown(), ['c0', 'c1', 'e0', 'e1']);
      await page.focus('.skip');
      await page.keyboard.press('Enter');
      assert.equal(await page.evaluate(() => document.activeElement.id), 'client-title');
    });

    it('a node drains and is taken back', async () => {
      const leaving = load.devices.filter(({ closed }) => closed === undefined).length;
      await perform(page, 'c1', 'drain');
      await shows(page, `${row('c1')} .state`, 'closing');
      await shows(page, `${row('c1')} .sockets`, '0 / 100');
      await until('its devices have left', () => load.devices.filter(({ closed }) => closed === 1001).length > 0);
      assert.ok(load.devices.some(({ closed }) => closed === undefined), `${leaving} devices, those of c0 stay`);
      await perform(page, 'c1', 'undrain');
      await shows(page, `${row('c1')} .state`, 'ready');
      // An endpoint-node that this one cannot call.
      await perform(page, 'e1', 'drain');
      await shows(page, `${row('e1')} .state`, 'closing');
      await perform(page, 'e1', 'undrain');
      await shows(page, `${row('e1')} .state`, 'ready');
    });

    it('a node sheds a share of its sockets', async () => {
      await page.click(`${row('c0')} button[data-verb="shed"]`);
      await page.waitForSelector('#confirm[open]');
      await fill(page, '#confirm-percent', '100');
      await page.click('#confirm-yes');
      await shows(page, `${row('c0')} .sockets`, '0 / 100');
      await until('all devices have left', () => load.devices.every(({ closed }) => closed === 1001));
    });

    it('what was done is shown with who did it', async () => {
      for (const change of ['sign in', 'drain of c1', 'undrain of e1', 'shed 1 of c0']) {
        await shows(page, '#audit tr', change);
      }
      await shows(page, '#audit tr', 'admin_token');
    });

    it('broadcasts are set and removed', async () => {
      await fill(page, '#broadcast-form [name=id]', 'news/main');
      await fill(page, '#broadcast-form [name=version]', '"<b>42</b>"');
      await page.click('#broadcast-form [type=submit]');
      await shows(page, '#broadcasts li', 'news/main "<b>42</b>"');
      await page.click('#broadcasts button');
      await page.waitForSelector('#confirm[open]');
      await page.click('#confirm-yes');
      await until('it is gone', async () => (await texts(page, '#broadcasts li')).length === 0);
    });

    it('a node that hangs is marked, and the rest is shown', async () => {
      fleet.node('c1').pause();
      await shows(page, `${row('c1')} .state`, 'silent');
      await shows(page, '#problem', 'Sums are without c1');
      assert.deepEqual(await texts(page, `${row('c0')} .state`), ['ready']);
      fleet.node('c1').resume();
      await shows(page, `${row('c1')} .state`, 'ready');
      await until('nothing is missing', async () => (await texts(page, '#problem'))[0] === '');
    });

    it('looks as in the pictures, and nothing is cut off', async () => {
      mkdirSync(PICTURES, { recursive: true });
      const busy = await Load.start(fleet, DEVICES);
      try {
        await fill(page, '#client-form [name=name]', busy.devices[0].endpoint);
        await page.click('#client-form [type=submit]');
        await shows(page, '#client .state', 'connected');
        await sleep(PICTURE_MS);
        for (const [scheme, size] of LOOKS[name]) {
          await look(page, name, scheme, size);
          const isTooWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
          assert.equal(isTooWide, false, `nothing is cut off: ${scheme}, ${size}`);
          await page.evaluate(() => scrollTo(0, 0));
          await page.screenshot({ path: `${PICTURES}/dashboard-${scheme}-${size}-${name}.png` });
        }
      } finally {
        await busy.close();
      }
    });

    it('has no barriers, in light and dark, wide and on a phone', async () => {
      for (const [scheme, size] of LOOKS[name]) {
        await look(page, name, scheme, size);
        assert.deepEqual(await barriers(page), [], `${scheme}, ${size}`);
      }
      await page.setViewport({ width: 1000, height: 464 });
    });

    it('it works with the keyboard alone', async () => {
      await page.focus(`${row('c0')} button[data-verb="drain"]`);
      await page.keyboard.press('Enter');
      await page.waitForSelector('#confirm[open]');
      const isWithin = () => page.evaluate(() => document.querySelector('#confirm').contains(document.activeElement));
      assert.ok(await isWithin(), 'the question has the focus');
      await page.keyboard.press('Escape');
      await until('the question is gone', async () => (await page.$('#confirm[open]')) === null);
      assert.deepEqual(await texts(page, `${row('c0')} .state`), ['ready']);
    });

    it('a page from elsewhere gets nothing, although the browser has a session', async () => {
      const evil = createServer((_, answer) => {
        answer.setHeader('Content-Type', 'text/html');
        answer.end('<title>evil</title>');
      });
      evil.listen(0, '127.0.0.1');
      await once(evil, 'listening');
      // Another port of the same host is the same site, so SameSite does not keep the cookie back.
      const other = await browser.open(`http://127.0.0.1:${evil.address().port}/`);
      const got = await other.evaluate(async (url) => {
        const ask = async (path, options) => {
          try {
            const answer = await fetch(url + path, { credentials: 'include', ...options });
            return answer.type === 'opaque' ? 'opaque' : await answer.text();
          } catch {
            return 'refused';
          }
        };
        const body = JSON.stringify({ node: 'c0' });
        return [
          await ask('/api/cluster', {}),
          await ask('/api/cluster', { mode: 'no-cors' }),
          await ask('/api/nodes/drain', { method: 'POST', body, mode: 'no-cors' }),
          await ask('/api/nodes/drain', { method: 'POST', body }),
        ];
      }, fleet.node('e0').adminUrl);
      assert.deepEqual(got, ['refused', 'opaque', 'opaque', 'refused']);
      await other.close();
      evil.close();
      const denied = await fleet.node('e0').metric('beckon_admin_denied_total', 'reason="page"');
      assert.ok(denied >= 3, `${denied} were refused`);
      assert.deepEqual(await texts(page, `${row('c0')} .state`), ['ready'], 'nothing was drained');
    });

    it('after signing out nothing stays on the page', async () => {
      await page.click('#sign-out');
      await page.waitForSelector('#sign-in:not([hidden])');
      assert.deepEqual(await texts(page, '#nodes tbody tr'), []);
      const answer = await page.evaluate(async () => (await fetch('/api/cluster')).status);
      assert.equal(answer, 401);
    });
  });
}

describe('a session that ends', () => {
  it('leaves nothing on the page, and the operator signs in again', async () => {
    const fleet = await Fleet.cluster({ BECKON_ADMIN_SESSION: '6s' });
    const browser = await BROWSERS.chromium(fleet);
    try {
      const page = await browser.open(`${fleet.node('c0').adminUrl}/dashboard/`);
      await signIn(page);
      await shows(page, `${row('e0')} .state`, 'ready');
      await page.waitForSelector('#sign-in:not([hidden])');
      assert.deepEqual(await texts(page, '#nodes tbody tr'), []);
      await signIn(page);
      await shows(page, `${row('e0')} .state`, 'ready');
    } finally {
      await browser.kill();
      await fleet.close();
    }
  });
});
