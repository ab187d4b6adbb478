"""Errors raise what they raise without weir: same class, same status, code, parameter, body."""

import asyncio
import json
import subprocess
import time

import openai
import pytest

from conftest import async_client, client
from harness import BINARY, NO_CACHE, until

ASK = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}


def chat(client, **more):
    return client.chat.completions.create(**{**ASK, **more})


def raised(client, call=chat):
    with pytest.raises(openai.APIError) as caught:
        call(client)
    return caught.value


def told(error):
    """What an app can ask of an exception. The provider's request id differs from call to call."""
    words = ("status_code", "code", "param", "type", "body", "message")
    return type(error).__name__, {word: getattr(error, word, None) for word in words}


# === the caller's own mistakes: the simulator refuses them by itself ===

MISTAKES = {
    "wrong key": (openai.AuthenticationError, "sk-invalid-1", chat),
    "no such model": (openai.NotFoundError, "sk-a", lambda c: chat(c, model="gpt-99")),
    "no messages": (openai.BadRequestError, "sk-a", lambda c: chat(c, messages=None)),
    "wrong type": (openai.BadRequestError, "sk-a", lambda c: chat(c, temperature="hot")),
    "out of range": (openai.BadRequestError, "sk-a", lambda c: chat(c, temperature=9)),
    "no such file": (openai.NotFoundError, "sk-a", lambda c: c.files.retrieve("file-none")),
    "no such response": (openai.NotFoundError, "sk-a", lambda c: c.responses.retrieve("resp_none")),
    "no such path": (openai.NotFoundError, "sk-a", lambda c: c.post("/nothing/here", body={}, cast_to=object)),
    "bad stream": (openai.BadRequestError, "sk-a", lambda c: chat(c, stream=True, temperature=9)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_callers_mistake_raises_as_without_weir(name, shared):
    kind, key, call = MISTAKES[name]
    sim, weir = shared
    expected = told(raised(client(sim, key), call))
    assert expected[0] == kind.__name__
    assert told(raised(client(weir, key), call)) == expected


def test_a_callers_mistake_costs_one_attempt(world):
    sim, weir = world.one()
    for _ in range(10):
        raised(client(weir, max_retries=2), lambda c: chat(c, temperature=9))
    assert sim.stats()["requests"] == 10


# === the provider's refusals, as recorded ===

FAULTS = {
    "401": ({"status": 401}, openai.AuthenticationError),
    "403": ({"status": 403, "code": "unsupported_country_region_territory"}, openai.PermissionDeniedError),
    "404": ({"status": 404}, openai.NotFoundError),
    "409": ({"status": 409}, openai.ConflictError),
    "422": ({"status": 422}, openai.UnprocessableEntityError),
    "429 minute": (
        {"status": 429, "code": "rate_limit_exceeded", "headers": {"retry-after": "600"}},
        openai.RateLimitError,
    ),
    "500": ({"status": 500}, openai.InternalServerError),
    "503": ({"status": 503}, openai.InternalServerError),
    "502 page": ({"kind": "html"}, openai.InternalServerError),
    "unknown code": ({"status": 400, "code": "brand_new_code", "message": "Never seen."}, openai.BadRequestError),
    "not OpenAI's shape": (
        {"status": 400, "body": '{"detail": [{"loc": ["body"]}]}'},
        openai.BadRequestError,
    ),
    "no JSON": ({"status": 500, "body": "upstream said no", "content_type": "text/plain"}, openai.InternalServerError),
    "out of credit": ({"error": "openai-insufficient-quota"}, openai.RateLimitError),
}
ONE_ATTEMPT = '[retry]\nmax_attempts = 1\nmax_wait = "0s"\n'


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_providers_refusal_raises_as_without_weir(name, stream, world):
    fault, kind = FAULTS[name]
    sim, weir = world.one()
    sim.inject(fault)
    expected = told(raised(client(sim), lambda c: chat(c, stream=stream)))
    assert expected[0] == kind.__name__
    assert told(raised(client(weir), lambda c: chat(c, stream=stream))) == expected


def recorded():
    """The ids of OpenAI's recorded refusals."""
    lines = subprocess.run([BINARY, "simulate", "--list-faults", "--json"], stdout=subprocess.PIPE, check=True).stdout
    rows = [json.loads(line) for line in lines.splitlines()]
    return [r["id"] for r in rows if r["provider"] == "openai" and r["status"] >= 400 and not r["transport"]]


@pytest.mark.parametrize("row", recorded())
def test_a_recorded_refusal_raises_as_without_weir(row, world):
    sim, weir = world.one(ONE_ATTEMPT + NO_CACHE)
    sim.inject({"error": row})
    assert told(raised(client(weir))) == told(raised(client(sim)))


def test_what_is_raised_says_which_call_and_why(world):
    sim, weir = world.one()
    sim.inject({"error": "openai-insufficient-quota"})
    error = raised(client(weir))
    headers = error.response.headers
    assert headers["x-weir-class"] == "quota_exhausted", dict(headers)
    assert headers["x-should-retry"] == "false"
    assert headers["x-weir-request-id"] and headers["x-weir-upstream"] == "first"
    assert headers["x-weir-advice"]


# === no answer ===


# As for an SDK that does not tell its own time-out: weir cannot answer just before it.
UNTOLD = {"x-stainless-read-timeout": "60"}


def test_a_callers_time_out_raises_as_without_weir_and_ends_the_call(world):
    sim, weir = world.one()
    sim.inject({"kind": "hang"})
    for where in (sim, weir):
        started = time.monotonic()
        assert type(raised(client(where, timeout=0.6), lambda c: chat(c, extra_headers=UNTOLD))) is openai.APITimeoutError
        assert time.monotonic() - started < 3
        sim.idle()
    assert (sim.stats()["requests"], sim.stats()["disconnects"]) == (2, 2)


def test_weir_answers_before_the_time_out_that_the_sdk_tells(world):
    """The one difference: where the SDK says how long it waits, weir says in time what it was waiting for."""
    sim, weir = world.one()
    sim.inject({"kind": "hang"})
    started = time.monotonic()
    error = raised(client(weir, timeout=1.0))
    assert time.monotonic() - started < 1.5
    assert (error.status_code, error.type) == (504, "weir_error")
    sim.idle()
    assert sim.stats()["requests"] == 1


def test_a_time_out_of_one_call_is_obeyed(world):
    sim, weir = world.one()
    sim.inject({"kind": "delay", "delay": "400ms"})
    through = client(weir, timeout=0.1)
    raised(through)
    assert chat(through.with_options(timeout=10)).choices


def test_a_gateway_that_is_gone_is_a_connection_error(world):
    _, weir = world.one()
    weir.stop()
    assert type(raised(client(weir))) is openai.APIConnectionError


def test_a_provider_that_is_gone_is_a_server_error_of_weirs_own(world):
    sim, weir = world.one()
    sim.stop()
    error = raised(client(weir))
    assert isinstance(error, openai.InternalServerError) and error.type == "weir_error"
    assert error.code == error.response.headers["x-weir-class"]


@pytest.mark.parametrize("kind", ["reset", "empty", "html-200", "truncate"])
def test_an_answer_that_is_none_is_never_handed_on_as_one(kind, world):
    sim, weir = world.one()
    sim.inject({"kind": kind})
    error = raised(client(weir))
    assert isinstance(error, (openai.InternalServerError, openai.APIConnectionError)), told(error)


# === cancellation ===


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_closing_a_stream_ends_the_upstream_call(endpoint, world):
    sim, weir = world.one()
    text = "[sim:tokens=5000][sim:event-ms=20] a long one"
    with client(weir) as through:
        if endpoint == "chat":
            stream = chat(through, messages=[{"role": "user", "content": text}], stream=True)
        else:
            stream = through.responses.create(model="gpt-4.1", input=text, stream=True)
        for _ in range(8):
            next(iter(stream))
        assert sim.stats()["in_flight"] == 1
        stream.close()
        sim.idle()
        assert sim.stats()["disconnects"] == 1
    until(lambda: weir.metric("weir_inflight") == 0, what="no call in flight in weir")


def test_a_cancelled_task_ends_the_upstream_call(world):
    sim, weir = world.one()
    sim.inject({"kind": "hang"})

    async def leave():
        async with async_client(weir) as through:
            task = asyncio.create_task(through.chat.completions.create(**ASK))
            while sim.stats()["in_flight"] == 0:
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(leave())
    sim.idle()
    assert sim.stats()["requests"] == 1
