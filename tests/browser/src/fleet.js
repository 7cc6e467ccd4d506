// The servers under test: real programs, alone or as a cluster with a real Redis.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Balancer } from './balancer.js';
import { makeCertificates } from './certificates.js';
import { freePort } from './ports.js';
import { Program } from './program.js';
import { REVERSE_PROXIES } from './reverse_proxies.js';

/** Where the programs are; `cargo xtask` builds them there. */
export const PROGRAMS =
  process.env.BECKON_PROGRAMS ?? fileURLToPath(new URL('../../../target/debug', import.meta.url));

/** What operators show to the programs. */
export const ADMIN_TOKEN = randomBytes(16).toString('hex');

/** Directories of fleets begin with this and the process id. */
const DIRECTORY_PREFIX = 'beckon-browser-';

/** A program with its settings, running or not. */
class Node {
  #directory;
  #program;
  #settings;

  constructor(name, program, settings, directory) {
    this.name = name;
    this.path = join(PROGRAMS, program);
    this.#settings = settings;
    this.#directory = directory;
  }

  get lastWords() {
    return this.#program?.lastWords ?? '';
  }

  /** A setting that it is started with. */
  setting(name) {
    return this.#settings[name];
  }

  /** The URL of its admin listener. */
  get adminUrl() {
    return `http://${this.#settings.BECKON_ADMIN_LISTEN}`;
  }

  /** Starts it and waits until it takes traffic. */
  async start() {
    this.#program = new Program(this.name, [this.path], {
      environment: this.#settings,
      directory: this.#directory,
      log: join(this.#directory, `${this.name}.log`),
    });
    await this.#program.until(`${this.name} is ready`, async () => {
      const answer = await fetch(`${this.adminUrl}/__lbheartbeat__`);
      return answer.ok || undefined;
    });
  }

  async kill() {
    await this.#program?.kill();
  }

  /** Stops it where it is: its sockets stay open, and it does nothing. */
  pause() {
    this.#program.signal('SIGSTOP');
  }

  /** Lets it go on. */
  resume() {
    this.#program.signal('SIGCONT');
  }

  /** The sum of a metric over its labels, or over the samples with this text in their labels. */
  async metric(name, label = '') {
    const text = await (await fetch(`${this.adminUrl}/metrics`)).text();
    const samples = text.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
    return samples
      .filter((line) => line.includes(label))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }
}

/** Running servers. */
export class Fleet {
  /** Where user agents connect. */
  webSocketUrl;
  /** Scheme, host and port of endpoints. */
  endpointOrigin;
  /** PEM file with the authority of the certificate, where there is TLS. */
  authority;
  /** The load balancers of a cluster. */
  sockets;
  endpoints;
  #directory = newDirectory();
  #nodes = new Map();
  /** What else runs; closed last. */
  #others = [];

  /** One process, over the embedded store. */
  static async standalone() {
    const fleet = new Fleet();
    const [socketPort, httpPort] = [await freePort(), await freePort()];
    fleet.webSocketUrl = `ws://127.0.0.1:${socketPort}/`;
    fleet.endpointOrigin = `http://127.0.0.1:${httpPort}`;
    await fleet.#addStandalone(socketPort, httpPort);
    return fleet;
  }

  /** One process behind a reverse proxy with TLS, configured as in deploy/. */
  static async behind(proxy) {
    const fleet = new Fleet();
    const [port, socketPort, httpPort] = [await freePort(), await freePort(), await freePort()];
    fleet.webSocketUrl = `wss://127.0.0.1:${port}/`;
    fleet.endpointOrigin = `https://127.0.0.1:${port}`;
    await fleet.#addStandalone(socketPort, httpPort);
    const directory = fleet.#directory;
    const { authority, certificate, key } = makeCertificates(directory);
    fleet.authority = authority;
    const command = REVERSE_PROXIES[proxy]({ directory, port, socketPort, httpPort, certificate, key });
    // Caddy wants a home for what it does not need here.
    const options = { directory, log: join(directory, `${proxy}.log`), environment: { HOME: directory } };
    const program = new Program(proxy, command, options);
    fleet.#others.push({ close: () => program.kill() });
    await program.until(`${proxy} takes connections`, () => takesConnections(port));
    return fleet;
  }

  /** One process, with TLS on both of its ports. */
  static async withTls() {
    const fleet = new Fleet();
    const [socketPort, httpPort] = [await freePort(), await freePort()];
    fleet.webSocketUrl = `wss://127.0.0.1:${socketPort}/`;
    fleet.endpointOrigin = `https://127.0.0.1:${httpPort}`;
    const { authority, certificate, key } = makeCertificates(fleet.#directory);
    fleet.authority = authority;
    await fleet.#addStandalone(socketPort, httpPort, { BECKON_TLS_CERT: certificate, BECKON_TLS_KEY: key });
    return fleet;
  }

  /** Two connection-nodes and two endpoint-nodes with a Redis, and a load balancer before each pair. */
  static async cluster(settings = {}) {
    const fleet = new Fleet();
    const [socket, http] = [await freePort(), await freePort()];
    fleet.webSocketUrl = `ws://127.0.0.1:${socket}/`;
    fleet.endpointOrigin = `http://127.0.0.1:${http}`;
    const common = {
      BECKON_STORE: await fleet.#startRedis(),
      BECKON_ENDPOINT_URL: fleet.endpointOrigin,
      BECKON_TOKEN_KEYS: randomBytes(32).toString('base64url'),
      BECKON_UAID_KEY: randomBytes(32).toString('base64url'),
      BECKON_CLUSTER_SECRET: randomBytes(16).toString('hex'),
      ...settings,
    };
    const connectionNodes = [];
    for (const name of ['c0', 'c1']) {
      const port = await freePort();
      await fleet.#add(name, 'connection-node', {
        ...common,
        BECKON_NODE_NAME: name,
        BECKON_WS_LISTEN: `127.0.0.1:${port}`,
        BECKON_GRPC_LISTEN: `127.0.0.1:${await freePort()}`,
      });
      connectionNodes.push({ name, port });
    }
    const endpointNodes = [];
    for (const name of ['e0', 'e1']) {
      const port = await freePort();
      await fleet.#add(name, 'endpoint-node', {
        ...common,
        BECKON_NODE_NAME: name,
        BECKON_HTTP_LISTEN: `127.0.0.1:${port}`,
      });
      endpointNodes.push({ name, port });
    }
    fleet.sockets = await Balancer.start(socket, connectionNodes);
    fleet.endpoints = await Balancer.start(http, endpointNodes);
    fleet.#others.push(fleet.sockets, fleet.endpoints);
    return fleet;
  }

  /** Where logs and data of this fleet are. */
  get directory() {
    return this.#directory;
  }

  /** All programs, by their names. */
  get nodes() {
    return [...this.#nodes.values()];
  }

  /** A program by its name: `beckon`; in a cluster `c0`, `c1`, `e0`, `e1`. */
  node(name) {
    return this.#nodes.get(name);
  }

  /** Sets a broadcast, as an operator would: at one of the nodes that hold WebSockets. */
  async setBroadcast(id, version) {
    const { adminUrl } = this.node('beckon') ?? this.node('c0');
    const headers = { Authorization: `Bearer ${ADMIN_TOKEN}` };
    const answer = await fetch(`${adminUrl}/broadcasts/${id}`, { method: 'PUT', headers, body: version });
    assert.equal(answer.status, 204, id);
  }

  /** Adds nodes to a cluster that answer to operators and do nothing else, so many of which are silent. */
  async addMadeUpNodes(nodes, silent) {
    const real = this.node('c0');
    const settings = {
      store: real.setting('BECKON_STORE'),
      'cluster-secret': real.setting('BECKON_CLUSTER_SECRET'),
      nodes,
      silent,
    };
    const words = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, `${value}`]);
    const log = join(this.#directory, 'made-up-nodes.log');
    const program = new Program('made-up-nodes', [join(PROGRAMS, 'made-up-nodes'), ...words], { directory: this.#directory, log });
    this.#others.unshift({ close: () => program.kill() });
    await program.until('they have been asked', () => program.log.includes('"asked"') || undefined);
  }

  /** The end of every log. */
  get lastWords() {
    return [...this.#nodes.values()].map((node) => node.lastWords).join('\n');
  }

  /** Kills everything and removes what it left. */
  async close() {
    for (const node of this.#nodes.values()) {
      await node.kill();
    }
    for (const other of this.#others) {
      await other.close();
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #addStandalone(socketPort, httpPort, settings = {}) {
    return this.#add('beckon', 'beckon', {
      ...settings,
      BECKON_WS_LISTEN: `127.0.0.1:${socketPort}`,
      BECKON_HTTP_LISTEN: `127.0.0.1:${httpPort}`,
      BECKON_ENDPOINT_URL: this.endpointOrigin,
      BECKON_DATA_DIR: join(this.#directory, 'data'),
    });
  }

  async #add(name, program, settings) {
    const complete = {
      ...settings,
      BECKON_ADMIN_LISTEN: `127.0.0.1:${await freePort()}`,
      BECKON_ADMIN_TOKEN: ADMIN_TOKEN,
    };
    const node = new Node(name, program, complete, this.#directory);
    this.#nodes.set(name, node);
    await node.start();
  }

  async #startRedis() {
    const port = await freePort();
    const command = ['redis-server', '--bind', '127.0.0.1', '--port', `${port}`, '--save', ''];
    const log = join(this.#directory, 'redis.log');
    const redis = new Program('redis-server', command, { directory: this.#directory, log });
    this.#others.push({ close: () => redis.kill() });
    await redis.until('Redis takes connections', () => takesConnections(port));
    return `redis://127.0.0.1:${port}`;
  }
}

/** A new directory for a fleet. Those of runs that were killed are removed. */
function newDirectory() {
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(DIRECTORY_PREFIX) && name.slice(DIRECTORY_PREFIX.length).split('-')[0];
    if (pid && !existsSync(join('/proc', pid))) {
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
    }
  }
  return mkdtempSync(join(tmpdir(), `${DIRECTORY_PREFIX}${process.pid}-`));
}

function takesConnections(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(socket.destroy() && true));
    socket.once('error', () => resolve(undefined));
  });
}
