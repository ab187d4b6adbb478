"""Everything is down: the providers are spared, and every app has its error in time. The SDK's own two retries are on."""

import asyncio
import time

import openai
import pytest

from conftest import async_client
from harness import NO_CACHE

CALLS = 60
TIMEOUT = 4.0
ASK = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
OUTAGES = {
    "503": ({"status": 503}, openai.InternalServerError),
    "reset": ({"kind": "reset"}, openai.InternalServerError),
    "page": ({"kind": "html"}, openai.InternalServerError),
    "empty": ({"kind": "empty"}, openai.InternalServerError),
    "hang": ({"kind": "hang"}, openai.InternalServerError),
    "out of credit": ({"error": "openai-insufficient-quota"}, openai.RateLimitError),
    "never-ending limit": (
        {"status": 429, "code": "rate_limit_exceeded", "headers": {"retry-after": "2"}},
        openai.RateLimitError,
    ),
}


async def all_of(weir, stream):
    """What each call raised and how long it took, all its retries included."""
    ended = []

    async def one(c):
        began = time.monotonic()
        try:
            answer = await c.chat.completions.create(**ASK, stream=stream)
            if stream:
                [chunk async for chunk in answer]
            ended.append((None, 0.0))
        except openai.OpenAIError as error:
            ended.append((error, time.monotonic() - began))

    async with async_client(weir, timeout=TIMEOUT, max_retries=2) as through:
        calls = []
        for _ in range(CALLS):
            calls.append(asyncio.ensure_future(one(through)))
            await asyncio.sleep(0.03)
        await asyncio.gather(*calls)
    return ended


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", OUTAGES)
def test_a_provider_that_is_down_gets_at_most_a_fifth_more_calls_than_apps_made(name, stream, world):
    fault, kind = OUTAGES[name]
    first, second, weir = world.two(NO_CACHE + '[breaker]\nopen_for = "1s"\nopen_for_max = "1s"\n')
    first.inject(fault)
    second.inject(fault)
    ended = asyncio.run(all_of(weir, stream))
    assert len(ended) == CALLS
    for error, took in ended:
        # A 504 of weir's own where the provider says nothing: never the SDK's time-out.
        assert isinstance(error, kind), repr(error)
        # An SDK's retry after a silence, or after the wait that a limit told, begins its time-out anew.
        anew = 3 if name in ("hang", "never-ending limit") else 1
        assert took < TIMEOUT * anew, f"{took:.1f} s: {error!r}"
    got = [sim.stats()["requests"] for sim in (first, second)]
    assert all(n <= 1.2 * CALLS for n in got), f"{got} upstream calls for {CALLS} calls"
