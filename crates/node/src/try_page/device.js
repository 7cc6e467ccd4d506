// A device on the page: one WebSocket, one channel, and what a user agent of each dialect does with them.

import { decrypt, fromBase64Url, newSubscriptionKeys, toBase64Url } from './encryption.js';

/** The first and the longest wait before a device connects again. */
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 30_000;

/** Codes of an acknowledgement: the message was delivered, or could not be decrypted. */
const DELIVERED = 100;
const NOT_DECRYPTED = 101;

/**
 * A device. Its events:
 *
 * - `state`: `isConnected` has changed;
 * - `endpoint`: `endpoint` has changed;
 * - `frame`, with `detail` `{ direction, text }`: a message was sent or received;
 * - `received`, with `detail` a text: a notification has arrived.
 */
class Device extends EventTarget {
  endpoint = '';
  isConnected = false;
  #url;
  #protocols;
  #socket;
  #retry = RETRY_MIN_MS;
  #timer;
  #isPluggedIn = false;
  uaid = '';
  channel = crypto.randomUUID();

  constructor(url, protocols) {
    super();
    this.#url = url;
    this.#protocols = protocols;
  }

  /** Whether it is to be connected. */
  get isPluggedIn() {
    return this.#isPluggedIn;
  }

  /** Connects, and connects again whenever the connection is lost. */
  plugIn() {
    this.#isPluggedIn = true;
    this.#connect();
  }

  /** Disconnects until it is plugged in again. Messages wait on the server meanwhile. */
  unplug() {
    this.#isPluggedIn = false;
    clearTimeout(this.#timer);
    this.#socket?.close();
  }

  #connect() {
    const socket = new WebSocket(this.#url, this.#protocols);
    this.#socket = socket;
    socket.addEventListener('open', () => this.send(this.hello()));
    socket.addEventListener('message', (event) => this.#receive(event.data));
    socket.addEventListener('close', () => this.#lost(socket));
  }

  #lost(socket) {
    if (socket !== this.#socket) {
      return;
    }
    this.#setConnected(false);
    if (this.#isPluggedIn) {
      this.#timer = setTimeout(() => this.#connect(), this.#retry * (0.5 + Math.random()));
      this.#retry = Math.min(this.#retry * 2, RETRY_MAX_MS);
    }
  }

  /** Sends a message; nothing if the connection is lost, because then the server sends its part again. */
  send(message) {
    if (this.#socket.readyState !== WebSocket.OPEN) {
      return;
    }
    const text = JSON.stringify(message);
    this.#socket.send(text);
    this.#dispatch('frame', { direction: 'sent', text });
  }

  #receive(text) {
    this.#dispatch('frame', { direction: 'received', text });
    const message = JSON.parse(text);
    switch (message.messageType) {
      case 'hello':
        this.#greeted(message);
        break;
      case 'register':
        this.endpoint = message.pushEndpoint ?? '';
        this.#dispatch('endpoint');
        break;
      case 'notification':
        this.notified(message);
        break;
      default:
        break;
    }
  }

  #greeted(hello) {
    if (hello.status !== 200) {
      return;
    }
    const isKnown = hello.uaid === this.uaid;
    this.uaid = hello.uaid;
    this.#retry = RETRY_MIN_MS;
    this.#setConnected(true);
    if (!isKnown || this.endpoint === '') {
      this.send({ messageType: 'register', channelID: this.channel });
    }
  }

  #setConnected(isConnected) {
    this.isConnected = isConnected;
    this.#dispatch('state');
  }

  #dispatch(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** Tells the page about a notification. */
  report(text) {
    this.#dispatch('received', text);
  }
}

/** A device that speaks Web Push. */
export class WebPushDevice extends Device {
  #keys;

  /** Makes its keys. It is not connected yet. */
  static async create(url) {
    const device = new WebPushDevice(url, []);
    device.#keys = await newSubscriptionKeys();
    return device;
  }

  /** The keys that a sender needs. */
  get subscription() {
    return { endpoint: this.endpoint, publicKey: this.#keys.publicKey, auth: this.#keys.auth };
  }

  /** The same as text. */
  get p256dh() {
    return toBase64Url(this.#keys.publicKey);
  }

  get auth() {
    return toBase64Url(this.#keys.auth);
  }

  hello() {
    return { messageType: 'hello', use_webpush: true, uaid: this.uaid };
  }

  async notified({ channelID, version, data }) {
    let code = DELIVERED;
    try {
      this.report(data === undefined ? 'a message without content' : await decrypt(fromBase64Url(data), this.#keys));
    } catch (error) {
      code = NOT_DECRYPTED;
      this.report(`a message that cannot be decrypted: ${error.message || error.name}`);
    }
    this.send({ messageType: 'ack', updates: [{ channelID, version, code }] });
  }
}

/** A device that speaks SimplePush. */
export class SimplePushDevice extends Device {
  constructor(url) {
    super(url, ['push-notification']);
  }

  hello() {
    const channelIDs = this.uaid === '' ? [] : [this.channel];
    return { messageType: 'hello', use_webpush: false, uaid: this.uaid, channelIDs };
  }

  notified({ updates }) {
    for (const { version, data } of updates) {
      this.report(data === undefined ? `version ${version}` : `version ${version}: ${data}`);
    }
    const acknowledged = updates.map(({ channelID, version }) => ({ channelID, version }));
    this.send({ messageType: 'ack', updates: acknowledged });
  }
}
