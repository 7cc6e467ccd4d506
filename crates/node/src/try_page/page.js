// The page: shows two devices, sends to them, and shows what passes.

import { SimplePushDevice, WebPushDevice } from './device.js';
import { encrypt, fromBase64Url } from './encryption.js';
import { SAMPLES } from './samples.js';

/** Rows that the table of messages keeps, and messages that a device keeps. */
const ROWS_MAX = 200;
const RECEIVED_MAX = 20;

const find = (selector, within = document) => within.querySelector(selector);

/** What an answer of the server to a sender means. */
const MEANINGS = {
  200: 'delivered to the connected device',
  201: 'stored, and on its way to the device',
  202: 'stored until the device connects again',
  404: 'the endpoint is not one of this server',
  410: 'the device has unregistered this channel',
  413: 'the message is too long',
  429: 'too many messages are waiting for the device',
  503: 'the store does not answer',
};

async function start() {
  if (!isSecureContext) {
    complain(`Browsers offer the cryptography that this page needs on https:// and on http://127.0.0.1 only.`);
    return;
  }
  const server = await (await fetch('/try/server.json')).json();
  const webpush = await WebPushDevice.create(server.webSocket);
  const simplepush = new SimplePushDevice(server.webSocket);
  show(find('#webpush'), 'Web Push', webpush);
  show(find('#simplepush'), 'SimplePush', simplepush);
  find('#webpush .p256dh').textContent = webpush.p256dh;
  find('#webpush .auth').textContent = webpush.auth;
  sendsFrom(find('#webpush form'), (form) => post(webpush.subscription, form));
  sendsFrom(find('#simplepush form'), async (form) => {
    const answer = await put(simplepush.endpoint, form);
    form.elements.version.valueAsNumber += 1;
    return answer;
  });
  samples(webpush, simplepush);
  browser(server);
  find('#clear').addEventListener('click', () => find('#frames tbody').replaceChildren());
  webpush.plugIn();
  simplepush.plugIn();
}

/** Keeps a section up to date with its device. */
function show(section, name, device) {
  const state = find('.state', section);
  const plug = find('.plug', section);
  const update = () => {
    state.textContent = device.isConnected ? 'connected' : device.isPluggedIn ? 'connecting' : 'disconnected';
    state.dataset.connected = device.isConnected;
    plug.textContent = device.isPluggedIn ? 'Disconnect the device' : 'Connect the device';
  };
  device.addEventListener('state', update);
  device.addEventListener('endpoint', () => {
    find('.endpoint', section).textContent = device.endpoint;
  });
  device.addEventListener('received', (event) => received(section, event.detail));
  device.addEventListener('frame', (event) => frame(name, event.detail));
  plug.addEventListener('click', () => {
    if (device.isPluggedIn) {
      device.unplug();
    } else {
      device.plugIn();
    }
    update();
  });
}

/** Adds a message to the list of a section. */
function received(section, text) {
  const item = document.createElement('li');
  const what = document.createElement('span');
  const time = document.createElement('time');
  what.textContent = text;
  time.textContent = new Date().toLocaleTimeString();
  item.append(what, time);
  prepend(find('.received', section), item, RECEIVED_MAX);
}

/** Adds a row to the table of messages. */
function frame(device, { direction, text }) {
  const row = document.createElement('tr');
  for (const content of [new Date().toLocaleTimeString(), device, direction, text]) {
    const cell = document.createElement('td');
    cell.textContent = content;
    row.append(cell);
  }
  prepend(find('#frames tbody'), row, ROWS_MAX);
}

function prepend(list, item, max) {
  list.prepend(item);
  while (list.children.length > max) {
    list.lastElementChild.remove();
  }
}

/** Has a form send, and shows the answer. */
function sendsFrom(form, send) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const output = find('output', form);
    try {
      const answer = await send(form);
      output.textContent = `${answer.status}: ${MEANINGS[answer.status] ?? answer.statusText}`;
      output.dataset.good = answer.ok;
    } catch (error) {
      output.textContent = `not sent: ${error.message}`;
      output.dataset.good = false;
    }
  });
}

/** Encrypts what a form holds and posts it. */
async function post(subscription, form) {
  const { text, ttl, urgency, topic } = form.elements;
  const headers = { TTL: ttl?.value ?? '60', 'Content-Encoding': 'aes128gcm' };
  if (urgency !== undefined) {
    headers.Urgency = urgency.value;
  }
  if (topic?.value) {
    headers.Topic = topic.value;
  }
  return fetch(subscription.endpoint, { method: 'POST', headers, body: await encrypt(text.value, subscription) });
}

/** Puts the version that a form holds. */
function put(endpoint, form) {
  const body = new URLSearchParams({ version: form.elements.version.value });
  if (form.elements.text.value !== '') {
    body.set('data', form.elements.text.value);
  }
  return fetch(endpoint, { method: 'PUT', body });
}

/** Shows how to send with other tools. */
function samples(webpush, simplepush) {
  const tool = find('#tool');
  tool.append(...SAMPLES.map(({ name }) => new Option(name)));
  const update = () => {
    const { note, text } = SAMPLES[tool.selectedIndex];
    const { endpoint, p256dh, auth } = webpush;
    find('#tool-note').textContent = note;
    find('#sample').textContent = text({ endpoint, p256dh, auth, simple: simplepush.endpoint });
  };
  tool.addEventListener('change', update);
  webpush.addEventListener('endpoint', update);
  simplepush.addEventListener('endpoint', update);
  find('#copy').addEventListener('click', () => navigator.clipboard.writeText(find('#sample').textContent));
}

/** Subscribes the browser itself, if it uses this server. */
function browser(server) {
  const preferences = [`dom.push.serverURL = ${server.webSocket}`];
  if (server.webSocket.startsWith('ws:')) {
    preferences.push('dom.push.testing.allowInsecureServerURL = true');
  }
  find('#preferences').textContent = preferences.join('\n');
  const status = find('#subscription');
  const form = find('#browser-form');
  let subscription;
  find('#subscribe').addEventListener('click', async () => {
    try {
      subscription = await subscribe();
    } catch (error) {
      status.textContent = `Not subscribed: ${error.message}`;
      return;
    }
    form.hidden = !subscription.endpoint.startsWith(`${server.endpointUrl}/`);
    status.textContent = form.hidden
      ? `Subscribed, but to another push service: ${new URL(subscription.endpoint).origin}. Set the preferences above.`
      : `Subscribed: ${subscription.endpoint}`;
  });
  sendsFrom(form, () => post(subscription, form));
  navigator.serviceWorker?.addEventListener('message', (event) => received(find('#browser'), event.data));
}

async function subscribe() {
  if (navigator.serviceWorker === undefined || globalThis.PushManager === undefined) {
    throw new Error('this browser does not offer the Push API here');
  }
  if ((await Notification.requestPermission()) !== 'granted') {
    throw new Error('notifications are not allowed');
  }
  await navigator.serviceWorker.register('/try/worker.js', { scope: '/try/' });
  const { pushManager } = await registered();
  const { endpoint, keys } = (await pushManager.subscribe({ userVisibleOnly: true })).toJSON();
  return { endpoint, publicKey: fromBase64Url(keys.p256dh), auth: fromBase64Url(keys.auth) };
}

/** The registration, once its worker is active. */
async function registered() {
  const registration = await navigator.serviceWorker.getRegistration('/try/');
  const worker = registration.active ?? registration.waiting ?? registration.installing;
  while (worker.state !== 'activated') {
    await new Promise((resolve) => {
      worker.addEventListener('statechange', resolve, { once: true });
    });
  }
  return registration;
}

function complain(text) {
  const problem = find('#problem');
  problem.textContent = text;
  problem.hidden = false;
}

try {
  await start();
} catch (error) {
  complain(`The page cannot work: ${error.message}`);
}
