// Errors, faults and crowds through the SDK: hidden where they can be, never hidden where they must not be.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NO_CACHE, OLD, OpenAI, World, client, sdk, sleep, until } from './harness.mjs';

const MESSAGES = [{ role: 'user', content: '[sim:tokens=40] Tell me.' }];
const ASK = { model: 'gpt-4o', messages: MESSAGES };
const RESPONSE = { model: 'gpt-4.1', input: '[sim:tokens=40] Tell me.' };
const chats = (c) => (OLD ? c.beta.chat.completions : c.chat.completions);

async function raised(promise) {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof sdk.OpenAIError, `not an exception of the SDK: ${error.stack}`);
    return error;
  }
  assert.fail('nothing was raised');
}

/** What an app can ask of an exception. The provider's request id differs from call to call. */
const told = ({ constructor, status, code, param, type, error, message }) => ({
  class: constructor.name, status, code, param, type, error, message,
});

// === errors ===

describe('an error raises what it raises without weir', () => {
  const chat = (more) => (c) => c.chat.completions.create({ ...ASK, ...more });
  const mistakes = {
    'wrong key': [sdk.AuthenticationError, chat(), { apiKey: 'sk-invalid-1' }],
    'no such model': [sdk.NotFoundError, chat({ model: 'gpt-99' })],
    'out of range': [sdk.BadRequestError, chat({ temperature: 9 })],
    'bad stream': [sdk.BadRequestError, chat({ temperature: 9, stream: true })],
    'no such file': [sdk.NotFoundError, (c) => c.files.retrieve('file-none')],
  };
  for (const [name, [kind, call, options]] of Object.entries(mistakes)) {
    test(name, World.with(async (world) => {
      const { sim, weir } = await world.one();
      const expected = told(await raised(call(client(sim, options))));
      assert.equal(expected.class, kind.name);
      assert.deepEqual(told(await raised(call(client(weir, options)))), expected);
    }));
  }

  const faults = {
    'wrong organization': [sdk.AuthenticationError, { status: 401 }],
    region: [sdk.PermissionDeniedError, { status: 403, code: 'unsupported_country_region_territory' }],
    conflict: [sdk.ConflictError, { status: 409 }],
    unprocessable: [sdk.UnprocessableEntityError, { status: 422 }],
    'rate limit': [sdk.RateLimitError, { status: 429, code: 'rate_limit_exceeded', headers: { 'retry-after': '600' } }],
    'out of credit': [sdk.RateLimitError, { error: 'openai-insufficient-quota' }],
    'server error': [sdk.InternalServerError, { status: 500 }],
    page: [sdk.InternalServerError, { kind: 'html' }],
  };
  for (const [name, [kind, fault]] of Object.entries(faults)) {
    for (const stream of [false, true]) {
      test(`${name}, ${stream ? 'stream' : 'whole'}`, World.with(async (world) => {
        const { sim, weir } = await world.one();
        await sim.inject(fault);
        const expected = told(await raised(chat({ stream })(client(sim))));
        assert.equal(expected.class, kind.name);
        assert.deepEqual(told(await raised(chat({ stream })(client(weir)))), expected);
      }));
    }
  }

  test('a gateway that is gone is a connection error', World.with(async (world) => {
    const { weir } = await world.one();
    await weir.stop();
    const error = await raised(chat()(client(weir)));
    assert.equal(error.constructor, sdk.APIConnectionError);
  }));

  test("a caller's time-out ends the upstream call", World.with(async (world) => {
    const { sim, weir } = await world.one();
    await sim.inject({ kind: 'hang' });
    // The time-out that the SDK tells is longer than the one it keeps: weir cannot answer just before it.
    const headers = { 'x-stainless-timeout': '60', 'x-stainless-read-timeout': '60' };
    for (const where of [sim, weir]) {
      const error = await raised(client(where).chat.completions.create(ASK, { timeout: 600, headers }));
      assert.equal(error.constructor, sdk.APIConnectionTimeoutError);
      await sim.idle();
    }
    assert.equal((await sim.stats()).requests, 2);
  }));
});

// === streams ===

/** Ways to read a stream; each resolves to the text, and rejects when the stream is not whole. */
const READERS = {
  async 'chat, iterated'(c) {
    let text = '';
    let reason;
    for await (const chunk of await c.chat.completions.create({ ...ASK, stream: true })) {
      text += chunk.choices[0].delta.content ?? '';
      reason ??= chunk.choices[0].finish_reason;
    }
    assert.ok(reason, 'an unfinished stream ended without an exception');
    return text;
  },
  async 'chat, helper'(c) {
    return (await chats(c).stream(ASK).finalChatCompletion()).choices[0].message.content;
  },
  async 'responses, iterated'(c) {
    let last;
    for await (const event of await c.responses.create({ ...RESPONSE, stream: true })) last = event;
    assert.equal(last.type, 'response.completed', 'an unfinished stream ended without an exception');
    return last.response.output_text ?? last.response.output.at(-1).content[0].text;
  },
  async 'responses, helper'(c) {
    const final = await c.responses.stream(RESPONSE).finalResponse();
    assert.equal(final.status, 'completed', 'an unfinished stream ended without an exception');
    return final.output_text ?? final.output.at(-1).content[0].text;
  },
};

describe('a stream that breaks raises and is never a whole answer', () => {
  // Past the preface of either kind (one role chunk; four lifecycle events).
  const broken = {
    cut: { kind: 'cut', after_events: 12 },
    'cut in an event': { kind: 'cut', after_events: 12, mid_event: true },
    drop: { kind: 'drop', after_events: 12 },
    reset: { kind: 'reset', after_events: 12 },
    stall: { kind: 'stall', after_events: 12 },
    'error event': { kind: 'error-event', after_events: 12, code: 'server_error', message: 'Broken inside.' },
  };
  for (const [name, fault] of Object.entries(broken)) {
    for (const [how, read] of Object.entries(READERS)) {
      test(`${name}; ${how}`, World.with(async (world) => {
        const { first, second, weir } = await world.two(undefined, { idle_timeout: '1s' });
        await first.inject(fault);
        const error = await raised(read(client(weir)));
        assert.equal(error.status, undefined, 'the head had gone out with 200');
        await first.idle();
        // Content has gone out: nobody may continue it.
        assert.deepEqual([(await first.stats()).requests, (await second.stats()).requests], [1, 0]);
      }));
    }
  }
});

const EARLY = {
  503: { status: 503 },
  reset: { kind: 'reset' },
  hang: { kind: 'hang' },
  'empty stream': { kind: 'empty-stream' },
  'role only': { kind: 'role-only' },
  'error event first': { kind: 'error-event', after_events: 0 },
  page: { kind: 'html' },
  'out of credit': { error: 'openai-insufficient-quota' },
  'hard limit': { status: 400, message: 'Billing hard limit has been reached', code: 'billing_hard_limit_reached' },
};

describe('a stream that fails before its content is answered by the next provider', () => {
  for (const [name, fault] of Object.entries(EARLY)) {
    for (const how of ['chat, iterated', 'responses, helper']) {
      test(`${name}; ${how}`, World.with(async (world) => {
        const { first, second, weir } = await world.two(undefined, { first_token_timeout: '1s' });
        const whole = await READERS[how](client(second));
        await first.inject(fault);
        assert.equal(await READERS[how](client(weir)), whole);
        assert.equal((await second.stats()).requests, 2);
      }));
    }
  }
});

describe('cancellation', () => {
  test('leaving a stream ends the upstream call', World.with(async (world) => {
    const { sim, weir } = await world.one();
    const messages = [{ role: 'user', content: '[sim:tokens=5000][sim:event-ms=20] a long one' }];
    let seen = 0;
    for await (const _ of await client(weir).chat.completions.create({ ...ASK, messages, stream: true })) {
      if (++seen === 5) break;
    }
    await sim.idle();
    assert.equal((await sim.stats()).disconnects, 1);
    await until(async () => (await weir.metric('weir_inflight')) === 0, 'no call in flight in weir');
  }));

  test('an abort signal ends the upstream call', World.with(async (world) => {
    const { sim, weir } = await world.one();
    await sim.inject({ kind: 'hang' });
    const control = new AbortController();
    const call = raised(client(weir).chat.completions.create(ASK, { signal: control.signal }));
    await until(async () => (await sim.stats()).in_flight === 1, 'a call under way');
    control.abort();
    assert.equal((await call).constructor, sdk.APIUserAbortError);
    await sim.idle();
  }));
});

// === nothing is multiplied ===

describe('the retries of the SDK', () => {
  for (const name of ['out of credit', 'hard limit']) {
    test(`${name} costs at most one call each`, World.with(async (world) => {
      const { sim, weir } = await world.one();
      await sim.inject(EARLY[name]);
      const retrying = new OpenAI({ baseURL: weir.baseURL, apiKey: 'sk-a' });
      for (let calls = 1; calls <= 5; calls++) {
        await raised(retrying.chat.completions.create(ASK));
        assert.ok((await sim.stats()).requests <= calls);
      }
    }));
  }

  for (const fault of [{ status: 503 }, { kind: 'reset' }]) {
    test(`do not multiply weir's: ${JSON.stringify(fault)}`, World.with(async (world) => {
      const { sim, weir } = await world.one(`[retry]\nmax_attempts = 3\nbase = "20ms"\nmax = "50ms"\n${NO_CACHE}`);
      await sim.inject(fault);
      await raised(client(weir, { maxRetries: 2 }).chat.completions.create(ASK));
      assert.ok((await sim.stats()).requests <= 3);
    }));
  }

  test('are not needed for a told wait', World.with(async (world) => {
    const { sim, weir } = await world.one();
    await sim.inject({ status: 429, code: 'rate_limit_exceeded', headers: { 'retry-after-ms': '700' }, times: 1 });
    const started = Date.now();
    const { response } = await client(weir).chat.completions.create(ASK).withResponse();
    assert.ok(Date.now() - started >= 700 && Number(response.headers.get('x-weir-wait-ms')) >= 690);
    assert.equal((await sim.stats()).requests, 2);
  }));
});

// === many at once ===

describe('crowds', () => {
  test('200 calls at once get their own answers', World.with(async (world) => {
    const { sim, weir } = await world.one();
    const c = client(weir, { timeout: 60_000 });
    const answers = await Promise.all(Array.from({ length: 200 }, async (_, i) => {
      const messages = [{ role: 'user', content: `[sim:say=number ${i}][sim:delay-ms=100]` }];
      if (i % 2) return (await c.chat.completions.create({ ...ASK, messages })).choices[0].message.content;
      let text = '';
      for await (const chunk of await c.chat.completions.create({ ...ASK, messages, stream: true })) {
        text += chunk.choices[0].delta.content ?? '';
      }
      return text;
    }));
    assert.deepEqual(answers, Array.from({ length: 200 }, (_, i) => `number ${i}`));
    assert.equal((await sim.stats()).requests, 200);
  }));

  test('200 identical calls at once make one upstream call', World.with(async (world) => {
    const { sim, weir } = await world.one('');
    const messages = [{ role: 'user', content: '[sim:delay-ms=1500] The same for all.' }];
    const c = client(weir, { timeout: 60_000 });
    const ask = () => c.chat.completions.create({ ...ASK, messages, temperature: 0 });
    const answers = await Promise.all(Array.from({ length: 200 }, ask));
    assert.equal(new Set(answers.map((answer) => JSON.stringify(answer))).size, 1);
    assert.equal((await sim.stats()).requests, 1);
  }));

  test('an outage of the first provider is not noticed', World.with(async (world) => {
    const { first, weir } = await world.two(`${NO_CACHE}[retry]\nbase = "50ms"\n[breaker]\nopen_for = "1s"\nopen_for_max = "1s"\n`);
    await first.inject({ status: 503, until: '3s' });
    const c = client(weir);
    const calls = [];
    const started = Date.now();
    while (Date.now() - started < 4_000) {
      calls.push(c.chat.completions.create(ASK));
      await sleep(25);
    }
    const failed = (await Promise.allSettled(calls)).filter((one) => one.status === 'rejected');
    assert.deepEqual(failed.map((one) => String(one.reason)), []);
    assert.ok(calls.length > 50);
  }));
});
