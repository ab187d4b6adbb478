"""Starting, reloading and ending the gateway while an app is using it."""

import asyncio
import signal
import subprocess
import time

import openai
import pytest

import harness
from conftest import async_client, client
from harness import NO_CACHE, QUICK, until, upstream

ASK = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}


def test_sigterm_during_50_streams_loses_none_of_them(world):
    sim, weir = world.one()
    messages = [{"role": "user", "content": "[sim:tokens=60][sim:event-ms=30] a long one"}]

    async def read(through):
        stream = await through.chat.completions.create(model="gpt-4o", messages=messages, stream=True)
        chunks = [chunk async for chunk in stream]
        return chunks[-1].choices[0].finish_reason, len(chunks)

    async def run():
        async with async_client(weir) as through:
            tasks = [asyncio.ensure_future(read(through)) for _ in range(50)]
            while sim.stats()["open_streams"] < 50:
                await asyncio.sleep(0.02)
            weir.signal(signal.SIGTERM)
            return await asyncio.gather(*tasks)

    ends = asyncio.run(run())
    assert {reason for reason, _ in ends} <= {"stop", "length"} and len({count for _, count in ends}) == 1
    until(lambda: not weir.running(), within=10, what="the end of weir")
    assert weir.stop() == 0
    with pytest.raises(openai.APIConnectionError):
        client(weir).chat.completions.create(**ASK)


def test_a_reload_moves_new_calls_and_leaves_running_ones_alone(world):
    first, second = world.sim("first"), world.sim("second")
    weir = world.weir(upstream(first, "first") + QUICK + NO_CACHE)
    through = client(weir)
    messages = [{"role": "user", "content": "[sim:tokens=60][sim:event-ms=30] a long one"}]
    running = iter(through.chat.completions.create(model="gpt-4o", messages=messages, stream=True))
    next(running)

    weir.reload(upstream(second, "second") + QUICK + NO_CACHE)
    until(lambda: asked_of(through) == "second", within=10, what="the new configuration")
    assert list(running)[-1].choices[0].finish_reason in ("stop", "length")

    # One with mistakes changes nothing, and says so (twice, when the file was seen to change before the signal came).
    weir.reload("[retri]\nbase = 3\n")
    until(lambda: weir.metric("weir_config_reloads_total", result="refused") >= 1, what="the refused reload")
    assert asked_of(through) == "second"


def asked_of(through):
    return through.chat.completions.with_raw_response.create(**ASK).headers["x-weir-upstream"]


def test_weir_is_ready_in_a_moment(world):
    """A debug build on a busy machine; the true figure is the bench's."""
    sim = world.sim()
    started = time.monotonic()
    world.weir(upstream(sim))
    assert time.monotonic() - started < 3


def test_the_gateways_own_health_check_knows_it(world):
    _, weir = world.one()
    address = weir.url.removeprefix("http://")

    def health():
        return subprocess.run([harness.BINARY, "health", "--address", address], capture_output=True).returncode

    assert health() == 0
    for url in (weir.admin + "/healthz", weir.admin + "/readyz", weir.url + "/healthz"):
        assert harness.request(url)
    weir.stop()
    assert health() == 1
