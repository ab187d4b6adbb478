"""Faults at the provider, seen through the SDK: hidden where they can be, never hidden where they must not be."""

import asyncio
import time

import openai
import pytest

from conftest import async_client, client
from harness import NO_CACHE, QUICK, until

MESSAGES = [{"role": "user", "content": "[sim:tokens=40] Tell me."}]
ASK = {"model": "gpt-4o", "messages": MESSAGES}

# === ways to read a stream; each gives the text, and raises when the stream is not whole ===


def chat_iterated(c):
    chunks = list(c.chat.completions.create(**ASK, stream=True))
    assert chunks[-1].choices[0].finish_reason, "an unfinished stream ended without an exception"
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def chat_helper(c):
    namespace = c.chat.completions if hasattr(c.chat.completions, "stream") else c.beta.chat.completions
    with namespace.stream(**ASK) as stream:
        return stream.get_final_completion().choices[0].message.content


def chat_async(c):
    async def read():
        async with openai.AsyncOpenAI(base_url=c.base_url, api_key=c.api_key, max_retries=c.max_retries) as a:
            stream = await a.chat.completions.create(**ASK, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    return asyncio.run(read())


def responses_iterated(c):
    events = list(c.responses.create(model="gpt-4.1", input="[sim:tokens=40] Tell me.", stream=True))
    assert events[-1].type == "response.completed", "an unfinished stream ended without an exception"
    return events[-1].response.output_text


def responses_helper(c):
    with c.responses.stream(model="gpt-4.1", input="[sim:tokens=40] Tell me.") as stream:
        return stream.get_final_response().output_text


READERS = [chat_iterated, chat_helper, chat_async, responses_iterated, responses_helper]
readers = pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)

# Past the preface of either kind (one role chunk; four lifecycle events).
BROKEN = {
    "cut": {"kind": "cut", "after_events": 12},
    "cut in an event": {"kind": "cut", "after_events": 12, "mid_event": True},
    "drop": {"kind": "drop", "after_events": 12},
    "drop in an event": {"kind": "drop", "after_events": 12, "mid_event": True},
    "reset": {"kind": "reset", "after_events": 12},
    "stall": {"kind": "stall", "after_events": 12},
    "error event": {"kind": "error-event", "after_events": 12, "code": "server_error", "message": "Broken inside."},
}


@readers
@pytest.mark.parametrize("name", BROKEN)
def test_a_stream_that_breaks_raises_and_is_never_a_whole_answer(name, read, world):
    first, second, weir = world.two(idle_timeout="1s")
    first.inject(BROKEN[name])
    with pytest.raises(openai.APIError) as caught:
        read(client(weir))
    assert not isinstance(caught.value, openai.APIStatusError), "the head had gone out with 200"
    first.idle()
    # Content has gone out: nobody may continue it.
    assert (first.stats()["requests"], second.stats()["requests"]) == (1, 0)


@readers
def test_a_broken_stream_is_booked_as_a_failure(read, world):
    sim, weir = world.one()
    sim.inject({"kind": "cut", "after_events": 12})
    with pytest.raises(openai.APIError):
        read(client(weir))
    until(lambda: weir.metric("weir_streams_truncated_total") == 1, what="the metric of truncated streams")


def test_an_error_event_of_the_responses_api_reaches_the_app_and_then_raises_with_its_code(world):
    sim, weir = world.one()
    sim.inject(BROKEN["error event"])

    def events(where):
        seen = []
        stream = client(where).responses.create(model="gpt-4.1", input="[sim:tokens=40] Tell me.", stream=True)
        try:
            seen.extend(event.model_dump() for event in stream)
        except openai.APIError as error:
            return seen, error
        return seen, None

    # The SDK takes the documented error event for an event like any other, and ends as if the answer were whole.
    expected, silent = events(sim)
    assert expected[-1]["type"] == "error" and silent is None
    seen, raised = events(weir)
    assert seen == expected
    assert (raised.code, raised.message) == ("server_error", "Broken inside.")
    until(lambda: weir.metric("weir_streams_truncated_total") == 1, what="the metric of truncated streams")


def test_an_error_event_inside_a_stream_keeps_the_providers_code(world):
    sim, weir = world.one()
    sim.inject(BROKEN["error event"])
    with pytest.raises(openai.APIError) as direct:
        chat_iterated(client(sim))
    with pytest.raises(openai.APIError) as through:
        chat_iterated(client(weir))
    assert (through.value.code, through.value.message) == (direct.value.code, direct.value.message)
    assert through.value.body == direct.value.body


EARLY = {
    "503": {"status": 503},
    "500": {"status": 500},
    "reset": {"kind": "reset"},
    "reset after the head": {"kind": "reset", "after_events": 1},
    "hang": {"kind": "hang"},
    "empty stream": {"kind": "empty-stream"},
    "role only": {"kind": "role-only"},
    "comments only": {"kind": "comments-only", "gap": "100ms"},
    "stall before content": {"kind": "stall", "after_events": 1},
    "error event first": {"kind": "error-event", "after_events": 0},
    "page under 200": {"kind": "html-200"},
    "page": {"kind": "html"},
    "out of credit": {"error": "openai-insufficient-quota"},
    "hard limit": {"status": 400, "message": "Billing hard limit has been reached", "code": "billing_hard_limit_reached"},
    "overloaded": {"status": 503, "message": "The engine is currently overloaded, please try again later"},
}


@pytest.mark.parametrize("read", [chat_iterated, responses_helper], ids=lambda read: read.__name__)
@pytest.mark.parametrize("name", EARLY)
def test_a_stream_that_fails_before_its_content_is_answered_by_the_next_provider(name, read, world):
    first, second, weir = world.two(first_token_timeout="1s", idle_timeout="1s")
    whole = read(client(second))
    first.inject(EARLY[name])
    assert read(client(weir, timeout=20)) == whole
    assert second.stats()["requests"] == 2 and first.stats()["requests"] >= 1
    first.idle()


WHOLE = ["503", "500", "reset", "hang", "page under 200", "page", "out of credit", "hard limit", "overloaded"]


@pytest.mark.parametrize("name", WHOLE)
def test_a_call_that_fails_is_answered_by_the_next_provider(name, world):
    first, second, weir = world.two(first_token_timeout="1s")
    expected = client(second).chat.completions.create(**ASK).model_dump()
    first.inject(EARLY[name])
    raw = client(weir, timeout=20).chat.completions.with_raw_response.create(**ASK)
    assert raw.parse().model_dump() == expected
    assert raw.headers["x-weir-upstream"] == "second" and int(raw.headers["x-weir-attempts"]) >= 2
    # The log of an answered call tells why it moved.
    until(lambda: any('"first_failure":"' in line for line in weir.lines), what="the reason in the access log")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_bad_request_never_goes_to_the_next_provider(stream, world):
    first, second, weir = world.two()
    for _ in range(20):
        with pytest.raises(openai.BadRequestError):
            client(weir, max_retries=2).chat.completions.create(**ASK, temperature=9, stream=stream)
    assert (first.stats()["requests"], second.stats()["requests"]) == (20, 0)
    # And no circuit opened: a good call is served by the first.
    client(weir).chat.completions.create(**ASK)
    assert (first.stats()["requests"], second.stats()["requests"]) == (21, 0)


# === nothing is multiplied ===

HOPELESS = {
    "insufficient_quota": ({"error": "openai-insufficient-quota"}, openai.RateLimitError),
    "hard limit": (EARLY["hard limit"], openai.BadRequestError),
    "wrong key": ({"status": 401}, openai.AuthenticationError),
}


@pytest.mark.parametrize("name", HOPELESS)
def test_what_waiting_cannot_cure_costs_at_most_one_call_each(name, world):
    fault, kind = HOPELESS[name]
    sim, weir = world.one()
    sim.inject(fault)
    retrying = openai.OpenAI(base_url=weir.base_url, api_key="sk-a", timeout=20)  # the SDK's own two retries
    for calls in range(1, 11):
        with pytest.raises(kind):
            retrying.chat.completions.create(**ASK)
        assert sim.stats()["requests"] <= calls


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 500}, {"kind": "reset"}, {"kind": "html"}], ids=str)
def test_the_sdks_retries_do_not_multiply_weirs(fault, stream, world):
    sim, weir = world.one('[retry]\nmax_attempts = 3\nbase = "20ms"\nmax = "50ms"\n' + NO_CACHE)
    sim.inject(fault)
    with pytest.raises(openai.InternalServerError):
        client(weir, max_retries=2).chat.completions.create(**ASK, stream=stream)
    assert sim.stats()["requests"] <= 3


def test_a_passing_failure_is_repeated_unseen_by_an_sdk_that_never_retries(world):
    sim, weir = world.one()
    sim.inject({"status": 503, "times": 2})
    raw = client(weir).chat.completions.with_raw_response.create(**ASK)
    assert raw.parse().choices and raw.headers["x-weir-attempts"] == "3"
    assert sim.stats()["requests"] == 3


def test_a_provider_silent_for_the_callers_whole_time_out_is_asked_again_by_the_sdk_as_without_weir(world):
    sim, weir = world.one()
    for where in (sim, weir):
        sim.reset()
        sim.inject({"kind": "hang", "times": 1})
        assert client(where, timeout=2, max_retries=2).chat.completions.create(**ASK).choices
        assert sim.stats()["requests"] == 2


def test_a_told_wait_is_waited_inside(world):
    sim, weir = world.one()
    sim.inject({"status": 429, "code": "rate_limit_exceeded", "headers": {"retry-after-ms": "700"}, "times": 1})
    started = time.monotonic()
    raw = client(weir).chat.completions.with_raw_response.create(**ASK)
    took = time.monotonic() - started
    assert raw.parse().choices and 0.7 <= took < 5, took
    assert int(raw.headers["x-weir-wait-ms"]) >= 690
    first, second = sim.received()
    assert second["arrival_ms"] - first["arrival_ms"] >= 700


def test_a_told_wait_beyond_the_callers_patience_is_handed_back_at_once(world):
    sim, weir = world.one()
    sim.inject({"status": 429, "code": "rate_limit_exceeded", "headers": {"retry-after": "90"}})
    started = time.monotonic()
    with pytest.raises(openai.RateLimitError):
        client(weir, timeout=20).chat.completions.create(**ASK)
    assert time.monotonic() - started < 3 and sim.stats()["requests"] == 1


# === many at once ===


async def gather(weir, count, call, **more):
    async with async_client(weir, timeout=60, **more) as through:
        return await asyncio.gather(*(call(through, i) for i in range(count)), return_exceptions=True)


def test_200_calls_at_once_are_all_answered_with_their_own_answers(world):
    sim, weir = world.one()

    async def call(c, i):
        messages = [{"role": "user", "content": f"[sim:say=number {i}][sim:delay-ms=100]"}]
        if i % 2:
            answer = await c.chat.completions.create(model="gpt-4o", messages=messages)
            return answer.choices[0].message.content
        stream = await c.chat.completions.create(model="gpt-4o", messages=messages, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    answers = asyncio.run(gather(weir, 200, call))
    assert answers == [f"number {i}" for i in range(200)]
    assert sim.stats()["requests"] == 200
    until(lambda: weir.metric("weir_inflight") == 0, what="no call in flight in weir")


def test_500_identical_calls_at_once_make_one_upstream_call(world):
    sim, weir = world.one(QUICK)
    messages = [{"role": "user", "content": "[sim:delay-ms=1500] The same for all."}]

    async def call(c, i):
        return (await c.chat.completions.create(model="gpt-4o", messages=messages, temperature=0)).model_dump()

    answers = asyncio.run(gather(weir, 500, call))
    assert sim.stats()["requests"] == 1
    assert all(answer == answers[0] for answer in answers) and answers[0]["choices"]


def test_one_of_many_identical_calls_hanging_up_changes_nothing_for_the_rest(world):
    sim, weir = world.one(QUICK)
    messages = [{"role": "user", "content": "[sim:delay-ms=1500] The same for all."}]

    async def run():
        async with async_client(weir) as through:

            def call():
                return asyncio.ensure_future(
                    through.chat.completions.create(model="gpt-4o", messages=messages, temperature=0)
                )

            leader = call()
            while sim.stats()["in_flight"] == 0:
                await asyncio.sleep(0.01)
            followers = [call() for _ in range(20)]
            await asyncio.sleep(0.3)
            leader.cancel()
            return await asyncio.gather(*followers)

    answers = asyncio.run(run())
    assert len(answers) == 20 and all(answer.choices for answer in answers)
    assert sim.stats()["requests"] == 1


def test_a_cached_answer_is_the_same_whole_and_as_a_stream(world):
    sim, weir = world.one(QUICK)
    through = client(weir)
    asked = {**ASK, "temperature": 0}
    made = through.chat.completions.with_raw_response.create(**asked)
    again = through.chat.completions.with_raw_response.create(**asked)
    assert (made.headers["x-weir-cache"], again.headers["x-weir-cache"]) == ("miss", "hit")
    assert again.parse().model_dump() == made.parse().model_dump()
    chunks = list(through.chat.completions.create(**asked, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == made.parse().choices[0].message.content
    assert sim.stats()["requests"] == 1
    other = client(weir, key="sk-somebody-else").chat.completions.with_raw_response.create(**asked)
    assert other.headers["x-weir-cache"] == "miss" and sim.stats()["requests"] == 2


def test_200_clients_that_leave_in_mid_stream_leave_nothing_running(world):
    sim, weir = world.one()
    messages = [{"role": "user", "content": "[sim:tokens=5000][sim:event-ms=20] a long one"}]

    async def call(c, i):
        stream = await c.chat.completions.create(model="gpt-4o", messages=messages, stream=True)
        seen = 0
        async for _ in stream:
            seen += 1
            if seen == 3:
                break
        await stream.close()
        return seen

    assert asyncio.run(gather(weir, 200, call)) == [3] * 200
    sim.idle()
    until(lambda: weir.metric("weir_inflight") == 0, what="no call in flight in weir")
    assert sim.stats()["requests"] == 200 == sim.stats()["disconnects"]


# === an outage ===

OUTAGE = 6.0
AFTER = 4.0


def test_an_outage_of_the_first_provider_is_not_noticed(world):
    breaker = '[breaker]\nopen_for = "1s"\nopen_for_max = "1s"\n'
    first, second, weir = world.two(QUICK + NO_CACHE + breaker)
    first.inject({"status": 503, "until": f"{int(OUTAGE * 1000)}ms"})

    async def run():
        failed, done, tasks = [], [0], set()
        started = time.monotonic()

        async def one(c, i):
            try:
                if i % 4:
                    assert (await c.chat.completions.create(**ASK)).choices
                else:
                    stream = await c.chat.completions.create(**ASK, stream=True)
                    assert [chunk async for chunk in stream][-1].choices[0].finish_reason == "stop"
                done[0] += 1
            except Exception as error:  # noqa: BLE001 - whatever the app would have seen
                failed.append(repr(error))

        async with async_client(weir, timeout=20) as through:
            i = 0
            while time.monotonic() - started < OUTAGE + AFTER:
                tasks.add(asyncio.ensure_future(one(through, i)))
                i += 1
                await asyncio.sleep(0.02)
            await asyncio.gather(*tasks)
        return done[0], failed

    done, failed = asyncio.run(run())
    assert done > 200
    assert len(failed) <= 0.001 * (done + len(failed)), failed[:5]
    during = [r for r in first.received() if r["status"] == 503]
    # What opened the circuit, what was under way then, and one probe each second.
    assert len(during) <= 30, f"{len(during)} calls reached a provider that was down"
    back = [r for r in first.received() if r["status"] == 200]
    assert len(back) > 20, f"only {len(back)} calls went back to the first provider within {AFTER} s"
