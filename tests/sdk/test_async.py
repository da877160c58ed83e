"""Answers by `async for`: the same pieces, an event loop that goes on, and cancelled tasks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import lfm_edge
import pytest
from lfm_edge import ContextFullError
from lfm_edge.chat import End

from tests.sdk.toy import BOS, EOS, PAD, THINK

ENDLESS = {PAD: -1e4, BOS: -1e4, EOS: -1e4, THINK: -1e4}
CHAT: list[lfm_edge.Message] = [{"role": "user", "content": "hi"}]
MakeModel = Callable[..., lfm_edge.Model]


@pytest.fixture
def model(make_model: MakeModel) -> lfm_edge.Model:
    return make_model(ENDLESS)


async def collect(pieces: Any) -> list[Any]:
    return [piece async for piece in pieces]


def test_the_pieces_are_those_of_for(model: lfm_edge.Model) -> None:
    options: Any = {"max_tokens": 30, "seed": 3}
    assert asyncio.run(collect(model.generate("a", **options))) == list(
        model.generate("a", **options)
    )
    assert asyncio.run(collect(model.chat(CHAT, **options))) == list(model.chat(CHAT, **options))
    events = asyncio.run(collect(model.events(CHAT, **options)))
    assert events[:-1] == list(model.events(CHAT, **options))[:-1]
    assert isinstance(events[-1], End)


def test_turns_of_a_conversation(model: lfm_edge.Model) -> None:
    options: Any = {"max_tokens": 20, "temperature": 0}
    conversation, truth = model.conversation(), model.conversation()

    async def talk() -> None:
        await collect(conversation.send("one", **options))
        await collect(conversation.edit(0, "two", **options))
        await collect(conversation.regenerate(**options))

    asyncio.run(talk())
    list(truth.send("two", **options))
    assert conversation.messages == truth.messages


def test_the_event_loop_goes_on(model: lfm_edge.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is not finished before another task has run; blocking the loop would never end."""
    ticked = threading.Event()
    read = lfm_edge.Session.read

    def wait_for_tick(*arguments: Any) -> Any:
        assert ticked.wait(30)
        ticked.clear()
        return read(*arguments)

    monkeypatch.setattr(lfm_edge.Session, "read", wait_for_tick)

    async def tick() -> None:
        while True:
            ticked.set()
            await asyncio.sleep(0)

    async def both() -> list[str]:
        ticking = asyncio.create_task(tick())
        pieces = await collect(model.generate("a", max_tokens=5))
        ticking.cancel()
        return pieces

    assert asyncio.run(both())


@pytest.mark.parametrize("kind", ["generate", "chat", "events", "send"])
def test_a_cancelled_task_stops_and_leaves_a_session_that_answers(
    model: lfm_edge.Model, kind: str
) -> None:
    conversation = model.conversation(context=2000)
    session = conversation.session

    def begin() -> Any:
        options: Any = {"session": session} if kind != "send" else {}
        if kind == "send":
            return conversation.send("hi")
        return getattr(model, kind)("a" if kind == "generate" else CHAT, **options)

    async def cancelled() -> int:
        begun = asyncio.Event()

        async def answer() -> None:
            async for _ in begin():
                begun.set()

        task = asyncio.create_task(answer())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        held = session.position
        await asyncio.sleep(0.05)
        assert session.position == held  # nothing runs any more
        return held

    held = asyncio.run(cancelled())
    assert 0 < held < 1500
    assert conversation.messages == []
    (again,) = [list(model.generate("xy", session=session, max_tokens=5, temperature=0))]
    assert again == list(model.generate("xy", max_tokens=5, temperature=0))


def test_breaking_off_stops_too(model: lfm_edge.Model) -> None:
    stream = model.generate("a")

    async def one() -> None:
        async for _ in stream:
            break

    asyncio.run(one())
    list(stream)
    assert stream.finish_reason == "cancelled"


def test_errors_come_through(model: lfm_edge.Model) -> None:
    session = model.session(20)

    async def answer() -> None:
        stream = model.generate("abc", session=session)
        session.prefill([5] * 3)
        async for _ in stream:
            session.prefill([9])  # takes the session away

    with pytest.raises(lfm_edge.SessionTakenError):
        asyncio.run(answer())
    with pytest.raises(ContextFullError):
        asyncio.run(collect(model.generate("abc" * 30, session=session)))


def test_a_stopped_answer_ends_as_cancelled(model: lfm_edge.Model) -> None:
    turn = model.conversation().send("hi")
    turn.stop()
    *_, end = turn
    assert isinstance(end, End)
    assert end.reason == "cancelled"


def test_a_turn_cancelled_before_anything_was_said_leaves_nothing(model: lfm_edge.Model) -> None:
    conversation, stop = model.conversation(), threading.Event()
    list(conversation.send("one", max_tokens=3))
    held = list(conversation.messages)
    stop.set()
    list(conversation.send("two", cancel=stop))
    assert conversation.messages == held
    assert conversation.last is not None
    assert conversation.last.reason == "cancelled"
    stop.clear()
    for _ in conversation.send("two", cancel=stop):
        stop.set()
    assert [m["role"] for m in conversation.messages[2:]] == ["user", "assistant"]
    assert conversation.messages[-1]["content"]
