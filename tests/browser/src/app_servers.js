// Application servers: the libraries that sites use to encrypt messages and send them.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { text as readText } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import webPush from 'web-push';
import { PATIENCE_MS } from './until.js';

/** A Python that has what requirements.txt lists; `cargo xtask` makes it. */
export const PYTHON =
  process.env.BECKON_PYTHON ?? fileURLToPath(new URL('../../../target/browser/python/bin/python', import.meta.url));

const SCRIPT = fileURLToPath(new URL('pywebpush_send.py', import.meta.url));

/** Longer than any test takes. */
const TTL_SECONDS = 600;

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
 * @property {string} [authority] PEM file with the authority of an https endpoint's certificate
 */

/** The libraries, by name: each takes a subscription and a message, and returns the status it got. */
export const APP_SERVERS = { 'web-push': sendByWebPush, pywebpush: sendByPywebpush };

/** The content codings that browsers have understood, newest first. */
export const ENCODINGS = ['aes128gcm', 'aesgcm'];

/** The keys of a new application server. */
export function newVapidKeys() {
  return webPush.generateVAPIDKeys();
}

/** Sends by `web-push` of npm. For endpoints without TLS, which it does not know, it makes the request only. */
async function sendByWebPush(subscription, message) {
  const { text: payload, encoding = 'aes128gcm', ttl = TTL_SECONDS, topic, vapid, authority } = message;
  const options = { TTL: ttl, contentEncoding: encoding };
  if (topic !== undefined) {
    options.topic = topic;
  }
  if (vapid !== undefined) {
    options.vapidDetails = { subject: SUBJECT, ...vapid };
  }
  if (authority !== undefined) {
    const agent = new https.Agent({ ca: readFileSync(authority) });
    const sent = webPush.sendNotification(subscription, payload, { ...options, agent });
    return (await sent.catch((refused) => refused)).statusCode;
  }
  const { endpoint, method, headers, body } = webPush.generateRequestDetails(subscription, payload, options);
  return (await ask(endpoint, { method, headers, body: body ?? undefined })).status;
}

/** Sends by `pywebpush` of PyPI. */
async function sendByPywebpush(subscription, message) {
  const { text: payload, encoding = 'aes128gcm', ttl = TTL_SECONDS, topic, vapid, authority } = message;
  const env = { PATH: process.env.PATH };
  if (authority !== undefined) {
    env.REQUESTS_CA_BUNDLE = authority;
  }
  const child = spawn(PYTHON, [SCRIPT], { env, stdio: ['pipe', 'pipe', 'inherit'], timeout: PATIENCE_MS });
  const order = { subscription, payload, encoding, ttl, topic, privateKey: vapid?.privateKey, subject: SUBJECT };
  child.stdin.end(JSON.stringify(order));
  const [output] = await Promise.all([readText(child.stdout), once(child, 'close')]);
  return JSON.parse(output).status;
}

/** Sends a request over a connection of its own, and returns status, headers and text of the answer. */
export async function ask(url, { method = 'POST', headers = {}, body, authority } = {}) {
  const { request } = url.startsWith('https:') ? https : http;
  const ca = authority === undefined ? undefined : readFileSync(authority);
  const sent = request(url, { method, headers, ca, agent: false, timeout: PATIENCE_MS });
  sent.end(body);
  const [response] = await once(sent, 'response');
  return { status: response.statusCode, headers: response.headers, text: await readText(response) };
}
