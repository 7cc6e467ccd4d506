// The API of the node that this page comes from.

/** How long a request may take: longer than the node waits for the others and for the store. */
const TIMEOUT_MS = 8000;

/** An answer that is not a good one. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Whoever wants to know that the session has ended. */
export const events = new EventTarget();

async function ask(method, path, body) {
  const options = { method, credentials: 'same-origin', signal: AbortSignal.timeout(TIMEOUT_MS) };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { 'Content-Type': 'application/json' };
  }
  const answer = await fetch(path, options);
  if (answer.ok) {
    return answer.status === 204 ? undefined : answer.json();
  }
  const { message } = await answer.json().catch(() => ({ message: answer.statusText }));
  if (answer.status === 401) {
    events.dispatchEvent(new Event('signed-out'));
  }
  throw new Refused(answer.status, message);
}

export const get = (path) => ask('GET', path);
export const post = (path, body) => ask('POST', path, body);
export const remove = (path) => ask('DELETE', path);
