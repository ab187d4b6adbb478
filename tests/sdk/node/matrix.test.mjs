// Every way in which a stream can go wrong, at every event: a whole answer or an exception, and nothing between.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { World, client } from './harness.mjs';

const PROMPT = '[sim:tokens=5] Tell me.';
const FAST = '[retry]\nmax_attempts = 2\nbase = "10ms"\nmax = "20ms"\n[cache]\npolicy = "off"\n[breaker]\nconsecutive = 1000\nmin_calls = 1000\n';

const KINDS = {
  async chat(c) {
    const ask = { model: 'gpt-4o', messages: [{ role: 'user', content: PROMPT }], stream: true };
    let [text, whole] = ['', false];
    for await (const chunk of await c.chat.completions.create(ask)) {
      for (const choice of chunk.choices) {
        text += choice.delta.content ?? '';
        whole ||= choice.finish_reason === 'stop';
      }
    }
    return { text, whole };
  },
  async responses(c) {
    let [text, whole] = ['', false];
    for await (const event of await c.responses.create({ model: 'gpt-4.1', input: PROMPT, stream: true })) {
      if (event.type === 'response.output_text.delta') text += event.delta;
      whole ||= event.type === 'response.completed';
    }
    return { text, whole };
  },
};
// The events of the whole stream, `[DONE]` included.
const EVENTS = { chat: 8, responses: 14 };

const FAULTS = {
  cut: { kind: 'cut' },
  'cut in an event': { kind: 'cut', mid_event: true },
  drop: { kind: 'drop' },
  'drop in an event': { kind: 'drop', mid_event: true },
  reset: { kind: 'reset' },
  stall: { kind: 'stall' },
  malformed: { kind: 'malformed' },
  'error event': { kind: 'error-event', code: 'server_error', message: 'Broken inside.' },
};
const NOTHING = {
  empty: { kind: 'empty-stream' },
  'role only': { kind: 'role-only' },
  'comments only': { kind: 'comments-only', gap: '50ms' },
  'no body': { kind: 'empty' },
  page: { kind: 'html-200' },
};

for (const [kind, read] of Object.entries(KINDS)) {
  describe(`${kind}, broken at every event, is a whole answer or an exception`, () => {
    for (const [name, fault] of Object.entries(FAULTS)) {
      test(name, World.with(async (world) => {
        const { sim, weir } = await world.one(FAST, { idle_timeout: '500ms', first_token_timeout: '500ms' });
        const expected = await read(client(sim));
        assert.ok(expected.whole);
        let raised = 0;
        // A stall takes the time-out each time: fewer places.
        for (let place = 0; place <= EVENTS[kind]; place += name === 'stall' ? 4 : 1) {
          await sim.reset();
          await sim.inject({ ...fault, after_events: place });
          let got;
          try {
            got = await read(client(weir));
          } catch (error) {
            assert.ok(!(error instanceof assert.AssertionError), error);
            raised += 1;
            continue;
          }
          assert.deepEqual(got, expected, `after ${place} events: half an answer, and no exception`);
        }
        assert.ok(raised > 0, 'nothing was ever raised');
      }));
    }
  });

  describe(`${kind}: nothing under a 200 is an exception with a true status`, () => {
    for (const [name, fault] of Object.entries(NOTHING)) {
      test(name, World.with(async (world) => {
        const { sim, weir } = await world.one(FAST, { idle_timeout: '500ms', first_token_timeout: '500ms' });
        await sim.inject(fault);
        await assert.rejects(read(client(weir)), (error) => error.status >= 500);
      }));
    }
  });
}
