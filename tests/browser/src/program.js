// Child processes that cannot outlive the tests, and whose last words are kept.

import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { until } from './until.js';

/** Starts a program such that the kernel kills it when the test process ends; from util-linux. */
const DIE_WITH_PARENT = ['setpriv', '--pdeathsig', 'KILL', '--'];

/** How much of a log a message quotes. */
const LOG_TAIL_LINES = 40;

/** A running program. */
export class Program {
  #child;
  #error;
  #log;
  #name;

  /**
   * Starts a program with nothing but these environment variables. What it writes is appended to `log`.
   *
   * @param {string} name what messages call it
   * @param {string[]} command
   * @param {{environment?: Record<string, string>, directory: string, log: string}} options
   */
  constructor(name, command, { environment = {}, directory, log }) {
    this.#name = name;
    this.#log = log;
    const output = openSync(log, 'a');
    const [launcher, ...words] = [...DIE_WITH_PARENT, ...command];
    this.#child = spawn(launcher, words, {
      cwd: directory,
      env: { PATH: process.env.PATH, RUST_BACKTRACE: '1', ...environment },
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    this.#child.on('error', (error) => {
      this.#error = error;
    });
  }

  /** Whether it has ended. */
  get hasEnded() {
    return this.#child.exitCode !== null || this.#child.signalCode !== null || this.#error !== undefined;
  }

  /** What it has written, with earlier runs that used the same file. */
  get log() {
    return existsSync(this.#log) ? readFileSync(this.#log, 'utf8') : '';
  }

  /** The end of its log, for a message. */
  get lastWords() {
    const lines = this.log.trimEnd().split('\n').slice(-LOG_TAIL_LINES);
    return `--- ${this.#name}\n${lines.join('\n')}`;
  }

  /** Waits until `question` has an answer; gives up at once when the program ends before. */
  async until(what, question) {
    const answer = await until(what, async () => {
      const found = await Promise.resolve(question()).catch(() => undefined);
      return found ?? (this.hasEnded ? { hasEnded: true } : undefined);
    });
    if (answer.hasEnded) {
      throw new Error(`${this.#name} ended before ${what}: ${this.#error ?? ''}\n${this.lastWords}`);
    }
    return answer;
  }

  /** Kills it as a crash would, and waits until it is gone. */
  async kill() {
    this.#child.kill('SIGKILL');
    await this.ended();
  }

  /** Sends a signal. */
  signal(name) {
    process.kill(this.#child.pid, name);
  }

  /** Asks it to end, and waits until it has. */
  async terminate() {
    this.#child.kill('SIGTERM');
    await this.ended();
  }

  /** Waits for its end. */
  async ended() {
    await until(`${this.#name} has ended`, () => this.hasEnded);
  }
}
