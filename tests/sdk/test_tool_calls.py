"""Calls are read as they were meant, from whatever a template renders or a model makes of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from lfm_edge import InvalidRequestError
from lfm_edge.chat import (
    EventSplitter,
    InvalidToolCall,
    Markers,
    Text,
    Tool,
    ToolCall,
    parse_tool_calls,
)
from lfm_edge.chat.template import ChatTemplate

from tests.sdk import vectors
from tests.sdk.chat_templates import TEMPLATES

CASES = vectors.read("tool_calls.json")
START, END = "<|tool_call_start|>", "<|tool_call_end|>"
TEMPLATE_OF = {name: ChatTemplate(source) for name, source in TEMPLATES.items()}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_vectors(case: dict[str, Any]) -> None:
    calls = parse_tool_calls(case["text"], case.get("tools"))
    assert json.dumps([[call.name, call.arguments] for call in calls]) == json.dumps(
        [[call["name"], call["arguments"]] for call in case["calls"]]
    )


def test_the_table_is_large() -> None:
    assert len({case["name"] for case in CASES}) == len(CASES) > 200


# A string as templates write it is ambiguous where it holds the text of an argument's or a call's
# end and of what comes next, or where a model that escapes quotes would have written the same.
_NEXT_ARGUMENT = r"{quote}\s*,\s*(?:[\w$@.-]+\s*=(?!=)|\*\*\s*\{{)"
_NEXT_CALL = r"{quote}\s*,?\s*\)(?:\s*\][\s,;]*\[|\s*[,;]|\s*\n)\s*[\w$@./:-]+\s*\("
AMBIGUOUS = {
    quote: re.compile(f"{_NEXT_ARGUMENT}|{_NEXT_CALL}".format(quote=quote)) for quote in "'\""
}


def is_ambiguous(text: str) -> bool:
    escaped = re.search(r"(?<!\\)(?:\\\\)*\\['\"]", text)
    return bool(escaped) or any(pattern.search(text) for pattern in AMBIGUOUS.values())


NASTY = st.text(
    st.one_of(st.sampled_from("'\"\\[](){},=.:;*<>|\n\0 abf_1"), st.characters(codec="utf-8")),
    max_size=24,
)
PIECES = ["'", '"', "')", "')]", '")]', "', ", "f(", "[", "]", "b=", "'x'", ">= 1", "\\", "\n", "é"]
STRINGS = st.one_of(NASTY, st.lists(st.sampled_from(PIECES), max_size=8).map("".join)).filter(
    lambda text: not is_ambiguous(text) and END not in text
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
)
NESTED = st.recursive(
    st.one_of(SCALARS, NASTY),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NASTY, inner, max_size=4)),
    max_leaves=12,
).filter(lambda value: not isinstance(value, str))
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
FUNCTIONS = st.one_of(NAMES, st.lists(NAMES, min_size=2, max_size=3).map(".".join))
CALLS = st.lists(
    st.builds(
        ToolCall,
        FUNCTIONS,
        st.dictionaries(
            st.one_of(NAMES, st.sampled_from(["from", "class", "None", "true", "user-agent"])),
            st.one_of(STRINGS, NESTED),
            max_size=4,
        ),
    ),
    min_size=1,
    max_size=3,
)


def rendered(template: ChatTemplate, calls: list[ToolCall]) -> str:
    """What a template makes of an answer that is these calls."""
    functions = [{"name": call.name, "arguments": call.arguments} for call in calls]
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Do it."},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "function": function} for function in functions],
        },
    ]
    text = template.render(messages, add_generation_prompt=False)
    return text.split("<|im_start|>assistant\n", 1)[1].removesuffix("<|im_end|>\n")


@pytest.mark.parametrize("name", TEMPLATES)
@given(calls=CALLS)
def test_what_a_template_renders_reads_back(name: str, calls: list[ToolCall]) -> None:
    text = rendered(TEMPLATE_OF[name], calls)
    assert parse_tool_calls(text) == calls
    assert parse_tool_calls(text, [tool_of(call) for call in merged(calls)]) == calls


@pytest.mark.parametrize("name", TEMPLATES)
@given(
    before=st.text("ab (['\"", max_size=6),
    inner=st.sampled_from(["'x', other='y'", '"x", other="y"', "'x'), other(z='y'"]),
    after=st.text("ab )]'\"", max_size=6),
    next_value=STRINGS,
)
def test_known_names_resolve_what_is_ambiguous(
    name: str, before: str, inner: str, after: str, next_value: str
) -> None:
    """A string that holds another call: its first quote opens one of that call's strings."""
    text = f"{before}'{inner}{after}" if "'" in inner else f'{before}"{inner}{after}'
    quote = '"' if name == "LFM2" else "'"
    assume(quote in inner and quote in text[: text.index("other")])
    assume(text.index(quote) < text.index("other") - 4)
    calls = [ToolCall("run", {"code": text, "then": next_value})]
    tool = {"name": "run", "parameters": properties("code", "then")}
    assert parse_tool_calls(rendered(TEMPLATE_OF[name], calls), [tool]) == calls


def properties(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {} for name in names}}


def merged(calls: list[ToolCall]) -> list[ToolCall]:
    together: dict[str, dict[str, Any]] = {}
    for call in calls:
        together.setdefault(call.name, {}).update(call.arguments)
    return [ToolCall(name, arguments) for name, arguments in together.items()]


def tool_of(call: ToolCall) -> Tool:
    return Tool(call.name, parameters=properties(*call.arguments))


TAGS = st.sampled_from(
    ["<parameter=a>", "</parameter>", "<function=f>", "</function>", "<tool_call>", "</tool_call>"]
)
PLAIN = st.lists(st.one_of(NASTY, TAGS), max_size=3).map("".join)
NAMED = st.dictionaries(NAMES, st.one_of(PLAIN, NESTED), max_size=4)


def tags(call: ToolCall) -> str:
    """As LFM3 writes it; the source of the form is that of `xml_calls.py`."""
    values = [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in call.arguments.items()
    ]
    body = "".join(f"<parameter={name}>\n{value}\n</parameter>\n" for name, value in values)
    return f"<tool_call>\n<function={call.name}>\n{body}</function>\n</tool_call>"


def is_split(call: ToolCall) -> bool:
    """Whether a string holds what might end it."""
    text = tags(call)
    names = len(call.arguments)
    return any(text.count(tag) != n for tag, n in (("</parameter>", names), ("<parameter=", names)))


def string_tool(call: ToolCall) -> Tool:
    types = {name: {"type": "string"} for name, v in call.arguments.items() if isinstance(v, str)}
    return Tool(call.name, parameters={"type": "object", "properties": types})


@given(st.lists(st.builds(ToolCall, FUNCTIONS, NAMED), min_size=1, max_size=3))
def test_tags_read_back(calls: list[ToolCall]) -> None:
    assume(len({call.name for call in calls}) == len(calls))
    assume(not any(map(is_split, calls)))
    tokens = {"<tool_call>": 1, "</tool_call>": 2, "<think>": 3, "</think>": 4}
    splitter = EventSplitter(Markers.of(tokens.get), [string_tool(call) for call in calls])
    events = []
    for call in calls:
        inner = tags(call).removeprefix("<tool_call>").removesuffix("</tool_call>")
        for token, text in ((1, "<tool_call>"), (9, inner), (2, "</tool_call>"), (9, "\n")):
            events += splitter.push(token, text)
    assert [*events, *splitter.finish()] == [*calls, Text("\n")]


@given(st.lists(st.builds(ToolCall, FUNCTIONS, NAMED), min_size=1, max_size=3), PLAIN)
def test_a_value_may_hold_calls(inner: list[ToolCall], text: str) -> None:
    assume(not any(map(is_split, inner)) and "<" not in text)
    assume("tool_call>" not in "".join(str(call.arguments) for call in inner))
    value = f"{text}\n" + "\n".join(map(tags, inner)) + f"\n{text}."
    call = ToolCall("write", {"text": value, "mode": 1})
    assert parse_tool_calls(tags(call)) == [call]


@given(calls=CALLS, python=st.booleans())
def test_json_reads_back(calls: list[ToolCall], python: bool) -> None:
    items = [{"name": call.name, "arguments": call.arguments} for call in calls]
    text = repr(items) if python else json.dumps(items, ensure_ascii=False)
    assert parse_tool_calls(f"{START}{text}{END}") == calls
    assert parse_tool_calls(text) == calls


@given(
    st.lists(
        st.one_of(
            st.sampled_from([START, END, "<think>", "</think>", "[f(", *PIECES, "a", "{}", ","]),
            TAGS,
        )
    )
)
def test_any_text_gives_calls_that_json_holds(parts: list[str]) -> None:
    for call in parse_tool_calls("".join(parts)):
        json.dumps(call.arguments, allow_nan=False)


@given(NASTY)
def test_any_characters_do_no_harm(text: str) -> None:
    for whole in (text, START + text, f"{START}[f(a={text})]{END}", f"{START}[f(a='{text}{END}"):
        for call in parse_tool_calls(whole):
            json.dumps(call.arguments, allow_nan=False)


def error_of(text: str) -> str:
    splitter = EventSplitter(Markers())
    events = [*splitter.push(None, f"{START}{text}{END}"), *splitter.finish()]
    (event,) = events
    assert isinstance(event, InvalidToolCall)
    return event.error


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[f(a=oops)]", "f: a: expected a value, got 'oops)]'"),
        ("[f('Paris')]", "f: expected name=value, got \"'Paris')]\""),
        ("[f(a='x]", 'f: a: the string "\'x]" does not end'),
        ("[f(a=1, a=2)]", "f: a is given twice"),
        ("[f(a=1e999)]", "f: a: the number 1e999 has no value in JSON"),
        ("[f(a=1 b=2)]", "f: expected ',' or ')', got 'b=2)]'"),
        ("[f(**[1])]", "f: expected name=value, got '**[1])]'"),
        ("[f(a={'b': 1, 2})]", "f: a: expected ':', got '})]'"),
        ("[f(a=[1 2])]", "f: a: expected ',' or ']', got '2])]'"),
        ("I call f.", "expected a call, got 'I call f.'"),
        ('{"name": "f", "arguments": [1]}', '"arguments": expected an object'),
        ('{"arguments": {}}', 'the object has no "name"'),
        ('{"name": "f", "a": 1}', "the arguments must stand under \"arguments\", got ['a']"),
    ],
)
def test_what_was_wrong_is_said(text: str, error: str) -> None:
    assert error_of(text).startswith(error)


def test_a_malformed_tool_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="tools: expected"):
        parse_tool_calls("", [{"type": "function"}])
