// What tests do with a page.

import { until } from './until.js';

/** The texts of all elements that a selector finds. */
export const texts = (page, selector) =>
  page.$$eval(selector, (found) => found.map((element) => element.textContent));

/** Waits until one of the elements that a selector finds has this text. */
export const shows = (page, selector, text) =>
  until(`${selector} shows ${text}`, async () => {
    const found = await texts(page, selector);
    if (!found.some((one) => one.includes(text))) {
      throw new Error(JSON.stringify(found));
    }
    return true;
  });

/** Replaces what a field of a form holds. */
export const fill = (page, selector, value) =>
  page.$eval(selector, (field, text) => {
    field.value = text;
  }, value);
