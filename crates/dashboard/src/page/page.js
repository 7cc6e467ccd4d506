// The page: asks its node about the cluster while it is visible, and shows what it answers.

import { Chart } from './chart.js';
import { forgetClient, listenToSearch } from './client.js';
import { count, duration, element, find, percent, rate, tell, write } from './elements.js';
import { listenToBroadcasts, showAudit, showBroadcasts } from './lists.js';
import { listenToFilter, showNodes } from './nodes.js';
import { events, get, post, remove } from './server.js';

/** The pause between two readings of the cluster, and of what changes rarely. */
const REFRESH_MS = 2000;
const REFRESH_RARELY_MS = 10_000;

/** What is drawn: the last ten minutes. */
const SHOWN_MS = 600_000;

/** Silent nodes that are named. */
const NAMED_MAX = 5;

const CHARTS = [
  new Chart('Notifications/s', rate, [
    { name: 'accepted', of: (point) => point.rates.accepted },
    { name: 'delivered', of: (point) => point.rates.delivered },
  ]),
  new Chart('Clients/s', rate, [
    { name: 'hellos', of: (point) => point.rates.hellos },
    { name: 'ends', of: (point) => point.rates.ends },
  ]),
  new Chart('Sockets', count, [{ name: 'open', of: (point) => point.sockets }]),
  new Chart('Answer to a sender', duration, [
    { name: 'p50', of: (point) => point.quantiles.request?.p50 },
    { name: 'p99', of: (point) => point.quantiles.request?.p99 },
  ]),
  new Chart('Acknowledgement', duration, [
    { name: 'p50', of: (point) => point.quantiles.ack?.p50 },
    { name: 'p99', of: (point) => point.quantiles.ack?.p99 },
  ]),
  new Chart('CPU, all nodes', percent, [{ name: 'of a core', of: (point) => point.rates.cpu }]),
];

let points = [];
let timer;
let readRarely = 0;
let isSignedIn = false;

async function refresh() {
  clearTimeout(timer);
  if (!isSignedIn || document.visibilityState === 'hidden') {
    return;
  }
  try {
    const since = points.at(-1)?.at_ms ?? 0;
    show(await get(`/api/cluster?since=${since}`));
    if (Date.now() - readRarely >= REFRESH_RARELY_MS) {
      readRarely = Date.now();
      await Promise.all([showBroadcasts(), showAudit()]);
    }
  } catch (error) {
    write(find('#problem'), isSignedIn ? `What is shown is old: ${error.message}` : '');
  }
  clearTimeout(timer);
  timer = setTimeout(refresh, REFRESH_MS);
}

function show({ by, nodes, partial, directory_failure, history }) {
  points = [...points, ...history];
  const oldest = (points.at(-1)?.at_ms ?? 0) - SHOWN_MS;
  points = points.filter(({ at_ms }) => at_ms >= oldest);
  CHARTS.forEach((chart) => chart.draw(points));
  showNodes(nodes, refresh);
  const problems = [];
  if (directory_failure !== undefined) {
    problems.push(`The directory of nodes cannot be read (${directory_failure}): the one of an earlier reading is shown.`);
  }
  const silent = nodes.filter(({ state }) => state === 'silent').map(({ name }) => name);
  if (silent.length > 0) {
    const more = silent.length > NAMED_MAX ? ` and ${silent.length - NAMED_MAX} more` : '';
    problems.push(`Sums are without ${silent.slice(0, NAMED_MAX).join(', ')}${more}: no answer.`);
  }
  write(find('#problem'), problems.join(' '));
  document.body.dataset.partial = partial;
  const now = points.at(-1);
  const listed = nodes.filter(({ state }) => state !== 'gone');
  const part = (value, what) => [element('b', {}, value), ` ${what} · `];
  find('#summary').replaceChildren(
    ...part(count(listed.length), listed.length === 1 ? 'node' : 'nodes'),
    ...part(count(now?.sockets ?? 0), 'sockets'),
    ...part(rate(now?.rates.accepted), 'notifications/s'),
    `read by ${by}`,
  );
}

function signedIn(session) {
  isSignedIn = true;
  write(find('#operator'), session.operator);
  find('#sign-in').hidden = true;
  find('#cluster').hidden = false;
  find('#session').hidden = false;
  readRarely = 0;
  return refresh();
}

/** Nothing of the cluster stays on the page. */
function signedOut() {
  isSignedIn = false;
  points = [];
  clearTimeout(timer);
  find('#nodes-filter').value = '';
  showNodes([], refresh);
  forgetClient();
  for (const list of ['#summary', '#broadcasts', '#audit tbody']) {
    find(list).replaceChildren();
  }
  delete find('#broadcasts').dataset.shown;
  find('#confirm').close();
  find('#cluster').hidden = true;
  find('#session').hidden = true;
  find('#sign-in').hidden = false;
  find('#token').focus();
}

find('#charts').append(...CHARTS.map(({ figure }) => figure));
listenToBroadcasts();
listenToFilter();
listenToSearch();
events.addEventListener('signed-out', signedOut);
document.addEventListener('visibilitychange', refresh);

find('#sign-in-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const field = find('#token');
  const token = field.value;
  field.value = '';
  write(find('#sign-in-answer'), '');
  try {
    await signedIn(await post('/api/session', { token }));
  } catch (error) {
    write(find('#sign-in-answer'), error.message);
  }
});

find('#sign-out').addEventListener('click', async () => {
  try {
    await remove('/api/session');
    signedOut();
  } catch (error) {
    tell(error.message);
  }
});

try {
  await signedIn(await get('/api/session'));
} catch {
  signedOut();
}
