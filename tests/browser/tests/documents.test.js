// The code blocks of the documents that are marked with the name of this file, run as a reader would.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ask, newVapidKeys, PYTHON } from '../src/app_servers.js';
import { markedBlocks } from '../src/documents.js';
import { Firefox } from '../src/firefox.js';
import { Fleet } from '../src/fleet.js';
import { Program } from '../src/program.js';
import { PATIENCE_MS } from '../src/until.js';
import { answers, Visit } from '../src/visit.js';

const BLOCKS = markedBlocks('tests/browser/tests/documents.test.js');

/** The packages that the blocks import. */
const PACKAGES = fileURLToPath(new URL('../node_modules', import.meta.url));

/** What a block is, and so how it is run. */
const KINDS = {
  sender: ({ language, text }) => language !== 'json' && text.includes('subscription.json'),
  device: ({ language, text }) => language === 'js' && text.includes('PUSH_URL'),
  policies: ({ language }) => language === 'json',
};

const blocksOf = (kind) => BLOCKS.filter(KINDS[kind]);

describe('the code blocks of the documents', () => {
  it('are all known here', () => {
    for (const block of BLOCKS) {
      const kinds = Object.keys(KINDS).filter((kind) => KINDS[kind](block));
      assert.equal(kinds.length, 1, `${block.document}:${block.line} is ${kinds}`);
    }
  });

  describe('programs', () => {
    let visit;
    let directory;
    before(async () => {
      visit = await Visit.start(Fleet.standalone);
      directory = join(visit.fleet.directory, 'reader');
      mkdirSync(directory);
      symlinkSync(PACKAGES, join(directory, 'node_modules'));
      const keys = newVapidKeys();
      writeFileSync(join(directory, 'vapid.json'), JSON.stringify(keys));
      writeFileSync(join(directory, 'subscription.json'), JSON.stringify(await visit.subscribe('reader', keys)));
    });
    after(async () => {
      await visit?.end();
    });

    for (const { document, line, language, text } of blocksOf('sender')) {
      it(`${document}:${line} sends a message to Firefox`, () =>
        visit.run(async () => {
          const [program, ...words] = command(language, text);
          const { stdout } = await promisify(execFile)(program, words, { cwd: directory, timeout: PATIENCE_MS });
          assert.equal(stdout.trim(), '201');
          const [, message] = text.match(/['"](Hello from .*?)['"]/);
          await visit.receives('reader', [message]);
        }));
    }

    for (const { document, line, text } of blocksOf('device')) {
      it(`${document}:${line} is a device that comes back by itself`, () =>
        visit.run(async ({ fleet }) => {
          const device = new Program('device', command('js', text), {
            environment: { PUSH_URL: fleet.webSocketUrl },
            directory,
            log: join(directory, 'device.log'),
          });
          try {
            const endpoint = await device.until('it prints its endpoint', () => device.log.match(/endpoint (\S+)/)?.[1]);
            const put = (version) => ask(endpoint, { method: 'PUT', body: `version=${version}` });
            await answers(200, put(1).then(({ status }) => status));
            await device.until('it prints the version', () => device.log.includes('version 1\n') || undefined);
            await fleet.node('beckon').kill();
            await fleet.node('beckon').start();
            await answers(true, put(2).then(({ status }) => status === 200 || status === 202));
            await device.until('it prints the next one', () => device.log.includes('version 2\n') || undefined);
            await answers(200, put(3).then(({ status }) => status));
            await device.until('and the next one', () => device.log.includes('version 3\n') || undefined);
          } finally {
            await device.kill();
          }
        }));
    }
  });

  for (const { document, line, text } of blocksOf('policies')) {
    it(`${document}:${line}: a Firefox with these policies uses the server`, async () => {
      const fleet = await Fleet.standalone();
      let visit;
      try {
        const policies = JSON.parse(text);
        const preferences = policies.policies.Preferences;
        assert.deepEqual(preferences['dom.push.serverURL'].Value, 'wss://push.example.net/');
        preferences['dom.push.serverURL'].Value = fleet.webSocketUrl;
        preferences['dom.push.testing.allowInsecureServerURL'] = { Value: true, Status: 'locked' };
        visit = await Visit.start(
          () => fleet,
          ({ directory }) => Firefox.start(directory, undefined, { policies }),
        );
        const subscription = await visit.subscribe('managed', undefined);
        assert.ok(subscription.endpoint.startsWith(`${fleet.endpointOrigin}/wpush/v1/`), subscription.endpoint);
      } finally {
        await (visit ?? { end: () => fleet.close() }).end();
      }
    });
  }
});

/** The command that runs a program. Node.js looks for packages from where it is started. */
function command(language, text) {
  return language === 'python' ? [PYTHON, '-c', text] : ['node', '--input-type=module', '-e', text];
}
