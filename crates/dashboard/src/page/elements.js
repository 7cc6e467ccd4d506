// What the page is made of: elements without any HTML in text, and numbers as people read them.

/** An element with properties, data and children. Children are elements or text. */
export function element(tag, { data = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  Object.assign(made.dataset, data);
  made.append(...children);
  return made;
}

const SVG = 'http://www.w3.org/2000/svg';

/** A part of a drawing. */
export function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  return made;
}

export const find = (selector, within = document) => within.querySelector(selector);

/** Sets a text only if it has changed, so that what a user has selected stays selected. */
export function write(target, text) {
  if (target.textContent !== text) {
    target.textContent = text;
  }
}

const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat('en', { maximumSignificantDigits: 3, notation: 'compact' });

export const count = (value) => (value === undefined ? '–' : WHOLE.format(value));

/** Something that happens so often in a second. */
export function rate(value) {
  if (value === undefined) {
    return '–';
  }
  return value === 0 || value >= 10 ? SHORT.format(value) : value.toFixed(1);
}

export function duration(seconds) {
  if (seconds === undefined) {
    return '–';
  }
  if (seconds < 0.001) {
    return `${Math.round(seconds * 1e6)} µs`;
  }
  if (seconds < 1) {
    return `${(seconds * 1e3).toPrecision(seconds < 0.1 ? 2 : 3)} ms`;
  }
  return seconds < 60 ? `${seconds.toFixed(1)} s` : age(seconds);
}

/** A long time, in its largest unit. */
export function age(seconds) {
  for (const [unit, length] of [['d', 86_400], ['h', 3600], ['min', 60]]) {
    if (seconds >= length) {
      return `${Math.floor(seconds / length)} ${unit}`;
    }
  }
  return `${Math.max(0, Math.floor(seconds))} s`;
}

export function bytes(value) {
  if (value === undefined) {
    return '–';
  }
  const power = Math.min(4, Math.max(0, Math.floor(Math.log2(Math.max(1, value)) / 10)));
  const amount = value / 1024 ** power;
  return `${power > 0 && amount < 10 ? amount.toFixed(1) : Math.round(amount)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`;
}

export const percent = (share) => (share === undefined ? '–' : `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`);

/** A time of the day. */
export const time = (ms) => new Date(ms).toLocaleTimeString('en-GB');

/** An identifier that is shown shortened, with a button that copies all of it. */
export function shortened(text, what) {
  const short = text.length > 16 ? `${text.slice(0, 8)}…${text.slice(-4)}` : text;
  const icon = shape('svg', { viewBox: '0 0 16 16', 'aria-hidden': 'true' });
  icon.append(shape('path', { d: 'M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3' }));
  const copy = element('button', { type: 'button', className: 'copy', title: `Copy the ${what}` }, icon);
  copy.setAttribute('aria-label', `Copy the ${what}`);
  copy.addEventListener('click', async () => {
    await navigator.clipboard.writeText(text);
    tell(`The ${what} is in the clipboard.`);
  });
  return element('span', {}, element('code', {}, short), copy);
}

let forgotten;

/** Says for some seconds what was done. */
export function tell(text) {
  find('#done').textContent = text;
  clearTimeout(forgotten);
  forgotten = setTimeout(() => find('#done').replaceChildren(), 6000);
}

/**
 * Asks whether to do something.
 *
 * @param {{title: string, text: string, yes: string, asksShare?: boolean}} question
 * @returns {Promise<false | {share: number}>} false if not
 */
export function confirm({ title, text, yes, asksShare = false }) {
  const dialog = find('#confirm');
  write(find('#confirm-title'), title);
  write(find('#confirm-text'), text);
  write(find('#confirm-yes'), yes);
  find('#confirm-share').hidden = !asksShare;
  dialog.showModal();
  return new Promise((resolve) => {
    const done = new AbortController();
    const answer = (value) => {
      done.abort();
      dialog.close();
      resolve(value);
    };
    const { signal } = done;
    find('#confirm-yes').addEventListener(
      'click',
      () => {
        const percent = find('#confirm-percent');
        if (!asksShare || percent.reportValidity()) {
          answer({ share: percent.valueAsNumber / 100 });
        }
      },
      { signal },
    );
    find('#confirm-no').addEventListener('click', () => answer(false), { signal });
    dialog.addEventListener('cancel', () => answer(false), { signal });
  });
}
