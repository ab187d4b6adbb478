"""The SDK sees the same through weir as without it: every case runs at the simulator and through the gateway."""

import asyncio
import base64
import io
import json

import openai
import pydantic
import pytest

from conftest import async_client

CASES = []
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==")
ASK = [{"role": "user", "content": "Say something — with ümlauts, 漢字 and \U0001f30a."}]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}


class Event(pydantic.BaseModel):
    name: str
    participants: list[str]
    year: int


def case(function):
    CASES.append(function)
    return function


def dumped(items):
    return [item.model_dump() for item in items]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_through_weir_the_sdk_gets_what_it_gets_without(case, direct, through):
    expected = case(direct)
    assert expected not in (None, [], {}), "the case tells nothing"
    assert case(through) == expected


# === chat ===


@case
def chat(client):
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
    assert answer.choices[0].finish_reason == "stop" and answer.choices[0].message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    return answer.model_dump()


@case
def chat_with_unknown_fields_and_headers(client):
    answer = client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "[sim:echo] as you received it"}],
        extra_body={"brand_new": {"deep": [1, 2.50, None, "é"]}},
        extra_headers={"x-mine": "yes"},
        metadata={"a": "b"},
    )
    assert "sha256=" in answer.choices[0].message.content
    return answer.model_dump()


@case
def chat_of_several_choices(client):
    answer = client.chat.completions.create(model="gpt-4o", messages=ASK, n=3, max_tokens=50)
    assert len(answer.choices) == 3
    return answer.model_dump()


@case
def chat_stream(client):
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=ASK, stream=True))
    assert chunks[-1].choices[0].finish_reason == "stop" and len(chunks) > 10
    return dumped(chunks)


@case
def chat_stream_with_usage(client):
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].usage.completion_tokens > 0 and not chunks[-1].choices
    return dumped(chunks)


@case
def chat_stream_helper(client):
    with chats(client).stream(model="gpt-4o", messages=ASK) as stream:
        types = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "content.delta" in types and types[-1] in ("content.done", "chunk")
    return types, final.model_dump()


@case
def chat_tools_round_trip(client):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}]
    messages = [{"role": "user", "content": "What is the weather in Graz, in celsius?"}]
    first = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools)
    call = first.choices[0].message.tool_calls[0]
    assert first.choices[0].finish_reason == "tool_calls" and call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["unit"] == "celsius"
    messages += [
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"},
    ]
    second = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools)
    assert second.choices[0].finish_reason == "stop"
    return first.model_dump(), second.model_dump()


@case
def chat_tools_stream(client):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}]
    messages = [{"role": "user", "content": "[sim:calls=2] The weather in Graz and in Linz?"}]
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools, stream=True))
    assert {call.index for chunk in chunks for c in chunk.choices for call in c.delta.tool_calls or []} == {0, 1}
    return dumped(chunks)


def chats(client):
    """`.parse` and `.stream` were under `beta` in older majors."""
    return client.chat.completions if hasattr(client.chat.completions, "parse") else client.beta.chat.completions


@case
def chat_structured_output(client):
    answer = chats(client).parse(model="gpt-4o", messages=ASK, response_format=Event)
    assert isinstance(answer.choices[0].message.parsed, Event)
    return answer.model_dump()


@case
def legacy_completion(client):
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once")
    chunks = list(client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once", stream=True))
    assert answer.choices[0].text and len(chunks) > 3
    return answer.model_dump(), dumped(chunks)


# === responses ===


@case
def response(client):
    answer = client.responses.create(model="gpt-4.1", input="Say something.")
    assert answer.status == "completed" and answer.output_text
    return answer.model_dump()


@case
def response_is_kept(client):
    made = client.responses.create(model="gpt-4.1", input="Remember this.")
    found = client.responses.retrieve(made.id)
    assert found.id == made.id and found.output_text == made.output_text
    again = client.responses.create(model="gpt-4.1", input="And?", previous_response_id=made.id)
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    return found.model_dump(), again.model_dump()


@case
def response_stream(client):
    events = list(client.responses.create(model="gpt-4.1", input="Say something.", stream=True))
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    return dumped(events)


@case
def response_stream_helper(client):
    with client.responses.stream(model="gpt-4.1", input="Say something.") as stream:
        types = [event.type for event in stream]
        final = stream.get_final_response()
    assert "response.output_text.delta" in types
    return types, final.model_dump()


@case
def response_tools(client):
    tools = [{"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": True}]
    answer = client.responses.create(model="gpt-4.1", input="Weather in Graz, in celsius?", tools=tools)
    call = answer.output[-1]
    assert call.type == "function_call" and json.loads(call.arguments)["unit"] == "celsius"
    items = [
        {"role": "user", "content": "Weather?"},
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"},
    ]
    after = client.responses.create(model="gpt-4.1", input=items, tools=tools)
    assert after.output_text
    return answer.model_dump(), after.model_dump()


@case
def response_structured_output(client):
    answer = client.responses.parse(model="gpt-4.1", input="An event, please.", text_format=Event)
    assert isinstance(answer.output_parsed, Event)
    return answer.model_dump()


# === the rest ===


@case
def embeddings_as_floats(client):
    answer = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], encoding_format="float")
    assert len(answer.data) == 2 and len(answer.data[0].embedding) == 1536
    return answer.model_dump()


@case
def embeddings_as_base64(client):
    by_default = client.embeddings.create(model="text-embedding-3-small", input="a", dimensions=256)
    raw = client.embeddings.create(model="text-embedding-3-small", input="a", dimensions=256, encoding_format="base64")
    assert len(by_default.data[0].embedding) == 256 and isinstance(raw.data[0].embedding, str)
    return by_default.model_dump(), raw.model_dump()


@case
def files(client):
    made = client.files.create(file=("some.jsonl", b'{"a": 1}\n' * 1000), purpose="batch")
    listed = [file.id for file in client.files.list()]
    content = client.files.content(made.id).read()
    gone = client.files.delete(made.id)
    assert made.id in listed and content == b'{"a": 1}\n' * 1000 and gone.deleted
    assert made.id not in [file.id for file in client.files.list()]
    return made.model_dump(exclude={"id", "created_at", "expires_at"}), len(content)


@case
def batches(client):
    body = {"model": "gpt-4o-mini", "messages": ASK}
    line = {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": body}
    file = client.files.create(file=("batch.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    for _ in range(5):
        batch = client.batches.retrieve(batch.id)
        if batch.status == "completed":
            break
    assert batch.status == "completed" and batch.id in [one.id for one in client.batches.list()]
    output = json.loads(client.files.content(batch.output_file_id).text.splitlines()[0])
    assert output["custom_id"] == "one" and output["response"]["status_code"] == 200
    return output["response"]["body"]["choices"]


@case
def images(client):
    made = client.images.generate(model="gpt-image-1", prompt="a weir")
    edited = client.images.edit(model="gpt-image-1", image=("in.png", PNG, "image/png"), prompt="more water")
    assert base64.b64decode(made.data[0].b64_json).startswith(b"\x89PNG") and edited.data[0].b64_json
    return made.model_dump(), edited.model_dump()


@case
def transcription(client):
    sound = ("speech.wav", io.BytesIO(b"RIFF" + bytes(40_000)), "audio/wav")
    answer = client.audio.transcriptions.create(file=sound, model="whisper-1")
    assert answer.text
    return answer.model_dump()


@case
def transcription_as_text_and_translation(client):
    def sound():
        return ("speech.wav", b"RIFF" + bytes(300_000), "audio/wav")

    text = client.audio.transcriptions.create(file=sound(), model="whisper-1", response_format="text")
    translated = client.audio.translations.create(file=sound(), model="whisper-1")
    assert isinstance(text, str) and translated.text
    return text, translated.model_dump()


@case
def transcription_stream(client):
    sound = ("speech.wav", b"RIFF" + bytes(40_000), "audio/wav")
    events = list(client.audio.transcriptions.create(file=sound, model="gpt-4o-mini-transcribe", stream=True))
    assert events[-1].type == "transcript.text.done"
    return dumped(events)


@case
def speech(client):
    asked = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Water flows over the weir. " * 20}
    with client.audio.speech.with_streaming_response.create(**asked) as answer:
        pieces = list(answer.iter_bytes(1024))
    whole = client.audio.speech.create(**asked).read()
    assert len(pieces) > 2 and b"".join(pieces) == whole
    return whole


@case
def moderations(client):
    good = client.moderations.create(input="a kind word")
    bad = client.moderations.create(input="[sim:flag] a bad word")
    assert not good.results[0].flagged and bad.results[0].flagged
    return good.model_dump(), bad.model_dump()


@case
def models(client):
    listed = [model.model_dump() for model in client.models.list()]
    assert "gpt-4o" in [model["id"] for model in listed]
    return listed, client.models.retrieve("gpt-4o").model_dump()


@case
def a_large_prompt(client):
    text = "[sim:echo]" + "Zeile für Zeile ≈ \\ \" \u2028\n" * 100_000
    answer = client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": text}])
    assert "bytes=3" in answer.choices[0].message.content or "bytes=4" in answer.choices[0].message.content
    return answer.model_dump()


@case
def raw_response_headers(client):
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=ASK)
    assert raw.parse().choices
    varies = ("date", "x-request-id", "openai-processing-ms", "content-length", "connection", "transfer-encoding")
    # weir frames the body and says more; what the provider said is all there, under its own names.
    return {
        name.lower(): value
        for name, value in raw.headers.items()
        if name.lower() not in varies and not name.lower().startswith(("x-weir-", "x-ratelimit-"))
    } | {"limits": sorted(name.lower() for name in raw.headers if name.lower().startswith("x-ratelimit-"))}


# === async ===


async def _async_tour(where):
    async with async_client(where) as client:
        whole = await client.chat.completions.create(model="gpt-4o", messages=ASK)
        stream = await client.chat.completions.create(model="gpt-4o", messages=ASK, stream=True)
        chunks = [chunk async for chunk in stream]
        events = [
            event async for event in await client.responses.create(model="gpt-4.1", input="Hello", stream=True)
        ]
        vectors = await client.embeddings.create(model="text-embedding-3-small", input="a")
        names = [model.id async for model in client.models.list()]
        return whole.model_dump(), dumped(chunks), dumped(events), vectors.model_dump(), names


def test_the_async_client_gets_what_it_gets_without(shared):
    sim, weir = shared
    expected = asyncio.run(_async_tour(sim))
    assert asyncio.run(_async_tour(weir)) == expected
