// The SDK sees the same through weir as without it: every case runs at the simulator and through the gateway.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import { OLD, World, client, sdk, zod } from './harness.mjs';

const { toFile } = sdk;
const ASK = [{ role: 'user', content: 'Say something — with ümlauts, 漢字 and \u{1f30a}.' }];
const WEATHER = {
  type: 'object',
  properties: { city: { type: 'string' }, unit: { type: 'string', enum: ['celsius', 'fahrenheit'] } },
  required: ['city', 'unit'],
  additionalProperties: false,
};
const Event = z.object({ name: z.string(), participants: z.array(z.string()), year: z.number() });
const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==',
  'base64',
);

/** What an app can see of an answer: no hidden members, no functions. */
const plain = (value) => JSON.parse(JSON.stringify(value));

async function all(iterable) {
  const items = [];
  for await (const item of await iterable) items.push(plain(item));
  return items;
}

// `.parse` and `.stream` were under `beta` in older majors.
const chats = (c) => (OLD ? c.beta.chat.completions : c.chat.completions);

const CASES = {
  async chat(c) {
    const answer = await c.chat.completions.create({ model: 'gpt-4o-mini', messages: ASK });
    assert.equal(answer.choices[0].finish_reason, 'stop');
    assert.ok(answer.choices[0].message.content && answer.usage.total_tokens > 0);
    return answer;
  },

  async 'chat with unknown fields'(c) {
    const messages = [{ role: 'user', content: '[sim:echo] as you received it' }];
    const answer = await c.chat.completions.create({ model: 'gpt-4o', messages, brand_new: { deep: [1, 2.5, null] } });
    assert.match(answer.choices[0].message.content, /sha256=/);
    return answer;
  },

  async 'chat stream'(c) {
    const options = { include_usage: true };
    const chunks = await all(c.chat.completions.create({ model: 'gpt-4o', messages: ASK, stream: true, stream_options: options }));
    assert.ok(chunks.length > 10 && chunks.at(-1).usage.completion_tokens > 0);
    return chunks;
  },

  async 'chat stream helper'(c) {
    const stream = chats(c).stream({ model: 'gpt-4o', messages: ASK });
    const pieces = [];
    stream.on('content', (delta) => pieces.push(delta));
    const final = await stream.finalChatCompletion();
    assert.equal(pieces.join(''), final.choices[0].message.content);
    return [pieces, final];
  },

  async 'chat tools, there and back'(c) {
    const tools = [{ type: 'function', function: { name: 'get_weather', parameters: WEATHER } }];
    const messages = [{ role: 'user', content: 'What is the weather in Graz, in celsius?' }];
    const first = await c.chat.completions.create({ model: 'gpt-4o', messages, tools });
    const [call] = first.choices[0].message.tool_calls;
    assert.equal(JSON.parse(call.function.arguments).unit, 'celsius');
    messages.push(first.choices[0].message, { role: 'tool', tool_call_id: call.id, content: '21 degrees' });
    const second = await c.chat.completions.create({ model: 'gpt-4o', messages, tools });
    assert.equal(second.choices[0].finish_reason, 'stop');
    return [first, second];
  },

  async 'chat tools run by the helper'(c) {
    const asked = [];
    const tool = {
      type: 'function',
      function: {
        name: 'get_weather',
        parameters: WEATHER,
        parse: JSON.parse,
        function: (where) => (asked.push(where), '21 degrees'),
      },
    };
    const runner = chats(c).runTools({ model: 'gpt-4o', messages: [{ role: 'user', content: 'Weather in Graz?' }], tools: [tool] });
    const text = await runner.finalContent();
    assert.equal(asked.length, 1);
    return [asked, text];
  },

  async 'chat structured output'(c) {
    const format = zod.zodResponseFormat(Event, 'event');
    const answer = await chats(c).parse({ model: 'gpt-4o', messages: ASK, response_format: format });
    assert.ok(Event.safeParse(answer.choices[0].message.parsed).success);
    return answer;
  },

  async response(c) {
    const answer = await c.responses.create({ model: 'gpt-4.1', input: 'Say something.' });
    assert.ok(answer.status === 'completed' && answer.output_text);
    return answer;
  },

  async 'response is kept'(c) {
    const made = await c.responses.create({ model: 'gpt-4.1', input: 'Remember this.' });
    const found = await c.responses.retrieve(made.id);
    assert.equal(found.id, made.id);
    const del = c.responses.delete ?? c.responses.del;
    await del.call(c.responses, made.id);
    await assert.rejects(c.responses.retrieve(made.id), sdk.NotFoundError);
    return found;
  },

  async 'response stream'(c) {
    const events = await all(c.responses.create({ model: 'gpt-4.1', input: 'Say something.', stream: true }));
    assert.deepEqual([events[0].type, events.at(-1).type], ['response.created', 'response.completed']);
    return events;
  },

  async 'response stream helper'(c) {
    const stream = c.responses.stream({ model: 'gpt-4.1', input: 'Say something.' });
    const types = [];
    for await (const event of stream) types.push(event.type);
    assert.ok(types.includes('response.output_text.delta'));
    return [types, await stream.finalResponse()];
  },

  async 'response tools'(c) {
    const tools = [{ type: 'function', name: 'get_weather', parameters: WEATHER, strict: true }];
    const answer = await c.responses.create({ model: 'gpt-4.1', input: 'Weather in Graz, in celsius?', tools });
    const call = answer.output.at(-1);
    assert.equal(JSON.parse(call.arguments).unit, 'celsius');
    const input = [
      { role: 'user', content: 'Weather?' },
      { type: 'function_call', call_id: call.call_id, name: call.name, arguments: call.arguments },
      { type: 'function_call_output', call_id: call.call_id, output: '21 degrees' },
    ];
    return [answer, await c.responses.create({ model: 'gpt-4.1', input, tools })];
  },

  async 'response structured output'(c) {
    const text = { format: zod.zodTextFormat(Event, 'event') };
    const answer = await c.responses.parse({ model: 'gpt-4.1', input: 'An event, please.', text });
    assert.ok(Event.safeParse(answer.output_parsed).success);
    return answer;
  },

  async embeddings(c) {
    const model = 'text-embedding-3-small';
    const byDefault = await c.embeddings.create({ model, input: ['a', 'b'], dimensions: 256 });
    const float = await c.embeddings.create({ model, input: 'a', dimensions: 256, encoding_format: 'float' });
    const base64 = await c.embeddings.create({ model, input: 'a', dimensions: 256, encoding_format: 'base64' });
    assert.ok(byDefault.data.length === 2 && float.data[0].embedding.length === 256);
    return [byDefault, float, base64];
  },

  async 'files and batches'(c) {
    const body = { model: 'gpt-4o-mini', messages: ASK };
    const line = JSON.stringify({ custom_id: 'one', method: 'POST', url: '/v1/chat/completions', body });
    const file = await c.files.create({ file: await toFile(Buffer.from(line), 'batch.jsonl'), purpose: 'batch' });
    assert.equal(await (await c.files.content(file.id)).text(), line);
    assert.ok((await all(c.files.list())).some((one) => one.id === file.id));
    let batch = await c.batches.create({ input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' });
    for (let look = 0; look < 5 && batch.status !== 'completed'; look++) batch = await c.batches.retrieve(batch.id);
    assert.equal(batch.status, 'completed');
    const output = JSON.parse(await (await c.files.content(batch.output_file_id)).text());
    const del = c.files.delete ?? c.files.del;
    assert.ok((await del.call(c.files, file.id)).deleted);
    return output.response.body.choices;
  },

  async images(c) {
    const made = await c.images.generate({ model: 'gpt-image-1', prompt: 'a weir' });
    const image = await toFile(PNG, 'in.png', { type: 'image/png' });
    const edited = await c.images.edit({ model: 'gpt-image-1', image, prompt: 'more water' });
    assert.ok(made.data[0].b64_json && edited.data[0].b64_json);
    return [made, edited];
  },

  async transcription(c) {
    const sound = () => toFile(Buffer.alloc(300_000, 7), 'speech.wav', { type: 'audio/wav' });
    const answer = await c.audio.transcriptions.create({ file: await sound(), model: 'whisper-1' });
    const text = await c.audio.transcriptions.create({ file: await sound(), model: 'whisper-1', response_format: 'text' });
    const events = await all(c.audio.transcriptions.create({ file: await sound(), model: 'gpt-4o-mini-transcribe', stream: true }));
    assert.ok(answer.text && events.at(-1).type === 'transcript.text.done');
    return [answer, text, events];
  },

  async speech(c) {
    const input = 'Water flows over the weir. '.repeat(20);
    const answer = await c.audio.speech.create({ model: 'gpt-4o-mini-tts', voice: 'alloy', input });
    const sound = Buffer.from(await answer.arrayBuffer());
    assert.ok(sound.length > 1000);
    return sound.toString('base64');
  },

  async moderations(c) {
    const bad = await c.moderations.create({ input: '[sim:flag] a bad word' });
    assert.ok(bad.results[0].flagged);
    return [bad, await c.moderations.create({ input: 'a kind word' })];
  },

  async models(c) {
    const listed = await all(c.models.list());
    assert.ok(listed.some((model) => model.id === 'gpt-4o'));
    return [listed, await c.models.retrieve('gpt-4o')];
  },
};

describe('through weir the SDK gets what it gets without', () => {
  // One world for all cases: none of them breaks anything.
  const world = new World();
  let sim, weir;
  before(async () => ({ sim, weir } = await world.one()));
  after(() => world.end());

  for (const [name, run] of Object.entries(CASES)) {
    test(name, async () => {
      const expected = plain(await run(client(sim)));
      assert.deepEqual(plain(await run(client(weir))), expected);
    });
  }

  test('raw responses carry what weir adds', async () => {
    const { response } = await client(weir).chat.completions.create({ model: 'gpt-4o', messages: ASK }).withResponse();
    assert.equal(response.headers.get('x-weir-upstream'), 'first');
    assert.equal(response.headers.get('x-weir-attempts'), '1');
    assert.ok(response.headers.get('x-weir-request-id') && response.headers.get('x-request-id'));
  });
});
