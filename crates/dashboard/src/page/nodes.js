// The table of nodes, and what operators do with them.

import { age, bytes, confirm, count, duration, element, find, percent, rate, shortened, tell, write } from './elements.js';
import { post } from './server.js';

/** Above this share of its limit a node is nearly full. */
const NEARLY_FULL = 0.9;

/** A lease that is older lapses soon. */
const LEASE_OLD_S = 7;

const rows = new Map();

/** What is asked before something is done to a node. */
const VERBS = {
  drain: (name) => ({
    title: `Drain ${name}?`,
    text: 'Load balancers stop using it, and after drain_delay it closes its sockets at drain_rate. It can be taken back.',
    yes: 'Drain',
  }),
  undrain: (name) => ({ title: `Take the drain of ${name} back?`, text: 'It takes new clients again.', yes: 'Undrain' }),
  shed: (name) => ({
    title: `Shed sockets of ${name}?`,
    text: 'It closes a share of its sockets at drain_rate. Their clients connect again, wherever the load balancer sends them.',
    yes: 'Shed',
    asksShare: true,
  }),
};

export function listenToFilter() {
  find('#nodes-filter').addEventListener('input', filter);
}

/** Shows these nodes. Rows of nodes that stay are kept, so that focus and selection stay where they are. */
export function showNodes(nodes, refresh) {
  const body = find('#nodes tbody');
  const ids = new Set(nodes.map(({ id }) => id));
  for (const [id, row] of rows) {
    if (!ids.has(id)) {
      row.element.remove();
      rows.delete(id);
    }
  }
  nodes.forEach((node, index) => {
    const row = rows.get(node.id) ?? newRow(node, refresh);
    rows.set(node.id, row);
    row.update(node);
    if (body.children[index] !== row.element) {
      body.insertBefore(row.element, body.children[index] ?? null);
    }
  });
  filter();
}

/** Shows the rows that have every word of the filter in their names, programs, states or versions. */
function filter() {
  const words = find('#nodes-filter').value.toLowerCase().split(/\s+/).filter((word) => word !== '');
  let shown = 0;
  for (const { element: row, text } of rows.values()) {
    const searched = text().toLowerCase();
    row.hidden = !words.every((word) => searched.includes(word));
    shown += row.hidden ? 0 : 1;
  }
  write(find('#nodes-count'), words.length === 0 ? `${rows.size}` : `${shown} of ${rows.size}`);
}

function newRow({ id, name }, refresh) {
  const cells = Array.from({ length: 12 }, () => element('td'));
  const [state, sockets, hellos, messages, p50, p99, cpu, memory, links, up, version, actions] = cells;
  for (const cell of [hellos, messages, p50, p99, cpu, memory]) {
    cell.className = 'number';
  }
  const pill = element('span', { className: 'state' });
  const reason = element('span', { className: 'note' });
  state.append(pill, ' ', reason);
  const bar = element('span');
  const gauge = element('span', { className: 'gauge' }, bar);
  gauge.setAttribute('aria-hidden', 'true');
  const open = element('span', { className: 'sockets' });
  sockets.append(gauge, open);
  const verb = (what) => {
    const button = element('button', { type: 'button', data: { verb: what } }, what[0].toUpperCase() + what.slice(1));
    button.setAttribute('aria-label', `${button.textContent} ${name}`);
    button.addEventListener('click', () => perform(what, id, name, refresh));
    return button;
  };
  const [drain, undrain, shed] = ['drain', 'undrain', 'shed'].map(verb);
  actions.append(drain, undrain, ' ', shed);
  const program = element('span', { className: 'note' });
  const head = element('th', { scope: 'row' }, element('b', {}, name), ' ', program, element('br'), shortened(id, 'id of the node'));
  const row = element('tr', { data: { node: name } }, head, ...cells);
  const update = (node) => {
    const { figures, rates, quantiles } = node;
    const hasSockets = node.sockets_max > 0;
    row.dataset.state = node.state;
    write(program, node.program);
    const [text, is] = stateOf(node);
    write(pill, text);
    pill.dataset.is = is;
    write(reason, reasonOf(node));
    const share = hasSockets ? node.sockets / node.sockets_max : 0;
    gauge.hidden = !hasSockets;
    gauge.dataset.full = share > NEARLY_FULL;
    bar.style.width = `${Math.min(100, share * 100)}%`;
    write(open, hasSockets ? `${count(node.sockets)} / ${count(node.sockets_max)}` : '–');
    write(hellos, rate(rates.hellos));
    write(messages, rate(rates.accepted ?? rates.sent));
    const times = quantiles.request ?? quantiles.ack;
    write(p50, duration(times?.p50));
    write(p99, duration(times?.p99));
    write(cpu, percent(rates.cpu));
    write(memory, bytes(figures.memory));
    const [link, isBad] = linkOf(figures);
    write(links, link);
    links.classList.toggle('warn', isBad);
    write(up, figures.started === undefined ? '–' : age(Date.now() / 1000 - figures.started));
    write(version, node.commit === '' ? node.version : `${node.version} ${node.commit.slice(0, 7)}`);
    const isHere = node.state !== 'gone';
    drain.hidden = node.phase !== 'serving';
    undrain.hidden = node.phase === 'serving';
    shed.hidden = !hasSockets;
    for (const button of [drain, undrain, shed]) {
      button.disabled = !isHere;
    }
  };
  const text = () => [name, id, program, pill, reason, version].map((part) => part.textContent ?? part).join(' ');
  return { element: row, update, text };
}

function stateOf({ state, phase, unready }) {
  if (state !== 'ok') {
    return [state, 'bad'];
  }
  if (phase !== 'serving') {
    return [phase, 'warn'];
  }
  return unready === '' ? ['ready', 'good'] : ['not ready', 'warn'];
}

function reasonOf({ state, failure, age_ms, phase, unready }) {
  if (state === 'ok') {
    return phase === 'serving' ? unready : '';
  }
  const since = age_ms === undefined ? 'it has never answered' : `figures are ${age(age_ms / 1000)} old`;
  return [failure, since].filter((text) => text !== undefined).join('; ');
}

/** The lease of a node with sockets, the streams of one without. */
function linkOf({ lease_age, streams_open, streams_closed }) {
  if (streams_open !== undefined) {
    const all = streams_open + (streams_closed ?? 0);
    return [`${streams_open}/${all} streams`, streams_closed > 0];
  }
  return lease_age === undefined ? ['–', false] : [`lease ${lease_age.toFixed(1)} s`, lease_age > LEASE_OLD_S];
}

async function perform(verb, node, name, refresh) {
  const agreed = await confirm(VERBS[verb](name));
  if (!agreed) {
    return;
  }
  const body = verb === 'shed' ? { node, share: agreed.share } : { node };
  try {
    const { sockets } = await post(`/api/nodes/${verb}`, body);
    tell(verb === 'shed' ? `${name} closes ${count(sockets)} sockets.` : `${name}: ${verb} has begun.`);
  } catch (error) {
    tell(`${name}: ${error.message}`);
  }
  await refresh();
}
