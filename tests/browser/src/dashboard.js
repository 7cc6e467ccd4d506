// The dashboard as an operator uses it.

import { Chromium } from './chromium.js';
import { Firefox } from './firefox.js';
import { ADMIN_TOKEN } from './fleet.js';
import { fill } from './page.js';

/** The browsers that operators open it with. */
export const BROWSERS = {
  firefox: (fleet) => Firefox.start(fleet.directory, undefined),
  chromium: (fleet) => Chromium.start(fleet.directory),
};

/** A row of the table of nodes. */
export const row = (name) => `#nodes tr[data-node="${name}"]`;

/** Signs in on a page that asks for it. */
export async function signIn(page, token = ADMIN_TOKEN) {
  await page.waitForSelector('#sign-in:not([hidden])');
  await fill(page, '#token', token);
  await page.click('#sign-in-form [type=submit]');
}
