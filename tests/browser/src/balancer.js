// A load balancer: one address in front of several nodes. A browser knows one URL, and so do endpoints.

import { connect, createServer } from 'node:net';
import { once } from 'node:events';

/** Passes connections on to the first node that takes them, beginning with another one each time. */
export class Balancer {
  #connections = new Map();
  #nodes;
  #server;
  #turn = 0;

  /** @param {{name: string, port: number}[]} nodes */
  static async start(port, nodes) {
    const balancer = new Balancer(nodes);
    balancer.#server.listen(port, '127.0.0.1');
    await once(balancer.#server, 'listening');
    return balancer;
  }

  constructor(nodes) {
    this.#nodes = nodes;
    this.#server = createServer((client) => {
      this.#turn += 1;
      this.#pass(client, this.#turn, this.#nodes.length);
    });
  }

  /** The names of the nodes that connections lead to at the moment, one for each connection. */
  get inUse() {
    return [...this.#connections.values()];
  }

  /** Stops, with all connections. */
  close() {
    this.#server.close();
    for (const client of this.#connections.keys()) {
      client.destroy();
    }
  }

  #pass(client, turn, attempts) {
    const node = this.#nodes[turn % this.#nodes.length];
    const upstream = connect(node.port, '127.0.0.1');
    let isOpen = false;
    upstream.once('connect', () => {
      isOpen = true;
      this.#connections.set(client, node.name);
      client.pipe(upstream).pipe(client);
    });
    // A node that is gone takes its connections with it, as it would without a balancer.
    upstream.on('error', () => {
      if (!isOpen && attempts > 1) {
        this.#pass(client, turn + 1, attempts - 1);
      } else {
        client.destroy();
      }
    });
    upstream.on('close', () => isOpen && client.destroy());
    client.on('error', () => upstream.destroy());
    client.on('close', () => {
      this.#connections.delete(client);
      upstream.destroy();
    });
  }
}
