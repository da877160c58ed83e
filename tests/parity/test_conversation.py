"""Conversations of the shipped model: the same text as without reuse, for far fewer tokens.

The model cannot reason, so its thinking is forced by a script; what follows it is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import astuple
from datetime import datetime
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
import pytest
from lfm_edge import Conversation, InvalidRequestError, SessionFileError
from lfm_edge.chat import End, Event, Reasoning, Text
from lfm_edge.chat.prompt import prompt_ids
from lfm_edge.chat.template import ChatTemplate
from lfm_edge.sampling import Sampler

TEMPLATE = """<|startoftext|>{% for m in messages %}<|im_start|>{{ m.role }}
{% if m.thinking and loop.last %}<think>{{ m.thinking }}</think>{% endif %}{{ m.content }}<|im_end|>
{% endfor %}<|im_start|>assistant
"""
DATED = "Today: {{ strftime_now('%Y-%m-%d %H:%M:%S.%f') }}" + TEMPLATE
REPLAY = 8  # four convolutions of kernel 3


@pytest.fixture(scope="module", params=["onnx", "onnx-portable"])
def model(request: pytest.FixtureRequest, demo_bundle: Callable[..., Path]) -> lfm_edge.Model:
    made = lfm_edge.load(demo_bundle(request.param, "q4"), threads=2)
    vars(made)["template"] = ChatTemplate(TEMPLATE)
    return made


@pytest.fixture
def think(monkeypatch: pytest.MonkeyPatch) -> Callable[[lfm_edge.Model, int, int], None]:
    """Forces so many tokens of thinking, then lets the model write so many of its own."""
    choose = Sampler._choose

    def begin(model: lfm_edge.Model, thinking: int, own: int) -> None:
        opening, closing = map(model.tokenizer.added_id, ("<think>", "</think>"))
        assert opening is not None
        assert closing is not None
        random = np.random.default_rng(thinking)
        thought = random.integers(300, 2000, thinking - 2).tolist()
        script: list[int | None] = [opening, *thought, closing, *[None] * own, min(model.eos_ids)]
        steps: Iterator[int | None] = iter(script)

        def draw(sampler: Sampler, logits: Any, allowed: Any) -> int:
            token = next(steps)
            return choose(sampler, logits, allowed) if token is None else token

        monkeypatch.setattr(Sampler, "_choose", draw)

    return begin


def listen(events: Iterator[Event]) -> tuple[str, str, End]:
    """Text, thinking and end of an answer."""
    text, thinking = [], []
    for event in events:
        if isinstance(event, Text):
            text.append(event.text)
        elif isinstance(event, Reasoning):
            thinking.append(event.text)
    assert isinstance(event, End)
    return "".join(text), "".join(thinking), event


def words(model: lfm_edge.Model, count: int, seed: int) -> str:
    """A text of about so many tokens."""
    ids = np.random.default_rng(seed).integers(300, 2000, count).tolist()
    return model.tokenizer.decode(ids)


def test_ten_turns_with_thinking_that_the_template_drops(
    model: lfm_edge.Model, think: Callable[[lfm_edge.Model, int, int], None]
) -> None:
    exact = model.bundle.manifest.graph.target == "onnx"
    talk = model.conversation(words(model, 1500, 0), context=4096)
    processed = without = 0
    for turn in range(10):
        said = words(model, 35, 1 + turn)
        asked = [*talk.messages, {"role": "user", "content": said}]
        prompt = prompt_ids(model.template, model.tokenizer, asked)
        held = talk.session.ids
        pairs = zip(held, prompt, strict=False)
        common = next((i for i, (a, b) in enumerate(pairs) if a != b), len(held))
        think(model, 100, 50)
        text, thinking, end = listen(talk.send(said, temperature=0))
        assert talk.last is end
        assert (end.reused, end.processed, end.generated) == astuple(end.usage)[:3]
        assert thinking
        assert talk.messages[-1] == {"role": "assistant", "content": text, "thinking": thinking}
        usage = end.usage
        assert usage.generated == 151
        if exact:
            assert usage.reused == common
            assert usage.processed == len(prompt) - common + (REPLAY if common < len(held) else 0)
        else:  # back to the end of the last turn's prompt, where the thinking began
            assert 0 <= common - usage.reused <= 2
            assert usage.processed == len(prompt) - usage.reused
        processed += usage.processed - (len(prompt) if turn == 0 else 0)
        without += len(prompt) if turn else 0
        if exact:
            think(model, 100, 50)
            alone = listen(model.events(asked, context=4096, temperature=0))
            assert alone[:2] == (text, thinking)
            assert alone[2].usage.processed == len(prompt)
    assert processed <= 0.15 * without


def test_a_turn_is_answered_anew_edited_forked_saved_and_opened(
    model: lfm_edge.Model, tmp_path: Path
) -> None:
    options: Any = {"temperature": 0, "max_tokens": 8}
    talk = model.conversation("Be brief.")
    with pytest.raises(InvalidRequestError, match="no message to answer"):
        talk.regenerate()
    first = listen(talk.send("def area(radius):", **options))[0]
    second = listen(talk.send("And the volume?", **options))[0]
    assert listen(talk.regenerate(**options))[0] == second
    assert [m["role"] for m in talk.messages] == ["system", *["user", "assistant"] * 2]
    fork = talk.fork()
    talk.save(tmp_path / "talk")
    opened = Conversation.open(model, tmp_path / "talk")
    assert opened.messages == talk.messages
    listen(talk.edit(0, "class Area:", **options))
    assert len(talk.messages) == 3
    for other in (fork, opened):
        assert [m["content"] for m in other.messages if m["role"] == "assistant"] == [first, second]
        events = listen(other.send("Why?", **options))
        assert events[2].usage.reused > events[2].usage.processed
    with pytest.raises(InvalidRequestError, match="turn 1, but the user has said 1 things"):
        talk.edit(1, "x")
    talk.session.save(tmp_path / "session")
    with pytest.raises(SessionFileError, match="but no conversation"):
        Conversation.open(model, tmp_path / "session")


def test_a_turn_that_was_given_up_leaves_no_trace(model: lfm_edge.Model) -> None:
    talk = model.conversation()
    events = talk.send("def area(radius):", temperature=0, max_tokens=8)
    next(events)
    assert talk.messages == []
    text = listen(talk.send("def area(radius):", temperature=0, max_tokens=8))[0]
    assert text == talk.messages[1]["content"]


def test_the_date_is_that_of_the_beginning(
    model: lfm_edge.Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(vars(model), "template", ChatTemplate(DATED))
    talk = model.conversation()
    listen(talk.send("a", max_tokens=1))
    first = model.tokenizer.decode(talk.session.ids)
    assert f"Today: {datetime.now().year}-" in first
    talk.save(tmp_path / "talk")
    for same in (talk, Conversation.open(model, tmp_path / "talk")):
        listen(same.edit(0, "b", max_tokens=1))
        again = model.tokenizer.decode(same.session.ids)
        assert first.split("<|im_start|>")[0] == again.split("<|im_start|>")[0]


@pytest.mark.parametrize("value", [float("nan"), "\ud800", object()], ids=["nan", "half", "object"])
def test_what_could_not_be_opened_again_is_not_saved(
    model: lfm_edge.Model, tmp_path: Path, value: object
) -> None:
    talk = model.conversation()
    talk.messages = [{"role": "user", "content": "a", "more": value}]
    with pytest.raises(InvalidRequestError, match="save: the conversation holds"):
        talk.save(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("turn", [True, "0", 0.0, None])
def test_a_turn_is_an_integer(model: lfm_edge.Model, turn: Any) -> None:
    talk = model.conversation()
    talk.messages = [{"role": "user", "content": "a"}] * 2
    with pytest.raises(InvalidRequestError, match="edit: got turn"):
        talk.edit(turn, "b")


def test_options_are_checked_without_a_message(model: lfm_edge.Model) -> None:
    talk = model.conversation()
    talk.check(max_tokens=5, thinking_budget=3, stop=["a"], regex="[a-z]+")
    for wrong in ({"max_tokens": 0}, {"thinking_budget": -1}, {"regex": "("}, {"top_p": 3}):
        options: Any = wrong
        with pytest.raises(InvalidRequestError):
            talk.check(**options)
    assert talk.messages == []
