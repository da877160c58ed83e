"""Answers as events and in a given form, with the model's part forced by its biases."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import lfm_edge
import pytest
from lfm_edge import InvalidRequestError
from lfm_edge.chat import End, Event, Reasoning, Text
from lfm_edge.sampling import Sampler

from tests.sdk.toy import END_THINK, EOS, THINK

MakeModel = Callable[..., lfm_edge.Model]
CHAT: list[lfm_edge.Message] = [{"role": "user", "content": "hi"}]
CALL = "<|tool_call_start|>[look(x=3)]<|tool_call_end|>"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[int]], None]:
    """Makes the samplers draw these tokens, one after the other, whatever the logits say."""

    def play(tokens: Sequence[int]) -> None:
        left = list(tokens)
        monkeypatch.setattr(Sampler, "_choose", lambda *_: left.pop(0))

    return play


def without_times(events: Sequence[Event]) -> tuple[list[Event], End]:
    *others, end = events
    assert isinstance(end, End)
    joined: list[Any] = []
    for event in others:
        same = bool(joined) and type(event) is type(joined[-1])
        if same and isinstance(event, (Text, Reasoning)):
            joined[-1] = type(event)(joined[-1].text + event.text)
        else:
            joined.append(event)
    return joined, end


def test_an_answer_is_divided(
    make_model: MakeModel, script: Callable[[Sequence[int]], None]
) -> None:
    model = make_model()
    encode = model.tokenizer.encode
    script([THINK, *encode("hm"), END_THINK, *encode(f"a{CALL}"), EOS])
    session = model.session()
    events, end = without_times(list(model.events(CHAT, session=session)))
    assert [type(event).__name__ for event in events] == ["Reasoning", "Text", "ToolCall"]
    assert events[0] == Reasoning("hm")
    assert end.reason == "eos"
    prompt = end.usage.processed
    assert (end.usage.reused, end.usage.generated) == (0, 5 + len(encode(f"a{CALL}")))
    assert 0 < end.timings.time_to_first_token <= end.timings.total
    script([*encode("b"), EOS])
    longer = [*CHAT, {"role": "assistant", "content": "a"}, {"role": "user", "content": "so"}]
    *_, again = model.events(longer, session=session)  # the thinking is gone from this prompt
    assert isinstance(again, End)
    assert again.usage.reused == prompt
    assert 0 < again.usage.processed < 2 * prompt


def test_stop_strings_are_looked_for_in_the_text_alone(
    make_model: MakeModel, script: Callable[[Sequence[int]], None]
) -> None:
    model = make_model()
    encode = model.tokenizer.encode
    script([THINK, *encode("stop here"), END_THINK, *encode("now stop here")])
    events, end = without_times(list(model.events(CHAT, stop="stop")))
    assert events == [Reasoning("stop here"), Text("now ")]
    assert end.reason == "stop"


def test_a_thinking_budget_closes_the_reasoning(
    make_model: MakeModel, script: Callable[[Sequence[int]], None]
) -> None:
    model = make_model()
    encode = model.tokenizer.encode
    script([THINK, *encode("abcdef")[:4], *encode("yes"), EOS])
    events, end = without_times(list(model.events(CHAT, thinking_budget=4)))
    assert events == [Reasoning("abcd"), Text("\n\nyes")]
    assert end.reason == "eos"
    assert end.usage.reasoning == 1 + 4 + len(encode("</think>"))
    assert model.tokenizer.decode(encode("</think>")) == "</think>"


def test_a_loop_ends_with_its_own_reason(
    make_model: MakeModel, script: Callable[[Sequence[int]], None]
) -> None:
    model = make_model()
    script(model.tokenizer.encode("over and " * 100))
    _, end = without_times(list(model.events(CHAT)))
    assert end.reason == "loop"
    script([*model.tokenizer.encode("over and " * 100), EOS])
    assert "".join(model.chat(CHAT)) == "over and " * 100  # raw text is left alone


@pytest.mark.parametrize("temperature", [0, 1])
def test_an_answer_has_the_form_that_was_asked_for(
    make_model: MakeModel, temperature: float
) -> None:
    model = make_model()
    options: Any = {"temperature": temperature, "seed": 3, "max_tokens": 60}
    schema: dict[str, Any] = {"type": "object", "additionalProperties": False}
    schema |= {"properties": {"n": {"type": "boolean"}}, "required": ["n"]}
    assert set(json.loads("".join(model.generate("a", schema=schema, **options)))) == {"n"}
    assert "".join(model.generate("a", choices=["left", "right"], **options)) in {"left", "right"}
    assert "".join(model.generate("a", regex="[a-c]{3}", **options)).strip("abc") == ""
    answer = model.generate("a", grammar='start: "x" start | "y" "y"', **options)
    assert "".join(answer).strip("x") in {"", "y", "yy"}
    assert answer.finish_reason in {"eos", "length"}
    assert "".join(model.generate("a", regex="[a-c]{300}", **options)).strip("abc") == ""
    cut = model.generate("a", regex="[a-c]{300}", **options)
    assert len("".join(cut)) == 60
    assert cut.finish_reason == "length"


def test_reasoning_is_free_before_a_form(make_model: MakeModel) -> None:
    model = make_model({THINK: 100.0, END_THINK: 50.0})
    # <think> is likeliest at first, and within the thought again; only the budget closes it.
    stream = model.events(CHAT, choices=["left", "right"], thinking_budget=5, temperature=0)
    events, end = without_times(list(stream))
    assert [type(event) for event in events] == [Reasoning, Text]
    assert isinstance(events[1], Text)
    assert events[1].text in {"left", "right"}
    assert end.reason == "eos"


def test_forms_that_are_none(make_model: MakeModel) -> None:
    model = make_model()
    for options, message in (
        ({"regex": "a", "schema": {}}, "schema and regex, but an answer has one form"),
        ({"regex": "("}, "the grammar is not accepted"),
        ({"schema": {"not": {}}}, "keyword 'not' is not supported"),
        ({"choices": []}, "choices: got"),
        ({"grammar": "nonsense"}, "the grammar is not accepted"),
    ):
        asked: Any = options
        with pytest.raises(InvalidRequestError, match=message) as caught:
            model.generate("a", **asked)
        assert "\n" not in str(caught.value)
