"""Forced tool calls parse, name a tool, and have arguments that its schema allows."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from lfm_edge import InvalidRequestError
from lfm_edge.chat import Tool, parse_tool_calls
from lfm_edge.structured import CallMarkers, Constraint, Vocabulary, tool_call_grammar
from lfm_edge.tokenizer import Tokenizer

from tests.sdk.structured.conftest import Answer

MARKERS = CallMarkers(10, 11)
DRAFT_3 = "http://json-schema.org/draft-03/schema#"
READ = {
    "name": "fs.read",
    "parameters": {
        "type": "object",
        "description": "reads a file",
        "properties": {
            "path": {"type": "string", "maxLength": 8},
            "lines": {"$ref": "#/$defs/range"},
            "limit": {"type": "integer", "minimum": 1},
            "never": False,
        },
        "required": ["limit"],
        "$defs": {"range": {"type": "array", "items": {"type": "integer"}, "maxItems": 2}},
    },
}
SEND = {
    "name": "send",
    "parameters": {
        "type": "object",
        "properties": {
            "to": {"type": "object", "properties": {"x": {"type": ["boolean", "null"]}}}
            | {"additionalProperties": False},
            "any": {"enum": ["a'b", 'c"d', "[x]", None, 1.5]},
        },
    },
}
TOOLS: list[Any] = [{"type": "function", "function": READ}, SEND, {"name": "no_arguments"}]
BY_NAME: dict[str, Any] = {"fs.read": READ, "send": SEND, "no_arguments": {"parameters": {}}}


def calls(text: str) -> list[tuple[str, dict[str, Any]]]:
    """What a strict reader makes of an answer: Python's syntax, values in JSON."""
    found = re.fullmatch(r"<\|tool_call_start\|>(\[.*\])<\|tool_call_end\|>", text, re.DOTALL)
    assert found, text
    source = found[1]
    tree = ast.parse(source, mode="eval").body
    assert isinstance(tree, ast.List)
    parsed = []
    for call in tree.elts:
        assert isinstance(call, ast.Call)
        segments = {str(k.arg): ast.get_source_segment(source, k.value) for k in call.keywords}
        arguments = {name: json.loads(value or "") for name, value in segments.items()}
        parsed.append((ast.unparse(call.func), arguments))
    return parsed


def whole_answers(vocabulary: Vocabulary, grammar: str, answer: Answer) -> list[str]:
    """Of 150 answers drawn within a grammar, those that came to an end: more than 100."""
    constraint = Constraint(vocabulary, grammar)
    texts = []
    for seed in range(150):
        constraint.start()
        text, done = answer(constraint, seed)
        if done:
            texts.append(text)
    assert len(texts) > 100
    return texts


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
def test_forced_calls_are_well_formed(vocabulary: Vocabulary, answer: Answer) -> None:
    seen: set[str] = set()
    shapes: set[tuple[str, ...]] = set()
    for text in whole_answers(vocabulary, tool_call_grammar(TOOLS, MARKERS), answer):
        made = calls(text)
        assert made
        for name, arguments in made:
            Draft202012Validator(BY_NAME[name]["parameters"]).validate(arguments)
            seen.add(name)
            shapes.add((name, *arguments))
    assert seen == set(BY_NAME)
    assert len(shapes) == 4 + 4 + 1  # each optional argument with and without the others


TAGGED: dict[str, Any] = {
    "name": "fs.write",
    "parameters": {
        "type": "object",
        "properties": {
            "path": {"type": "string", "minLength": 2, "maxLength": 8},
            "mode": {"$ref": "#/$defs/mode"},
            "text": {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 12}]},
            "lines": {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
            "any": {"enum": ["1", "true", None]},
            "limit": {"type": "integer", "minimum": 1},
            "on": {"type": ["boolean", "null"]},
        },
        "required": ["path", "limit"],
        "$defs": {"mode": {"enum": ["append", "over"]}},
    },
}


def test_forced_calls_in_tags_read_back(vocabulary: Vocabulary, answer: Answer) -> None:
    tools = [TAGGED, {"name": "no_arguments"}]
    grammar = tool_call_grammar(tools, CallMarkers(10, 11, tags=True))
    seen: set[str] = set()
    several = 0
    for answered in whole_answers(vocabulary, grammar, answer):
        text = answered.replace("<|tool_call_start|>", "<tool_call>")
        text = text.replace("<|tool_call_end|>", "</tool_call>")
        made = parse_tool_calls(text, tools)
        assert len(made) == text.count("<tool_call>")
        several += len(made) > 1
        for call in made:
            if call.name == "fs.write":
                Draft202012Validator(TAGGED["parameters"]).validate(call.arguments)
                seen |= call.arguments.keys()
            seen.add(call.name)
    assert several
    assert seen == {"fs.write", "no_arguments", *TAGGED["parameters"]["properties"]}


Forced = Callable[[Any, str], bool]


@pytest.fixture
def forced(vocabulary: Vocabulary, tokenizer: Tokenizer) -> Forced:
    """Whether a call in tags may give the parameter `a` this text, where its schema is this."""

    def allows(schema: Any, text: str) -> bool:
        properties = {"a": schema, "b": {"type": "integer"}}
        parameters = {"properties": properties, "$defs": DEFINITIONS}
        tools = [{"name": "f", "parameters": parameters}]
        constraint = Constraint(vocabulary, tool_call_grammar(tools, CallMarkers(10, 11, True)))
        rest = "<parameter=b>\n1\n</parameter>\n</function>\n"
        inner = f"\n<function=f>\n<parameter=a>\n{text}\n</parameter>\n{rest}"
        for token in [10, *tokenizer.encode(inner), 11]:
            if not int(constraint.mask()[token // 32]) >> token % 32 & 1:
                return False
            constraint.advance(token)
        [call] = parse_tool_calls(f"<tool_call>{inner}</tool_call>", tools)
        assert call.arguments["a"] in (text, json.loads(text) if text in LITERALS else text)
        assert call.arguments["b"] == 1
        Draft202012Validator(parameters).validate(call.arguments)
        return True

    return allows


LITERALS = {"null", "1", "3", "7", "2.5", "true"}
DEFINITIONS = {"units": {"enum": ["C", "F"], "type": "string"}}


@pytest.mark.parametrize(
    ("schema", "allowed", "refused"),
    [
        ({"oneOf": [{"const": "x"}, {"const": "y"}, {"const": 3}]}, ["x", "y", "3"], ["z", "4"]),
        ({"type": "string", "oneOf": [{"const": "x"}, {"const": "y"}]}, ["x", "y"], ["null"]),
        ({"allOf": [{"type": "string"}, {"enum": ["x", "yy"]}]}, ["x", "yy"], ["z"]),
        ({"allOf": [{"minLength": 2}, {"type": "string"}, {"minLength": 3}]}, ["xyz"], ["xy"]),
        ({"anyOf": [{"enum": ["x", "y"]}, {"type": "null"}]}, ["x", "y", "null"], ["z"]),
        ({"anyOf": [{"type": "string", "maxLength": 1}, {"const": "long"}]}, ["x", "long"], ["lo"]),
        ({"type": ["string", "null"], "enum": ["x", None, 3]}, ["x", "null"], ["3"]),
        ({"type": "string", "enum": ["x", None], "const": "x"}, ["x"], ["null"]),
        ({"enum": ["auto", 1, 2.5, True]}, ["auto", "1", "2.5", "true"], ["2", "null", '"auto"']),
        ({"anyOf": [{"const": "all"}, {"type": "integer"}]}, ["all", "7"], ["a", "1.5"]),
        ({"anyOf": [{"$ref": "#/$defs/units"}, {"enum": [1, None]}]}, ["C", "1", "null"], ["2"]),
        ({"anyOf": [{"type": "string", "format": "date"}, {"type": "string"}]}, ["x"], []),
        ({"enum": ["a", "bbb"], "minLength": 2, "maxLength": 3.0}, ["bbb"], ["a"]),
        ({"allOf": [{"$ref": "#/$defs/units"}, {"$ref": "#/$defs/units"}]}, ["C", "F"], ["K"]),
        ({"type": "boolean", "enum": ["true", True]}, ["true"], ["false"]),
        ({"$ref": "#/$defs/units", "description": "of measure"}, ["C", "F"], ["K"]),
        ({"type": "string", "minLength": 1.0, "maxLength": 2.0}, ["xy"], ["", "xyz"]),
        (
            {"type": "string"},
            ["", "\n\nx\n", "\n", "<parameter=b>", "</function>\n", "x\n<parameter=b>\n2", "null"],
            ["x</parameter>\n<parameter=b>\n2", "x</parameter></function>", "</parameter>x"],
        ),
        *(
            (
                {"type": "string", "minLength": least, "maxLength": most},
                ["x" * least, "y\n" * (most // 2), "a text " * (least // 7 + 1), "<p>" * least],
                ["</parameter>" * (least // 12 + 1), "x" * (most + 1), "x" * (least - 1)],
            )
            for least, most in ((1, 100), (1, 8000))
        ),
        *(
            (
                {"type": "string", "minLength": least, "maxLength": most},
                ["x" * least, "x" * most, "<" + "x" * (most - 1), "x" * least + "\n</p>\n"],
                ["x" * (most + 1), "x" * (least - 1), "x" * (least - 1) + "</parameter>"],
            )
            for least, most in ((2, 150), (3, 150), (65, 130), (900, 8000))
        ),
        (
            {"type": "string", "maxLength": 150},
            ["", "<p>a</p>", "</para </parameter < "],
            ["x" * 151],
        ),
        ({"type": "string", "maxLength": 2**40}, ["", "x"], []),
        ({"enum": [f"t{i}" for i in range(5000)]}, ["t0", "t4999"], ["t5000", "t", ""]),
        ({"enum": ["", "x"]}, ["", "x"], ["xx"]),
        ({"type": "string", "minLength": 1}, ["<div>", "a\n", "x</parameter"], ["", "\n"]),
        ({"type": "string", "minLength": 5, "maxLength": 5}, ["xyzxy", "<pre>"], ["xyz"]),
        ({"type": "string", "minLength": 1, "maxLength": 1}, ["x"], ["", "xy"]),
    ],
)
def test_texts_in_tags(schema: Any, allowed: list[str], refused: list[str], forced: Forced) -> None:
    assert [text for text in [*allowed, *refused] if forced(schema, text)] == allowed


def test_a_schema_of_itself_is_followed_once() -> None:
    itself = {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "string", "maxLength": 2}]}
    parameters = {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": itself}}
    tools = [{"name": "f", "parameters": parameters}]
    assert "{0,2}" in tool_call_grammar(tools, CallMarkers(10, 11, tags=True))


def test_a_long_chain_of_references_is_refused() -> None:
    chain: dict[str, Any] = {str(i): {"$ref": f"#/$defs/{i + 1}"} for i in range(3000)}
    parameters = {"properties": {"a": chain["0"]}, "$defs": {**chain, "3000": {"const": "1"}}}
    tools = [{"name": "f", "parameters": parameters}]
    text = "<tool_call><function=f><parameter=a>1</parameter></function></tool_call>"
    assert parse_tool_calls(text, tools)[0].arguments == {"a": "1"}
    with pytest.raises(InvalidRequestError, match="nest too deep at #/properties/a"):
        tool_call_grammar(tools, CallMarkers(10, 11, tags=True))


def test_a_type_of_an_older_draft_is_passed_over() -> None:
    odd = [{"type": "string", "minLength": "3"}, {"minLength": [4]}, {"maxLength": None}]
    schema = {"type": ["string", {}], "allOf": odd}
    parameters = {"$schema": DRAFT_3, "properties": {"a": schema}}
    tools = [{"name": "f", "parameters": parameters}]
    assert "{0,}" in tool_call_grammar(tools, CallMarkers(10, 11, tags=True))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"a>b": {}}, "tool 'f': the name 'a>b' cannot stand in <parameter=NAME>"),
        ({"a\nb": {}}, "cannot stand in"),
        ({" a": {}}, "cannot stand in"),
        ({"": {}}, "cannot stand in"),
        ({"a" * 129: {}}, "cannot stand in"),
        ({"a": {"const": "x", "enum": ["y"]}}, "no text is allowed at #/properties/a"),
        ({"a": {"type": "string", "minLength": 3, "maxLength": 2}}, "no text is allowed"),
        ({"a": {"enum": ["a", "bbb"], "minLength": 4}}, "no text is allowed"),
        ({"a": {"oneOf": [{"enum": ["a", "b"]}, {"enum": ["b", "c"]}]}}, "oneOf overlap at"),
        ({"a": {"oneOf": [{"type": "string"}, {"const": "a"}]}}, "oneOf may overlap at"),
        ({"a": {"type": "string", "oneOf": [{"maxLength": 5}, {"minLength": 3}]}}, "may overlap"),
        ({"a": {"type": ["string", "null"], "oneOf": [{"type": "null"}] * 2}}, "oneOf overlap"),
        ({"a": {"enum": ["x</parameter>"]}}, "the text 'x</parameter>' cannot stand before"),
        ({"a": {"allOf": [{"enum": ["1", 1]}, {"type": "integer"}]}}, "may look alike"),
        ({"a": {"type": "string", "anyOf": [{"type": "null"}, {"maxLength": 5}]}}, "look alike"),
        ({"a": {"anyOf": [{"const": "a"}, {"minLength": 2}, {"type": "boolean"}]}}, "look alike"),
        ({"a": {"allOf": [{"anyOf": [{"type": "string"}] * 10}] * 9}}, "more than 1000 choices"),
    ],
)
def test_what_tags_cannot_hold_is_refused(schema: Any, message: str) -> None:
    tools = [{"name": "f", "parameters": {"properties": schema}}]
    with pytest.raises(InvalidRequestError, match=message):
        tool_call_grammar(tools, CallMarkers(10, 11, tags=True))


@pytest.mark.parametrize("keyword", ["pattern", "format"])
def test_strings_in_tags_have_no_pattern(keyword: str) -> None:
    schema = {"properties": {"a": {"type": "string", keyword: "date"}}}
    message = f"tool 'f': keyword '{keyword}' is not supported at #/properties/a"
    with pytest.raises(InvalidRequestError, match=message):
        tool_call_grammar([{"name": "f", "parameters": schema}], CallMarkers(10, 11, tags=True))


def test_text_may_come_before_calls_or_alone(vocabulary: Vocabulary, answer: Answer) -> None:
    constraint = Constraint(vocabulary, tool_call_grammar(TOOLS[2:], MARKERS, text=True))
    kinds = set()
    for seed in range(60):
        constraint.start()
        text, done = answer(constraint, seed)
        if done:
            before, start, rest = text.partition("<|tool_call_start|>")
            kinds.add((bool(before), bool(start)))
            assert not start or calls(start + rest)
    assert kinds >= {(True, False), (False, True)}


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ([], "tools: there are none to call"),
        ([{"parameters": {}}], "tools: expected"),
        ([{"name": "f g"}], "tool 'f g': expected a name of letters"),
        (
            [{"name": "f", "parameters": {"properties": {"a": {"enum": 5}}}}],
            "tool f: parameters.properties.a.enum: 5 is not of type 'array'",
        ),
        (
            [{"name": "f", "parameters": {"$schema": DRAFT_3, "required": True}}],
            "tool 'f': 'required': expected a list of names at #",
        ),
        ([{"name": "f", "parameters": {"required": [[]]}}], "tool f: parameters.required[0]"),
        (
            [{"name": "f", "parameters": {"properties": {"a": {"not": {}}}}}],
            "tool 'f': keyword 'not' is not supported at #/properties/a",
        ),
        (
            [{"name": "f", "parameters": {"anyOf": [{}]}}],
            "tool 'f': keyword 'anyOf' is not supported at #",
        ),
        ([{"name": "f", "parameters": {"type": "array"}}], "tool f: parameters: got type"),
        (
            [{"name": "f", "parameters": {"required": ["a"]}}],
            "tool 'f': 'a' is required but not among properties",
        ),
        (
            [{"name": "f", "parameters": {"properties": {"a": {"$ref": "#"}}}}],
            "tool 'f': '$ref' '#' is not supported in parameters",
        ),
    ],
)
def test_tools_that_cannot_be_forced_are_refused_by_name(tools: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(message)):
        tool_call_grammar(tools, MARKERS)


def test_markers_are_the_tokenizers(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CallMarkers.of(tokenizer) == MARKERS
    monkeypatch.setattr(tokenizer, "added_id", {"<tool_call>": 8, "</tool_call>": 9}.get)
    assert CallMarkers.of(tokenizer) == CallMarkers(8, 9, tags=True)
    monkeypatch.setattr(tokenizer, "added_id", {"<|tool_call_start|>": 10}.get)
    with pytest.raises(InvalidRequestError, match="cannot be forced"):
        CallMarkers.of(tokenizer)


def test_tools_are_taken_as_their_json_is() -> None:
    tools = [Tool.from_json(tool) for tool in TOOLS]
    assert tool_call_grammar(tools, MARKERS) == tool_call_grammar(TOOLS, MARKERS)
