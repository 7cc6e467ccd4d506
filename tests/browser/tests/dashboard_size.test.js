// The dashboard of a large cluster.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BROWSERS, row, signIn } from '../src/dashboard.js';
import { Fleet } from '../src/fleet.js';
import { shows, texts } from '../src/page.js';
import { until } from '../src/until.js';

describe('the dashboard of a cluster of 500 nodes', () => {
  for (const [name, startBrowser] of Object.entries(BROWSERS)) {
    it(`is shown, filtered and refreshed in ${name}`, async () => {
      const fleet = await Fleet.cluster();
      const browser = await startBrowser(fleet);
      try {
        await fleet.addMadeUpNodes(500, 20);
        const page = await browser.open(`${fleet.node('c0').adminUrl}/dashboard/`);
        await signIn(page);
        await until('all nodes are in the table', async () => (await texts(page, '#nodes-count'))[0] === '504');
        await shows(page, '#summary', '504 nodes');
        await shows(page, '#problem', 'Sums are without');
        const isTooWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
        assert.equal(isTooWide, false);
        // On a busy machine many of them do not answer in time, each time others.
        const ready = new Set();
        await until('most have been ready', async () => {
          const states = await page.$$eval('#nodes tbody tr', (rows) =>
            rows.map((one) => [one.dataset.node, one.querySelector('.state').textContent]));
          states.filter(([, state]) => state === 'ready').forEach(([node]) => ready.add(node));
          return ready.size > 252 && states.filter(([, state]) => state === 'silent').length >= 20;
        });
        const silent = Array.from({ length: 20 }, (_, index) => `made-up-${String(index).padStart(3, '0')}`);
        assert.ok(silent.every((name) => !ready.has(name)), 'the first ones never answer');
        await page.focus('#nodes-filter');
        await page.keyboard.type('made-up-123');
        assert.deepEqual(await texts(page, '#nodes-count'), ['1 of 504']);
        const memory = () => texts(page, `${row('made-up-123')} td`);
        const before = await memory();
        await until('its numbers are refreshed', async () => (await memory()).join() !== before.join());
        assert.deepEqual(await texts(page, '#nodes-count'), ['1 of 504'], 'the filter stays');
      } finally {
        await browser.kill();
        await fleet.close();
      }
    });
  }
});
