// One client: found by its UAID or by an endpoint, and what operators do with it.

import { age, bytes, confirm, count, element, find, shortened, tell, write } from './elements.js';
import { post } from './server.js';

const DIALECTS = { simplepush: 'SimplePush', webpush: 'Web Push' };

/** What is asked before something is done that cannot be taken back. */
const QUESTIONS = {
  disconnect: { title: 'Disconnect the client?', text: 'Its socket is closed with 1001. It connects again by itself.', yes: 'Disconnect' },
  forget: {
    title: 'Forget the client?',
    text: 'Its channels and everything that waits for it are deleted, its endpoints are gone, and its socket is closed. It may come back and register anew.',
    yes: 'Forget',
  },
  block: {
    title: 'Block the client?',
    text: 'It is forgotten, and every hello with its UAID is refused until it is unblocked.',
    yes: 'Block',
  },
};

/** The verbs of each state, and what was done by each. */
const VERBS = {
  connected: ['test', 'disconnect', 'forget', 'block'],
  offline: ['test', 'forget', 'block'],
  blocked: ['unblock'],
  unknown: ['block'],
};
const DONE = {
  disconnect: 'The socket is being closed.',
  forget: 'The client is forgotten.',
  block: 'The client is blocked.',
  unblock: 'The client can say hello again.',
};

export function listenToSearch() {
  const form = find('#client-form');
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const { name } = form.elements;
    const text = name.value.trim();
    // It is a secret, or leads to one: it does not stay in the field.
    name.value = '';
    await perform('find', text.includes('/') ? { endpoint: text } : { uaid: text });
  });
}

/** Removes what is shown. */
export function forgetClient() {
  find('#client').replaceChildren();
  write(find('#client-answer'), '');
}

async function perform(verb, named) {
  const question = QUESTIONS[verb];
  if (question !== undefined && !(await confirm(question))) {
    return;
  }
  const answer = find('#client-answer');
  write(answer, verb === 'test' ? 'Waiting for the client…' : '');
  try {
    const view = await post(`/api/client/${verb}`, named);
    show(view, named);
    write(answer, verb === 'test' ? testText(view.test) : '');
    if (DONE[verb] !== undefined) {
      tell(DONE[verb]);
    }
  } catch (error) {
    if (verb === 'find') {
      forgetClient();
    }
    write(answer, error.message);
  }
}

function testText({ acknowledged_ms }) {
  return acknowledged_ms === null
    ? 'The test is stored. The client has not acknowledged it yet.'
    : `The client has acknowledged the test after ${count(acknowledged_ms)} ms.`;
}

function show({ client, state, stored, socket }, named) {
  const facts = element('dl');
  const fact = (name, ...content) => facts.append(element('dt', {}, name), element('dd', {}, ...content));
  fact('Client', shortened(client, 'id of the client'));
  const [name, value] = Object.entries(named)[0];
  if (name !== 'client') {
    fact(name === 'uaid' ? 'UAID' : 'Endpoint', shortened(value, name === 'uaid' ? 'UAID' : 'endpoint'));
  }
  const good = { connected: 'good', blocked: 'bad' };
  fact('State', element('span', { className: 'state', data: { is: good[state] ?? 'warn' } }, state));
  if (socket !== undefined) {
    const since = socket.open_s === null ? `open since an unknown time: ${socket.failure}` : `for ${age(socket.open_s)}`;
    fact('Connected to', element('b', {}, socket.name), ` ${since}`);
  }
  if (stored !== undefined) {
    fact('Dialect', DIALECTS[stored.dialect]);
    fact('Channels', count(stored.channels));
    fact('Pending', stored.messages === 0 ? count(stored.pending) : `${count(stored.pending)}, with ${bytes(stored.message_bytes)}`);
    if (state === 'offline') {
      fact('Last seen', `about ${age(stored.unseen_s)} ago`);
    }
  }
  const verbs = VERBS[state].map((verb) => {
    const label = verb === 'test' ? 'Send a test' : verb[0].toUpperCase() + verb.slice(1);
    const button = element('button', { type: 'button', data: { verb } }, label);
    button.addEventListener('click', () => perform(verb, named));
    return button;
  });
  find('#client').replaceChildren(facts, element('div', { className: 'row' }, ...verbs));
  find('#client').dataset.state = state;
}
