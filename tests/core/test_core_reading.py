"""The device core reads answers as Python does: the vectors' texts, put together and damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from lfm_edge.chat import InvalidToolCall, Reasoning, Text, ToolCall, parse_tool_calls
from lfm_edge.chat.events import Event, EventSplitter
from lfm_edge.chat.markers import Markers

from tests.core.lfm_core import LIBRARY, library

pytestmark = pytest.mark.skipif(
    not LIBRARY.is_file(), reason="NOT RUN, not built: `make core` does it"
)

VECTORS = Path(__file__).parents[1] / "vectors"
THINK = ("<think>", "</think>")
BRACKETS = ("<|tool_call_start|>", "<|tool_call_end|>")
TAGS = ("<tool_call>", "</tool_call>")
PIECES = (
    *THINK,
    *BRACKETS,
    *TAGS,
    *("<function=f>", "<function= ns.g >\n", "</function>", "<parameter=a>", "</parameter>\n"),
    *(
        "<parameter=b>\n",
        "\n</parameter>\n<parameter=c>",
        "</function>\n</tool_call>",
        "{1}",
        "-0.5",
    ),
    *("[", "]", "(", ")", "{", "}", "'", '"', ",", ":", "=", "\\", "\n", " ", "`", "```json\n"),
    *("f(a='x')", "[f(a=1, b='it\\'s')]", '{"name": "f", "arguments": {"a": 1}}', "**{'a': 1}"),
    *(
        "'), g(b='",
        "', b='",
        '", b="',
        "=",
        "==",
        "r'",
        "f'{x}'",
        "é",
        "\u0661",
        "\u2003",
        "\x1c",
        "\U0001d7db",
    ),
    *("1_000", "1__0", "0x1f", "1e999", "-.5e3", "007", "True", "nuLL", "\\ud83d\\ude00", "\\u12"),
    *('"arguments":', '"function"', '"type"', "[]", ";", "$", "@", "-", "\u0130", "ﬀ", "\t"),
)
TOOLS = [
    {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {}}}}},
    {"name": "ns.g", "parameters": {"additionalProperties": True}},
    {
        "name": "get_weather",
        "parameters": {
            "properties": {
                "city": {"type": ["null", "string"]},
                "days": {
                    "const": None,
                    "oneOf": [{"anyOf": [{"type": "string"}]}, {"enum": ["1"]}],
                },
                "note": {"anyOf": [{"anyOf": [{"type": "string"}]}, True], "enum": [1, None]},
            }
        },
    },
    {
        "name": "write",
        "parameters": {
            "properties": {
                "text": {"allOf": [{"$ref": "#/$defs/a"}]},
                "path": {"$ref": "#/definitions/b"},
                "mode": {"$ref": "#/$defs/none"},
                "note": {"$ref": "#/$defs/a/anyOf/1"},
                "city": {"$ref": "#/%64efinitions/b"},
                "options": True,
                "a": {"anyOf": [{"enum": ["append", "1", True]}, {"type": "integer"}]},
                "b": {"enum": ["overwrite", 2, None]},
                "c": {"type": ["null", "string"], "enum": ["None", "3"]},
            },
            "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"const": "x"}, {"type": "null"}]}},
            "definitions": {"b": {"type": ["string", "integer"]}},
        },
    },
]


def _cases() -> list[tuple[str, Any]]:
    vectors = json.loads((VECTORS / "tool_calls.json").read_text())
    return [(case["text"], case.get("tools")) for case in vectors]


def _answers(count: int, seed: int) -> Iterator[tuple[str, Any]]:
    """Texts of the vectors, damaged and put together, with tools or without."""
    random, cases = Random(seed), _cases()
    for _ in range(count):
        text, tools = random.choice(cases)
        if random.random() < 0.3:
            text += random.choice(cases)[0]
        if random.random() < 0.2:
            text = "".join(random.choices(PIECES, k=random.randrange(1, 30)))
        for _ in range(random.randrange(4)):
            at, end = sorted(random.randrange(len(text) + 1) for _ in range(2))
            match random.randrange(4):
                case 0:
                    text = text[:at] + text[end:]
                case 1:
                    text = text[:at] + random.choice(PIECES) + text[at:]
                case 2:
                    text = text[:at] + text[at:end] * 2 + text[end:]
                case _:
                    text = text[:at]
        yield text, random.choice([tools, tools, TOOLS, None])


def _plain(value: Any) -> Any:
    """The value with its types told apart: 1, 1.0 and True are three."""
    return json.dumps(value)


def test_calls_are_read_as_in_python() -> None:
    for text, tools in _answers(3000, 1):
        calls = [
            {"name": call.name, "arguments": call.arguments}
            for call in parse_tool_calls(text, tools)
        ]
        found = library().json("parse_tool_calls", text, len(text.encode()), tools)
        assert _plain(found) == _plain(calls), (text, tools)


def _as_json(event: Event) -> dict[str, Any]:
    match event:
        case Reasoning(text):
            return {"type": "reasoning", "text": text}
        case Text(text):
            return {"type": "text", "text": text}
        case ToolCall(name, arguments):
            return {"type": "tool_call", "name": name, "arguments": arguments}
        case InvalidToolCall(text, error):
            return {"type": "invalid_tool_call", "text": text, "message": error}
        case _:
            raise AssertionError(event)


@pytest.mark.parametrize(
    "special",
    [(), (*THINK, *BRACKETS), (*THINK, *TAGS), (*BRACKETS, *TAGS)],
    ids=["text", "LFM2", "LFM3", "both"],
)
def test_events_are_those_of_python(special: tuple[str, ...]) -> None:
    random = Random(2)
    ids = {marker: index for index, marker in enumerate(special)}
    for text, tools in _answers(1500, 3 + len("".join(special))):
        in_reasoning = random.random() < 0.2
        splitter = EventSplitter(
            Markers({token: marker for marker, token in ids.items()}),
            tools or (),
            in_reasoning=in_reasoning,
        )
        tokens = list(_tokens(text, ids, random))
        events = [event for token in tokens for event in splitter.push(*token)]
        events += splitter.finish()
        answer = {
            "special_tokens": ids,
            "in_reasoning": in_reasoning,
            "tools": tools,
            "tokens": tokens,
        }
        found = library().json("split_events", answer)
        assert _plain(found) == _plain([_as_json(event) for event in events]), answer


def _tokens(text: str, ids: dict[str, int], random: Random) -> Iterator[tuple[int, str]]:
    """The text in pieces; a marker that is a token is one of them."""
    while text:
        marker = next((marker for marker in ids if text.startswith(marker)), None)
        size = len(marker) if marker else random.randrange(1, 12)
        following = [text.find(other, 1) for other in ids]
        size = size if marker else min([size, *(at for at in following if at > 0)])
        yield (ids[marker] if marker else 100), text[:size]
        text = text[size:]


@pytest.mark.parametrize(
    "tools",
    [
        [{"name": "f g"}],
        [{"function": "f", "x": "é\n"}],
        [{"name": "f", "parameters": 3}],
        [{"name": "f", "parameters": {"type": "array"}}],
        ["x  y\nz" * 40],
        [{"name": ""}],
    ],
    ids=["name", "inner", "parameters", "type", "text", "empty"],
)
def test_bad_tools_are_refused_as_in_python(tools: list[Any]) -> None:
    with pytest.raises(ValueError, match="tool") as wanted:
        parse_tool_calls("", tools)
    with pytest.raises(type(wanted.value)) as found:
        library().json("parse_tool_calls", "", 0, tools)
    assert str(found.value) == str(wanted.value)
