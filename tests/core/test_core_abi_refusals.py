"""What the device core refuses, it refuses in Python's words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import lfm_edge
import pytest
from lfm_edge.errors import InvalidRequestError

from tests.core.lfm_core import Handle, library, native_ids

pytestmark = pytest.mark.usefixtures("no_handle_is_left")

PROMPT = "def read_lines(path):\n"


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1},
        {"temperature": "hot"},
        {"temperature": True},
        {"top_k": 1.5},
        {"top_k": -3},
        {"top_p": 0},
        {"min_p": 1.01},
        {"repetition_penalty": 0.0},
        {"frequency_penalty": 3},
        {"presence_penalty": -2.5},
        {"logit_bias": [1]},
        {"logit_bias": {5: 101}},
        {"logit_bias": {-1: 1}},
        {"logit_bias": {5000: 1}},
        {"banned": "abc"},
        {"banned": [-1]},
        {"banned": [1.0]},
        {"banned": [5000]},
        {"seed": -1},
        {"seed": 2**64},
        {"seed": 1.5},
        {"stop": ""},
        {"stop": ["a", ""]},
        {"stop": 7},
        {"max_tokens": 0},
        {"max_tokens": 2.5},
    ],
    ids=str,
)
def test_options_are_refused_in_python_s_words(
    session: Handle, reference: lfm_edge.Model, options: dict[str, Any]
) -> None:
    with pytest.raises(lfm_edge.LfmError) as wanted:
        reference.generate(PROMPT, **options)
    with pytest.raises(type(wanted.value)) as found:
        library().open("generate", session, {"text": PROMPT, **options})
    assert str(found.value) == str(wanted.value)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda c, s: c.open("generate", s, {"text": ""}), lambda m: m.generate("")),
        (lambda c, s: c.open("generate", s, {"ids": []}), lambda m: m.generate([])),
        (lambda c, s: c.open("generate", s, {"ids": [1, 4096]}), lambda m: m.generate([1, 4096])),
        (
            lambda c, s: c.open("generate", s, {"text": "word " * 9000}),
            lambda m: m.generate("word " * 9000),
        ),
        (
            lambda c, s: c.open("generate", s, {"ids": [5] * 4097}),
            lambda m: m.generate([5] * 4097),
        ),
        (lambda c, s: c.call("session_rewind", s, 1), lambda m: m.session().rewind(1)),
        (lambda c, s: c.call("session_rewind", s, -1), lambda m: m.session().rewind(-1)),
        (
            lambda c, s: c.call("session_prefill", s, *native_ids([-1]), None),
            lambda m: m.session().prefill([-1]),
        ),
        (
            lambda c, s: c.call("session_prefill", s, *native_ids([]), None),
            lambda m: m.session().prefill([]),
        ),
    ],
    ids=["text", "none", "unknown", "words", "long", "rewind", "back", "negative", "empty"],
)
def test_requests_are_refused_in_python_s_words(
    session: Handle,
    reference: lfm_edge.Model,
    ours: Callable[[Any, int], object],
    theirs: Callable[[lfm_edge.Model], object],
) -> None:
    with pytest.raises(lfm_edge.LfmError) as wanted:
        theirs(reference)
    with pytest.raises(type(wanted.value)) as found:
        ours(library(), session)
    assert str(found.value) == str(wanted.value)


def test_conversations_are_refused_in_python_s_words(
    model: Handle, reference: lfm_edge.Model
) -> None:
    own = reference.conversation()
    with library().open("conversation_open", model, None) as other:
        refusals: list[tuple[Callable[[], object], Callable[[], object]]] = [
            (
                lambda: library().open("conversation_regenerate", other, None),
                own.regenerate,
            ),
            (
                lambda: library().open("conversation_edit", other, 0, "a", None),
                lambda: own.edit(0, "a"),
            ),
            (lambda: _send(other, []), lambda: own.send([])),
            (lambda: _send(other, ["a"]), lambda: own.send(["a"])),  # type: ignore[list-item]
            (
                lambda: _send(other, "a", thinking_budget=-1),
                lambda: own.send("a", thinking_budget=-1),
            ),
            (
                lambda: library().open("conversation_open", model, {"context": 4097}),
                lambda: reference.conversation(context=4097),
            ),
            (
                lambda: library().open("conversation_open", model, {"context": 0}),
                lambda: reference.conversation(context=0),
            ),
            (
                lambda: library().open("conversation_open", model, {"tools": [{"name": ""}]}),
                lambda: reference.conversation(tools=[{"name": ""}]),
            ),
        ]
        for ours, theirs in refusals:
            with pytest.raises(lfm_edge.LfmError) as wanted:
                theirs()
            with pytest.raises(type(wanted.value)) as found:
                ours()
            assert str(found.value) == str(wanted.value)


@pytest.mark.parametrize(
    "arguments", ["{", '{"a": "\x01"}', '{"a" 1}', "[1 2]", '"\\x"', "[", "{} 1", '"a', "3"]
)
def test_arguments_that_are_no_json_are_refused_in_python_s_words(
    model: Handle, reference: lfm_edge.Model, arguments: str
) -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
    said = [{"role": "assistant", "content": "", "tool_calls": [call]}]
    with pytest.raises(InvalidRequestError) as wanted:
        reference.conversation().send(said)
    with (
        library().open("conversation_open", model, None) as other,
        pytest.raises(InvalidRequestError) as found,
    ):
        _send(other, said)
    assert str(found.value) == str(wanted.value)


@pytest.mark.parametrize(
    "options",
    [{"thinking_budget": -1}, {"temperature": -1}, {"stop": [""]}, {"banned": [5000]}, {}],
    ids=str,
)
def test_options_are_checked_as_in_python(
    model: Handle, reference: lfm_edge.Model, options: dict[str, Any]
) -> None:
    said = []
    with library().open("conversation_open", model, None) as other:
        for check in (
            lambda: library().call("conversation_check", other, options),
            lambda: reference.conversation().check(**options),
        ):
            try:
                check()
            except lfm_edge.LfmError as error:
                said.append(repr(error))
    assert said == ([] if not options else [said[0]] * 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schema": {}}, "schema: an answer of a given form cannot be had on a device"),
        ({"logprobs": 0}, "logprobs: cannot be had on a device"),
        ({"speculation": True}, "speculation: cannot be had on a device"),
        ({"context": 64}, "context: a session was given, which has its own"),
        ({"thinking_budget": 3}, "unknown option 'thinking_budget'"),
        ({"temprature": 3}, "unknown option 'temprature'"),
    ],
    ids=str,
)
def test_what_a_device_lacks_is_said(session: Handle, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        library().open("generate", session, {"text": PROMPT, **options})


def _send(conversation: int, message: Any, **options: Any) -> Handle:
    return library().open("conversation_send", conversation, json.dumps(message), options)
