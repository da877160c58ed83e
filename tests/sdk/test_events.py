"""An answer gives the same events however it was cut, and no marker gets out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lfm_edge.chat import EventSplitter, InvalidToolCall, Markers, Text, Tool, ToolCall

from tests.sdk import vectors
from tests.sdk.vectors import Token, as_json, split

CASES = vectors.read("events.json")
CALL_CASES = vectors.read("tool_calls.json")
START, END = "<|tool_call_start|>", "<|tool_call_end|>"
TAGS, FUNCTION = ("<tool_call>", "</tool_call>"), "<function=f></function>"
MARKERS = ["<think>", "</think>", START, END]


def splitter_of(case: dict[str, Any]) -> EventSplitter:
    markers = Markers({token: text for text, token in case["special_tokens"].items()})
    return EventSplitter(markers, case.get("tools", ()), in_reasoning=case["in_reasoning"])


def cuts(case: dict[str, Any]) -> Iterator[list[Token]]:
    """The tokens as given, each one cut at each place, and all of them in single characters."""
    tokens: list[Token] = [(token, text) for token, text in case["tokens"]]
    special = set(case["special_tokens"].values())
    yield tokens
    for index, (token, text) in enumerate(tokens):
        for at in range(1, len(text) if token not in special else 0):
            two: list[Token] = [(token, text[:at]), (token, text[at:])]
            yield [*tokens[:index], *two, *tokens[index + 1 :]]
    yield [
        (token, piece) for token, text in tokens for piece in ([text] if token in special else text)
    ]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_events_at_every_split(case: dict[str, Any]) -> None:
    for tokens in cuts(case):
        assert as_json(split(splitter_of(case), tokens)) == case["events"], tokens


def test_calls_are_the_same_at_every_split() -> None:
    for case in CALL_CASES:
        text, tools = case["text"], [Tool.from_json(tool) for tool in case.get("tools", ())]
        whole = split(EventSplitter(Markers(), tools), [(None, text)])
        for at in range(1, len(text)):
            pieces: list[Token] = [(None, text[:at]), (None, text[at:])]
            events = split(EventSplitter(Markers(), tools), pieces)
            assert as_json(events) == as_json(whole)
        if len(whole) == 1 and isinstance(whole[0], InvalidToolCall):
            assert len(whole[0].error.splitlines()) == 1


@given(
    parts=st.lists(
        st.sampled_from(
            [
                *MARKERS,
                *TAGS,
                "a",
                " ",
                "[f(x='",
                "')]",
                "<",
                "[f()]",
                "\n",
                FUNCTION,
            ]
        )
    ),
    data=st.data(),
    in_reasoning=st.booleans(),
)
def test_events_do_not_depend_on_the_pieces(
    parts: list[str], data: st.DataObject, in_reasoning: bool
) -> None:
    text = "".join(parts)
    places = st.lists(st.integers(0, len(text)), max_size=8).map(sorted)
    marks = [0, *data.draw(places), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(marks)]
    whole = split(EventSplitter(Markers(), in_reasoning=in_reasoning), [(None, text)])
    cut = split(
        EventSplitter(Markers(), in_reasoning=in_reasoning), [(None, piece) for piece in pieces]
    )
    assert as_json(cut) == as_json(whole)
    answer = "".join(event.text for event in whole if isinstance(event, Text))
    assert not any(marker in answer for marker in (START, END, *TAGS))


def test_text_is_held_back_no_longer_than_needed() -> None:
    splitter = EventSplitter(Markers({4: "<think>", 5: "</think>"}))
    assert splitter.push(7, "a <") == [Text("a ")]
    assert splitter.push(7, "b <thi") == [Text("<b <thi")]
    assert splitter.push(7, "<|tool_call") == []
    assert splitter.push(7, "s") == [Text("<|tool_calls")]


def test_an_unmarked_call_is_held_back_only_where_tools_are_known() -> None:
    tool = {"name": "f", "parameters": {"type": "object"}}
    assert EventSplitter(Markers()).push(7, "[f(") == [Text("[f(")]
    splitter = EventSplitter(Markers(), [tool])
    assert splitter.push(7, "[f(") == []
    assert splitter.push(7, ")]") == []
    assert splitter.finish() == [ToolCall("f", {})]
    assert EventSplitter(Markers(), [tool]).push(7, "[g(") == [Text("[g(")]


def test_markers_of_a_tokenizer() -> None:
    ids = {"<think>": 4, "</think>": 5}
    markers = Markers.of(ids.get)
    assert markers.by_id == {4: "<think>", 5: "</think>"}
    assert markers.in_text == {START, END, "<tool_call>", "</tool_call>"}
    assert Markers.of({START: 1, END: 2}.get).in_text == {"<think>", "</think>"}
    assert Markers.of({"<tool_call>": 1, "</tool_call>": 2}.get).in_text == {"<think>", "</think>"}
    assert Markers.of({START: 1, "</tool_call>": 2}.get).in_text >= {END, "<tool_call>"}
    assert Markers.opens_reasoning("<|im_start|>assistant\n<think>\n")
    assert not Markers.opens_reasoning("<think>a</think>")


def test_whether_reasoning_comes_next() -> None:
    splitter = EventSplitter(Markers(), in_reasoning=True)
    assert splitter.in_reasoning
    splitter.push(None, "a</thi")
    assert splitter.in_reasoning
    splitter.push(None, "nk>")
    assert not splitter.in_reasoning
