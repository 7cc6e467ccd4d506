// The web site that the browser visits: what a site needs to get Web Push, and nothing else.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { once } from 'node:events';
import { freePort } from './ports.js';

const FILES = {
  '': ['index.html', 'text/html; charset=utf-8'],
  'page.js': ['page.js', 'text/javascript'],
  'worker.js': ['worker.js', 'text/javascript'],
};

/** Serves `site/` on 127.0.0.1, which browsers trust as if it were https. */
export class Site {
  #origin;
  #server = createServer((request, response) => answer(request, response));

  static async start() {
    const site = new Site();
    const port = await freePort();
    site.#origin = `http://127.0.0.1:${port}`;
    site.#server.listen(port, '127.0.0.1');
    await once(site.#server, 'listening');
    return site;
  }

  /** The page of a folder. Each folder has the same files, and a service worker and subscription of its own. */
  page(folder) {
    return `${this.#origin}/${folder}/`;
  }

  close() {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

async function answer(request, response) {
  const file = FILES[request.url.split('/').slice(2).join('/')];
  if (file === undefined) {
    response.writeHead(404).end();
    return;
  }
  const [name, type] = file;
  const content = await readFile(new URL(`../site/${name}`, import.meta.url));
  response.writeHead(200, { 'content-type': type, 'cache-control': 'no-store' }).end(content);
}
