// SimplePush devices and a sender that keep a cluster busy, and count what they have seen.

import WebSocket from 'ws';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/** One device with one channel. */
class Device {
  #socket;
  uaid = '';
  endpoint = '';
  channel = randomUUID();
  /** Versions that it has received. */
  received = [];
  /** The code with which its socket was closed last. */
  closed;

  /** Connects, and registers if it is new. */
  async connect(url) {
    this.#socket = new WebSocket(url);
    this.#socket.on('close', (code) => {
      this.closed = code;
    });
    this.#socket.on('error', () => {});
    await once(this.#socket, 'open');
    const channelIDs = this.endpoint === '' ? [] : [this.channel];
    const hello = await this.#ask({ messageType: 'hello', uaid: this.uaid, channelIDs });
    this.uaid = hello.uaid;
    if (this.endpoint === '') {
      this.endpoint = (await this.#ask({ messageType: 'register', channelID: this.channel })).pushEndpoint;
    }
    this.#socket.on('message', (text) => this.#take(JSON.parse(text)));
    return hello;
  }

  async #ask(message) {
    const answer = once(this.#socket, 'message');
    const closed = once(this.#socket, 'close').then(([code]) => {
      throw new Error(`closed with ${code}`);
    });
    closed.catch(() => {});
    this.#socket.send(JSON.stringify(message));
    return JSON.parse((await Promise.race([answer, closed]))[0]);
  }

  #take({ messageType, updates }) {
    if (messageType === 'notification') {
      this.received.push(...updates.map(({ version }) => version));
      this.#socket.send(JSON.stringify({ messageType: 'ack', updates }));
    }
  }

  close() {
    this.#socket.terminate();
  }
}

/** Devices, and a sender that goes from one to the next. */
export class Load {
  devices = [];
  /** How many notifications were accepted. */
  accepted = 0;
  #sending;
  #isOver = false;

  /** Connects so many devices and begins to send. */
  static async start(fleet, count) {
    const load = new Load();
    for (let number = 0; number < count; number += 1) {
      const device = new Device();
      await device.connect(fleet.webSocketUrl);
      load.devices.push(device);
    }
    load.#sending = load.#send();
    return load;
  }

  async #send() {
    for (let version = 1; !this.#isOver; version += 1) {
      const device = this.devices[version % this.devices.length];
      const body = new URLSearchParams({ version: `${version}` });
      const answer = await fetch(device.endpoint, { method: 'PUT', body }).catch(() => undefined);
      this.accepted += answer?.ok ? 1 : 0;
      await sleep(20);
    }
  }

  /** Ends the sending; what was accepted does not change any more. */
  async pause() {
    this.#isOver = true;
    await this.#sending;
  }

  async close() {
    await this.pause();
    this.devices.forEach((device) => device.close());
  }
}
