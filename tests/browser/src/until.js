// Waiting for what has to happen, without a guess at how long it takes.

import { setTimeout as sleep } from 'node:timers/promises';

/** How long anything may take before the test gives up. Reached only by a bug. */
export const PATIENCE_MS = 60_000;

const POLL_MS = 50;

/**
 * Asks again and again until the answer is neither `undefined`, `null` nor `false`, and returns it.
 *
 * @param {string} what what is waited for, for the message when it does not happen
 * @param {() => unknown} question what to ask; an error it throws is the message's last line
 */
export async function until(what, question) {
  const end = Date.now() + PATIENCE_MS;
  let last;
  while (Date.now() < end) {
    try {
      last = await question();
    } catch (error) {
      last = error;
    }
    const isThere = last !== undefined && last !== null && last !== false;
    if (isThere && !(last instanceof Error)) {
      return last;
    }
    await sleep(POLL_MS);
  }
  throw new Error(`gave up waiting until ${what}: ${last}`);
}
