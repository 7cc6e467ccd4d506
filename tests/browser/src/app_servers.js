// Application servers: the libraries that sites use to encrypt messages and send them.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import webPush from 'web-push';
import { PATIENCE_MS } from './until.js';

/** A Python that has what requirements.txt lists; `cargo xtask` makes it. */
const PYTHON =
  process.env.BECKON_PYTHON ?? fileURLToPath(new URL('../../../target/browser/venv/bin/python', import.meta.url));

const SCRIPT = fileURLToPath(new URL('pywebpush_send.py', import.meta.url));

/** The contact that VAPID asks for. */
const SUBJECT = 'mailto:push@example.net';

/**
 * What to send.
 *
 * @typedef {object} Message
 * @property {string} [text] nothing: a message without a body
 * @property {'aes128gcm' | 'aesgcm'} [encoding]
 * @property {number} [ttl] seconds
 * @property {string} [topic]
 * @property {{publicKey: string, privateKey: string}} [vapid] the application server's keys
 */

/** The libraries, by name: each takes a subscription and a message, and returns the status it got. */
export const APP_SERVERS = { 'web-push': sendByWebPush, pywebpush: sendByPywebpush };

/** The content codings that browsers have understood, newest first. */
export const ENCODINGS = ['aes128gcm', 'aesgcm'];

/** The keys of a new application server. */
export function newVapidKeys() {
  return webPush.generateVAPIDKeys();
}

/** Sends by `web-push` of npm. It knows no endpoints without TLS, so it makes the request and we send it. */
async function sendByWebPush(subscription, { text: payload, encoding = 'aes128gcm', ttl = 60, topic, vapid }) {
  const options = { TTL: ttl, contentEncoding: encoding };
  if (topic !== undefined) {
    options.topic = topic;
  }
  if (vapid !== undefined) {
    options.vapidDetails = { subject: SUBJECT, ...vapid };
  }
  const { endpoint, method, headers, body } = webPush.generateRequestDetails(subscription, payload, options);
  return post(endpoint, method, headers, body ?? undefined);
}

/** Sends what is ready to be sent, over a connection of its own. */
export async function post(endpoint, method, headers, body) {
  const sent = request(endpoint, { method, headers, agent: false, timeout: PATIENCE_MS });
  sent.end(body);
  const [response] = await once(sent, 'response');
  response.resume();
  return response.statusCode;
}

/** Sends by `pywebpush` of PyPI. */
async function sendByPywebpush(subscription, { text: payload, encoding = 'aes128gcm', ttl = 60, topic, vapid }) {
  const child = spawn(PYTHON, [SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'], timeout: PATIENCE_MS });
  const message = { subscription, payload, encoding, ttl, topic, privateKey: vapid?.privateKey, subject: SUBJECT };
  child.stdin.end(JSON.stringify(message));
  const [output] = await Promise.all([text(child.stdout), once(child, 'close')]);
  return JSON.parse(output).status;
}
