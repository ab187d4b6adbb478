// Processes for the tests: `weir simulate` and `weir serve` on free ports, ready when handed out, ended by the test.
// Their last lines are shown when a test fails.

import { spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';

const ROOT = resolve(fileURLToPath(import.meta.url), '../../../..');
const BINARY = process.env.WEIR_BIN ?? join(ROOT, 'target/debug/weir');
const READY_WITHIN_MS = 20_000;

/** The SDK under test: today's, or the old major installed beside it under another name. */
export const PACKAGE = process.env.OPENAI_PACKAGE ?? 'openai';
export const sdk = await import(PACKAGE);
export const OpenAI = sdk.default;
export const OLD = PACKAGE !== 'openai';
export const zod = await import(`${PACKAGE}/helpers/zod`);

export const QUICK = '[retry]\nbase = "50ms"\nmax = "200ms"\n';
export const NO_CACHE = '[cache]\npolicy = "off"\n';

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits for a condition, not for a time. */
export async function until(condition, what, withinMs = 5_000) {
  const end = Date.now() + withinMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what} did not come true within ${withinMs} ms`);
    await sleep(10);
  }
}

class Process {
  lines = [];

  static async start(kind, name, args, pattern) {
    const one = new kind();
    one.name = name;
    one.child = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NO_COLOR: '1' } });
    one.gone = new Promise((done) => one.child.once('exit', done));
    const found = new Promise((done, fail) => {
      for (const stream of [one.child.stdout, one.child.stderr]) {
        createInterface({ input: stream }).on('line', (line) => {
          one.lines.push(line);
          const match = pattern.exec(line);
          if (match) done(match);
        });
      }
      one.child.once('error', fail);
      one.gone.then(() => fail(new Error(`${name} did not start:\n${one.log()}`)));
      setTimeout(() => fail(new Error(`${name} is not ready:\n${one.log()}`)), READY_WITHIN_MS).unref();
    });
    try {
      one.ready(await found);
    } catch (error) {
      await one.stop();
      throw error;
    }
    return one;
  }

  log(last = 15) {
    return this.lines.slice(-last).join('\n');
  }

  async stop() {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGTERM');
      const late = setTimeout(() => this.child.kill('SIGKILL'), 5_000);
      await this.gone;
      clearTimeout(late);
    }
  }
}

export class Sim extends Process {
  static start(name = 'sim') {
    const args = ['simulate', '--json', '--listen', '127.0.0.1:0', '--name', name, '--workers', '1'];
    return Process.start(Sim, name, args, /"base_url":"(http:\/\/[^"]+)\/v1"/);
  }

  ready(match) {
    this.url = match[1];
    this.baseURL = `${this.url}/v1`;
  }

  async control(path, body) {
    const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
    const answer = await fetch(`${this.url}/_sim/${path}`, init);
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  inject(...faults) {
    return this.control('faults', faults);
  }

  reset() {
    return this.control('reset', {});
  }

  stats() {
    return this.control('stats');
  }

  idle() {
    return until(async () => (await this.stats()).in_flight === 0, `an idle ${this.name}`);
  }
}

export class Weir extends Process {
  static start(config) {
    const path = join(mkdtempSync(join(tmpdir(), 'weir-')), 'weir.toml');
    writeFileSync(path, `listen = "127.0.0.1:0"\nadmin = { listen = "127.0.0.1:0" }\n${config}`);
    return Process.start(Weir, 'weir', ['serve', '--config', path], /apps="([^"]+)" admin="([^"]+)"/);
  }

  ready(match) {
    this.baseURL = `http://${match[1]}/v1`;
    this.admin = `http://${match[2]}`;
  }

  /** The sum of the samples of a metric. */
  async metric(name) {
    const text = await (await fetch(`${this.admin}/metrics`)).text();
    const samples = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
    return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }
}

export function upstream(sim, name = 'first', key = 'passthrough', more = {}) {
  const words = { name, provider: 'openai', base_url: sim.baseURL, api_key: key, ...more };
  return `[[upstream]]\n${Object.entries(words).map(([word, value]) => `${word} = "${value}"\n`).join('')}`;
}

/** A client; without its own retries unless the test is about them. */
export function client(where, options = {}) {
  return new OpenAI({ baseURL: where.baseURL, apiKey: 'sk-test', maxRetries: 0, timeout: 30_000, ...options });
}

/** Starts what a test needs, ends it afterwards, and shows the logs when it failed. */
export class World {
  #mine = [];

  async #keep(starting) {
    const process = await starting;
    this.#mine.push(process);
    return process;
  }

  /** A simulator with a gateway before it. */
  async one(extra = QUICK + NO_CACHE, more = {}) {
    const sim = await this.#keep(Sim.start('first'));
    const weir = await this.#keep(Weir.start(upstream(sim, 'first', 'passthrough', more) + extra));
    return { sim, weir };
  }

  /** Two simulators, the second standing in for the first. */
  async two(extra = QUICK + NO_CACHE, more = {}) {
    const first = await this.#keep(Sim.start('first'));
    const second = await this.#keep(Sim.start('second'));
    const upstreams = upstream(first, 'first', 'sk-first', more) + upstream(second, 'second', 'sk-second', more);
    const route = '[[route]]\nmodels = ["*"]\ntargets = ["first", "second"]\n';
    const weir = await this.#keep(Weir.start(upstreams + route + extra));
    return { first, second, weir };
  }

  async end() {
    for (const process of this.#mine.reverse()) await process.stop();
  }

  /** A test body that is handed a world of its own. */
  static with(body) {
    return async (t) => {
      const world = new World();
      try {
        await body(world, t);
      } catch (error) {
        for (const process of world.#mine) console.error(`--- log of ${process.name}\n${process.log()}`);
        throw error;
      } finally {
        await world.end();
      }
    };
  }
}
