// Broadcasts, and what operators have changed.

import { confirm, element, find, tell, time, write } from './elements.js';
import { get, post } from './server.js';

export async function showBroadcasts() {
  const { broadcasts } = await get('/api/broadcasts');
  const entries = Object.entries(broadcasts);
  write(find('#broadcasts-count'), `${entries.length}`);
  const list = find('#broadcasts');
  const text = JSON.stringify(entries);
  if (list.dataset.shown === text) {
    return;
  }
  list.dataset.shown = text;
  list.replaceChildren(...entries.map(([id, version]) => broadcast(id, version)));
}

function broadcast(id, version) {
  const button = element('button', { type: 'button' }, 'Remove');
  button.setAttribute('aria-label', `Remove ${id}`);
  button.addEventListener('click', async () => {
    const title = `Remove the broadcast ${id}?`;
    if (await confirm({ title, text: 'Clients that are subscribed to it keep the version that they have.', yes: 'Remove' })) {
      await change('/api/broadcasts/remove', { id }, `${id} is removed.`);
    }
  });
  return element('li', {}, element('span', {}, element('code', {}, id), ' ', element('span', { className: 'note' }, version)), button);
}

async function change(path, body, done) {
  try {
    await post(path, body);
    tell(done);
    await Promise.all([showBroadcasts(), showAudit()]);
  } catch (error) {
    tell(error.message);
  }
}

export function listenToBroadcasts() {
  const form = find('#broadcast-form');
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const { id, version } = form.elements;
    await change('/api/broadcasts/set', { id: id.value, version: version.value }, `${id.value} is set.`);
  });
}

export async function showAudit() {
  const { lines, silent } = await get('/api/audit');
  const missing = silent === 0 ? '' : `, without ${silent} ${silent === 1 ? 'node' : 'nodes'} that did not answer`;
  write(find('#audit-count'), `${lines.length}${missing}`);
  find('#audit tbody').replaceChildren(...lines.map(line));
}

function line({ at_ms, operator, peer, change: what, status }) {
  const when = element('time', { dateTime: new Date(at_ms).toISOString(), title: new Date(at_ms).toLocaleString() }, time(at_ms));
  const answer = element('span', { data: { good: status < 400 } }, `${status}`);
  const who = element('td', { title: peer }, operator);
  return element('tr', {}, element('td', {}, when), who, element('td', {}, what), element('td', {}, answer));
}
