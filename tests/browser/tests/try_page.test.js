// The page on the admin listener of `beckon`, in the browsers that people open it with.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { APP_SERVERS } from '../src/app_servers.js';
import { Chromium } from '../src/chromium.js';
import { Firefox } from '../src/firefox.js';
import { Fleet, PROGRAMS } from '../src/fleet.js';
import { fill, shows, texts } from '../src/page.js';

/** Where pictures are left; docs/images/try-page.png is a copy of one, with 256 colours. */
const PICTURES =
  process.env.BECKON_PICTURES ?? fileURLToPath(new URL('../../../target/browser', import.meta.url));

const BROWSERS = {
  firefox: (fleet) => Firefox.start(fleet.directory, fleet.webSocketUrl),
  chromium: (fleet) => Chromium.start(fleet.directory),
};

for (const [name, startBrowser] of Object.entries(BROWSERS)) {
  describe(`the try page in ${name}`, () => {
    let fleet;
    let browser;
    let page;
    before(async () => {
      fleet = await Fleet.standalone();
      browser = await startBrowser(fleet);
      page = await browser.open(`${fleet.node('beckon').adminUrl}/`);
    });
    after(async () => {
      await browser?.kill();
      await fleet?.close();
    });

    it('both devices connect and show their endpoints', async () => {
      for (const [device, path] of [
        ['#webpush', 'wpush/v1'],
        ['#simplepush', 'update'],
      ]) {
        await shows(page, `${device} .endpoint`, `${fleet.endpointOrigin}/${path}/`);
        assert.deepEqual(await texts(page, `${device} .state`), ['connected']);
      }
      assert.deepEqual(await texts(page, '#problem:not([hidden])'), []);
    });

    it('a message is encrypted, sent, received and decrypted', async () => {
      await fill(page, '#webpush [name=text]', `Grüße aus ${name}.`);
      await page.click('#webpush [type=submit]');
      await shows(page, '#webpush .received li', `Grüße aus ${name}.`);
      await shows(page, '#webpush output', '201');
      await shows(page, '#frames tr', '"messageType":"notification"');
      await shows(page, '#frames tr', '"messageType":"ack"');
      assert.ok(!(await texts(page, '#frames tbody')).join().includes('Grüße'), 'the server sees no plaintext');
    });

    it('a version is sent and received', async () => {
      await page.click('#simplepush [type=submit]');
      await shows(page, '#simplepush .received li', 'version 1');
      await shows(page, '#simplepush output', '200');
    });

    it('a message for a disconnected device waits for it', async () => {
      await page.click('#webpush .plug');
      await shows(page, '#webpush .state', 'disconnected');
      await fill(page, '#webpush [name=text]', 'while it was away');
      await page.click('#webpush [type=submit]');
      await shows(page, '#webpush output', '201');
      await page.click('#webpush .plug');
      await shows(page, '#webpush .received li', 'while it was away');
    });

    it('the server is killed and started again: the devices come back by themselves', async () => {
      await fleet.node('beckon').kill();
      await shows(page, '#webpush .state', 'connecting');
      await fleet.node('beckon').start();
      await shows(page, '#webpush .state', 'connected');
      await shows(page, '#simplepush .state', 'connected');
    });

    it('libraries send to the device of the page', async () => {
      const [[endpoint], [p256dh], [auth]] = await Promise.all(
        ['.endpoint', '.p256dh', '.auth'].map((selector) => texts(page, `#webpush ${selector}`)),
      );
      for (const [library, send] of Object.entries(APP_SERVERS)) {
        const message = { text: `sent by ${library}`, encoding: 'aes128gcm' };
        assert.equal(await send({ endpoint, keys: { p256dh, auth } }, message), 201, library);
        await shows(page, '#webpush .received li', message.text);
      }
    });

    it('the commands that it shows work', async () => {
      for (const [tool, command, received] of [
        ['curl (SimplePush)', ['sh', '-c'], ['#simplepush', 'version 1']],
        ['beckon send', ['sh', '-c'], ['#webpush', 'Hello from a terminal.']],
        ['Node.js: web-push', ['node', '--input-type=module', '-e'], ['#webpush', 'Hello from Node.js.']],
        ['Python: pywebpush', [process.env.BECKON_PYTHON ?? 'python3', '-c'], ['#webpush', 'Hello from Python.']],
      ]) {
        await page.select('#tool', tool);
        const [sample] = await texts(page, '#sample');
        const [program, ...options] = command;
        const done = spawnSync(program, [...options, sample], {
          // Where web-push is installed.
          cwd: fileURLToPath(new URL('..', import.meta.url)),
          encoding: 'utf8',
          env: { ...process.env, PATH: `${PROGRAMS}:${process.env.PATH}` },
        });
        assert.equal(done.status, 0, `${tool}: ${done.error ?? done.stderr}`);
        await shows(page, `${received[0]} .received li`, received[1]);
      }
    });

    it('looks as in the picture, also on a phone', async () => {
      mkdirSync(PICTURES, { recursive: true });
      for (const [picture, width, height] of [
        ['try-page', 1280, 756],
        ['try-page-phone', 390, 844],
      ]) {
        await page.setViewport({ width, height });
        const isTooWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
        assert.equal(isTooWide, false, `nothing is cut off at ${width} pixels`);
        await page.evaluate(() => scrollTo(0, 0));
        await page.screenshot({ path: `${PICTURES}/${picture}-${name}.png` });
      }
      await page.setViewport({ width: 1000, height: 464 });
    });

    if (name === 'firefox') {
      it('Firefox itself subscribes, and its service worker receives', async () => {
        await page.click('#subscribe');
        await shows(page, '#subscription', `Subscribed: ${fleet.endpointOrigin}/wpush/v1/`);
        await page.click('#browser-form [type=submit]');
        await shows(page, '#browser .received li', 'Hello, Firefox.');
      });
    }
  });
}
