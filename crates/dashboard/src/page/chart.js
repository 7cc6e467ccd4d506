// A small chart: lines over time, drawn as SVG, with what they are now as text.

import { element, find, shape, time, write } from './elements.js';

const WIDTH = 300;
const HEIGHT = 72;

/** Points further apart than this are not joined: nothing is known of the time between them. */
const GAP_MS = 10_000;

/** At least so much time is drawn. */
const SPAN_MIN_MS = 60_000;

/** A chart in a `figure`. */
export class Chart {
  #lines;
  #format;
  #svg;
  #paths = [];
  #values = [];
  #cursor = shape('path', { class: 'cursor' });
  #top = element('span');
  #when = element('span');
  #points = [];

  /**
   * @param {string} title
   * @param {(value: number) => string} format
   * @param {{name: string, of: (point: object) => number | undefined}[]} lines one or two
   */
  constructor(title, format, lines) {
    this.#lines = lines;
    this.#format = format;
    this.#svg = shape('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
    const grid = shape('path', { class: 'grid' });
    grid.setAttribute('d', `M0 ${HEIGHT}H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 0H${WIDTH}`);
    this.#svg.append(grid);
    const caption = element('figcaption', {}, element('span', { className: 'title' }, title));
    const keys = element('span');
    lines.forEach(({ name }, index) => {
      const group = shape('g', { class: `line${index}` });
      const path = shape('path', { class: '' });
      const area = shape('path', { class: 'area' });
      group.append(...(lines.length === 1 ? [area, path] : [path]));
      this.#svg.append(group);
      this.#paths.push({ path, area });
      const value = element('b', { className: 'value' }, '–');
      this.#values.push(value);
      keys.append(element('span', { className: `key line${index}` }, `${name} `, value), ' ');
    });
    caption.append(keys);
    this.#svg.append(this.#cursor);
    const scale = element('div', { className: 'scale' }, this.#top, this.#when);
    this.figure = element('figure', { data: { chart: title } }, caption, this.#svg, scale);
    this.#svg.addEventListener('pointermove', (event) => this.#point(event));
    this.#svg.addEventListener('pointerleave', () => this.#show(this.#points.length - 1, false));
  }

  /** Draws these points, oldest first. */
  draw(points) {
    this.#points = points;
    const values = this.#lines.map(({ of }) => points.map(of));
    const max = Math.max(...values.flat().filter((value) => value !== undefined), 0);
    const top = niceCeiling(max);
    const x = (at) => this.#x(at);
    values.forEach((line, index) => {
      let path = '';
      let area = '';
      let begun;
      let before;
      line.forEach((value, at) => {
        const { at_ms } = points[at];
        if (value === undefined) {
          return;
        }
        const isJoined = before !== undefined && at_ms - before.at_ms <= GAP_MS;
        const position = `${x(at_ms).toFixed(1)} ${(HEIGHT - (value / top) * HEIGHT).toFixed(1)}`;
        if (!isJoined) {
          area += before === undefined ? '' : `V${HEIGHT}H${begun}Z`;
          begun = x(at_ms).toFixed(1);
          area += `M${begun} ${HEIGHT}L${position}`;
        }
        path += `${isJoined ? 'L' : 'M'}${position}`;
        area += isJoined ? `L${position}` : '';
        before = { at_ms };
      });
      area += before === undefined ? '' : `V${HEIGHT}H${begun}Z`;
      this.#paths[index].path.setAttribute('d', path);
      this.#paths[index].area.setAttribute('d', area);
    });
    write(this.#top, this.#format(top));
    this.#show(points.length - 1, false);
  }

  /** Where a time is drawn: the last one is at the right edge. */
  #x(at) {
    const last = this.#points.at(-1)?.at_ms ?? 0;
    const span = Math.max(last - (this.#points[0]?.at_ms ?? 0), SPAN_MIN_MS);
    return WIDTH - ((last - at) / span) * WIDTH;
  }

  /** Shows the values where the pointer is. */
  #point(event) {
    if (this.#points.length === 0) {
      return;
    }
    const { left, width } = this.#svg.getBoundingClientRect();
    const at = ((event.clientX - left) / width) * WIDTH;
    const distances = this.#points.map(({ at_ms }) => Math.abs(this.#x(at_ms) - at));
    this.#show(distances.indexOf(Math.min(...distances)), true);
  }

  #show(index, isPointed) {
    const point = this.#points[index];
    const values = this.#lines.map(({ of }) => (point === undefined ? undefined : of(point)));
    values.forEach((value, line) => write(this.#values[line], this.#format(value)));
    this.#cursor.setAttribute('d', isPointed ? `M${this.#x(point.at_ms)} 0V${HEIGHT}` : '');
    write(this.#when, point === undefined ? '' : time(point.at_ms));
    const title = find('.title', this.figure).textContent;
    const now = this.#lines.map(({ name }, line) => `${name} ${this.#format(values[line])}`);
    this.#svg.setAttribute('aria-label', `${title}: ${now.join(', ')}`);
  }
}

/** The next number that is 1, 2 or 5 times a power of ten. */
function niceCeiling(value) {
  if (value <= 0) {
    return 1;
  }
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((digit) => digit * power).find((nice) => nice >= value * 0.9999);
}
