// Whether a text that the page shows is a number, to the precision of its last digit.

/** What a unit stands for. */
const UNITS = {
  '': 1,
  K: 1e3,
  M: 1e6,
  '%': 0.01,
  µs: 1e-6,
  ms: 1e-3,
  s: 1,
  min: 60,
  h: 3600,
  d: 86_400,
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
};

const FORM = /^([\d,]+(?:\.(\d+))?) ?([^\d\s]*)$/;

/** The number that a text shows and half of its last digit; `undefined` if it says that there is none. */
function read(text) {
  if (text === '–') {
    return undefined;
  }
  const [, digits, decimals = '', unit] = FORM.exec(text) ?? [];
  if (UNITS[unit] === undefined) {
    throw new Error(`"${text}" is not a number with a unit`);
  }
  const last = UNITS[unit] * 10 ** -decimals.length;
  return { number: Number(digits.replaceAll(',', '')) * UNITS[unit], last };
}

/** Whether `text` shows `value`, rounded to its last digit. */
export function isRounded(text, value) {
  const shown = read(text);
  return shown === undefined ? value === undefined : Math.abs(shown.number - value) <= (shown.last / 2) * (1 + 1e-9);
}

/** Whether `text` shows `value`, cut off after its last digit, or what it was `slack` before. */
export function isCut(text, value, slack) {
  const shown = read(text);
  return shown === undefined ? value === undefined : shown.number <= value && value - slack < shown.number + shown.last;
}
