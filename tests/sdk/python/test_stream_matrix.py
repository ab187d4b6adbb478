"""Every way in which a stream can go wrong, at every event: a whole answer or an exception, and nothing between."""

import openai
import pytest

from conftest import client
from harness import NO_CACHE

TOKENS = 5
PROMPT = f"[sim:tokens={TOKENS}] Tell me."
FAST = NO_CACHE + '[retry]\nmax_attempts = 2\nbase = "10ms"\nmax = "20ms"\n[breaker]\nconsecutive = 1000\nmin_calls = 1000\n'


def chat(c):
    """The text, and whether the stream said that it is whole."""
    text, whole = "", False
    for chunk in c.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": PROMPT}], stream=True):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            whole |= choice.finish_reason == "stop"
    return text, whole


def responses(c):
    text, whole = "", False
    for event in c.responses.create(model="gpt-4.1", input=PROMPT, stream=True):
        if event.type == "response.output_text.delta":
            text += event.delta
        whole |= event.type == "response.completed"
    return text, whole


KINDS = {"chat": chat, "responses": responses}
FAULTS = {
    "cut": {"kind": "cut"},
    "cut in an event": {"kind": "cut", "mid_event": True},
    "drop": {"kind": "drop"},
    "drop in an event": {"kind": "drop", "mid_event": True},
    "reset": {"kind": "reset"},
    "stall": {"kind": "stall"},
    "malformed": {"kind": "malformed"},
    "error event": {"kind": "error-event", "code": "server_error", "message": "Broken inside."},
}


def events_of(sim, kind):
    """How many events the whole stream has, `[DONE]` included."""
    c = client(sim)
    if kind == "chat":
        ask = dict(model="gpt-4o", messages=[{"role": "user", "content": PROMPT}], stream=True)
        with c.chat.completions.with_streaming_response.create(**ask) as raw:
            lines = list(raw.iter_lines())
    else:
        with c.responses.with_streaming_response.create(model="gpt-4.1", input=PROMPT, stream=True) as raw:
            lines = list(raw.iter_lines())
    return sum(line.startswith("data:") for line in lines)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_broken_at_every_event_it_is_a_whole_answer_or_an_exception(fault, kind, world):
    """With nobody to stand in: what the SDK gives the app is the truth."""
    sim, weir = world.one(FAST, idle_timeout="500ms", first_token_timeout="500ms")
    read, expected = KINDS[kind], KINDS[kind](client(sim))
    assert expected[1]
    wholes = raised = 0
    # A stall takes the time-out each time: fewer places.
    places = range(0, events_of(sim, kind) + 1, 3 if fault == "stall" else 1)
    for place in places:
        sim.clear()
        sim.inject({**FAULTS[fault], "after_events": place})
        try:
            got = read(client(weir, timeout=20))
        except (openai.APIError, ValueError) as error:
            # A malformed event is passed on: the SDK's JSON reader raises, as without weir.
            assert isinstance(error, openai.APIError) or fault == "malformed", repr(error)
            raised += 1
        else:
            assert got == expected, f"after {place} events: half an answer, and no exception"
            wholes += 1
        sim.idle()
    assert raised >= (1 if fault == "malformed" else len(places) // 2), (wholes, raised)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_broken_before_its_content_it_is_whole_from_the_next_provider(fault, kind, world):
    first, second, weir = world.two(FAST, idle_timeout="500ms", first_token_timeout="500ms")
    read, expected = KINDS[kind], KINDS[kind](client(second))
    # One role chunk; four lifecycle events.
    for place in range(0, 2 if kind == "chat" else 5):
        first.clear()
        first.inject({**FAULTS[fault], "after_events": place})
        if fault == "malformed":
            # One event that a client may skip: not a failure, so nobody stands in.
            with pytest.raises(ValueError):
                read(client(weir, timeout=20))
        else:
            assert read(client(weir, timeout=20)) == expected, place


SLOW = {
    "drip": {"kind": "drip", "gap": "40ms"},
    "slow first token": {"kind": "delay", "first_token": "600ms"},
}
NOTHING = {
    "empty": {"kind": "empty-stream"},
    "role only": {"kind": "role-only"},
    "comments only": {"kind": "comments-only", "gap": "50ms"},
    "no body": {"kind": "empty"},
    "page": {"kind": "html-200"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", SLOW)
def test_slow_is_not_broken(fault, kind, world):
    sim, weir = world.one(FAST, idle_timeout="2s", first_token_timeout="2s")
    expected = KINDS[kind](client(sim))
    sim.inject(SLOW[fault])
    assert KINDS[kind](client(weir)) == expected
    assert sim.stats()["requests"] == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", NOTHING)
def test_nothing_under_a_200_is_an_exception_with_a_true_status(fault, kind, world):
    sim, weir = world.one(FAST, idle_timeout="500ms", first_token_timeout="500ms")
    sim.inject(NOTHING[fault])
    with pytest.raises(openai.APIStatusError) as caught:
        KINDS[kind](client(weir, timeout=20))
    assert caught.value.status_code >= 500
