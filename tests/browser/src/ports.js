// TCP ports for servers of a test, which no other test of this machine gets at the same time.
//
// The same as in tests/testbed/src/ports.rs: a process owns a block of ports while it listens on the block's first port.
// All blocks are below the ports that Linux gives to outgoing connections.

import { createServer } from 'node:net';

const FIRST = 15_000;
const BLOCK_LEN = 50;
const BLOCKS = 340;

const free = [];
// Each listens on the first port of a block, which makes the block ours.
const blocks = [];

/** A port on which nothing listened a moment ago, and that this process has not returned before. */
export async function freePort() {
  for (;;) {
    while (free.length > 0) {
      const port = free.shift();
      const server = await listen(port, '0.0.0.0');
      if (server) {
        await new Promise((resolve) => server.close(resolve));
        return port;
      }
    }
    await claimBlock();
  }
}

async function claimBlock() {
  for (let step = 0; step < BLOCKS; step += 1) {
    const first = FIRST + ((process.pid + step) % BLOCKS) * BLOCK_LEN;
    const lock = await listen(first, '127.0.0.1');
    if (lock) {
      // It does not keep the process running.
      blocks.push(lock.unref());
      for (let port = first + 1; port < first + BLOCK_LEN; port += 1) {
        free.push(port);
      }
      return;
    }
  }
  throw new Error(`all ports from ${FIRST} to ${FIRST + BLOCKS * BLOCK_LEN - 1} are taken`);
}

/** A server that listens, or nothing if the port is taken. */
function listen(port, host) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, host, () => resolve(server));
  });
}
