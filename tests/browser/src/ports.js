// Free TCP ports of 127.0.0.1.

import { createServer } from 'node:net';

// Below the ports that Linux gives to outgoing connections, so that no connection of this run takes one
// between the look and the bind of the program.
const FIRST = 18_000;
const COUNT = 14_000;

let next = process.pid * 101;

/** A port nobody listened on a moment ago, and that this process has not returned before. */
export async function freePort() {
  for (let step = 0; step < COUNT; step += 1) {
    const port = FIRST + (next % COUNT);
    next += 1;
    if (await isFree(port)) {
      return port;
    }
  }
  throw new Error(`no free port from ${FIRST} on`);
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
