"""Tools come from functions and from JSON, and say what is wrong with a call."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jsonschema
import msgspec
import pytest
from lfm_edge import InvalidRequestError
from lfm_edge.chat import Tool, ToolCall, parse_tool_calls, problem_of

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Looks it up.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "minimum": 1},
                "unit": {"enum": ["celsius", "kelvin"]},
                "where": {"type": "array", "items": {"type": "object", "required": ["x"]}},
            },
            "required": ["city"],
        },
    },
}


class Unit(enum.Enum):
    CELSIUS = "celsius"
    KELVIN = "kelvin"


@dataclass
class Place:
    name: str
    height: float = 0.0


def forecast(
    place: Place,
    unit: Unit,
    days: Annotated[int, msgspec.Meta(ge=1, le=14)] = 3,
    kind: Literal["short", "long"] = "short",
    tags: list[str] | None = None,
) -> str:
    """Tells the weather
    to come.

    Over several days.

    Args:
        place: where, by
            name.
        unit (Unit): of temperature: one of two.
        days: how many.

    Returns:
        The forecast, in
        words: plain ones.

    Raises:
        ValueError: never.
    """
    return f"{place.name} {place.height} {unit.name} {days} {kind} {tags}"


def test_a_function_gives_its_schema() -> None:
    tool = Tool.from_function(forecast)
    assert tool.name == "forecast"
    assert tool.description == "Tells the weather to come.\n\nOver several days."
    properties = tool.parameters["properties"]
    assert {name: schema.get("description") for name, schema in properties.items()} == {
        "place": "where, by name.",
        "unit": "of temperature: one of two.",
        "days": "how many.",
        "kind": None,
        "tags": None,
    }
    assert properties["days"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 14,
        "description": "how many.",
    }
    assert properties["kind"] == {"enum": ["long", "short"]}
    assert tool.parameters["required"] == ["place", "unit"]
    assert tool.parameters["$defs"]["Unit"]["enum"] == ["celsius", "kelvin"]
    jsonschema.Draft202012Validator.check_schema(dict(tool.parameters))


def test_a_function_runs_with_the_types_that_it_declares() -> None:
    tool = Tool.from_function(forecast)
    text = "[forecast(place={'name': 'Rome'}, unit='kelvin', days=2, tags=['a'])]"
    (call,) = parse_tool_calls(f"<|tool_call_start|>{text}<|tool_call_end|>", [tool])
    assert tool.run(call.arguments) == "Rome 0.0 KELVIN 2 short ['a']"
    with pytest.raises(InvalidRequestError, match="days: 99 is greater than the maximum of 14"):
        tool.run({"place": {"name": "Rome"}, "unit": "kelvin", "days": 99})
    with pytest.raises(InvalidRequestError, match="has no function to run"):
        Tool("f").run({})


def test_a_function_without_anything() -> None:
    tool = Tool.from_function(lambda: 3, "three")
    assert tool.to_json()["function"] == {
        "name": "three",
        "description": "",
        "parameters": {"type": "object", "properties": {}, "required": []},
    }
    assert tool.run({}) == 3


def untyped(a, b: int) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    pass


def variadic(*names: str) -> None:
    pass


def unsupported(value: complex | object) -> None:
    pass


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (untyped, "tool untyped: parameter a has no type hint"),
        (variadic, "tool variadic: parameter names cannot be given by name"),
        (unsupported, "tool unsupported: "),
    ],
)
def test_a_function_that_json_cannot_call_is_refused(function: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        Tool.from_function(function)


def test_json_is_read_in_both_forms() -> None:
    tool = Tool.from_json(WEATHER)
    assert tool == Tool.from_json(WEATHER["function"])
    assert tool.to_json() == WEATHER
    for given in ({"name": "f"}, {"function": {"strict": True, "name": "f"}, "type": "function"}):
        assert Tool.from_json(given).to_json() == given  # templates print it as it came
    renamed = dataclasses.replace(Tool.from_json({"name": "f"}), name="g")
    assert renamed.to_json()["function"]["name"] == "g"
    assert Tool.from_json({"name": "f"}).parameters == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"type": "function"}, "tools: expected"),
        ({"name": 3}, "tools: expected"),
        ({"name": "a b"}, "tool 'a b': expected a name"),
        ({"name": ""}, "tool '': expected a name"),
        ({"name": "f", "parameters": []}, "tool f: parameters: expected a JSON Schema"),
        ({"name": "f", "parameters": {"type": "string"}}, "tool f: parameters: got type 'string'"),
        (
            {"name": "f", "parameters": {"properties": {"a": {"type": "text"}}}},
            "tool f: parameters.properties.a",
        ),
    ],
)
def test_a_malformed_tool_is_refused(value: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message) as caught:
        Tool.from_json(value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"city": "Rome"}, None),
        ({"city": "Rome", "days": 2, "unit": "kelvin", "where": [{"x": 1}]}, None),
        ({}, "get_weather: 'city' is a required property"),
        ({"city": 3}, "get_weather: city: 3 is not of type 'string'"),
        ({"city": "Rome", "days": 0}, "get_weather: days: 0 is less than the minimum of 1"),
        (
            {"city": "Rome", "unit": "C"},
            "get_weather: unit: 'C' is not one of ['celsius', 'kelvin']",
        ),
        (
            {"city": "Rome", "where": [{"x": 1}, {}]},
            "get_weather: where[1]: 'x' is a required property",
        ),
        (
            {"town": "Rome"},
            "get_weather: unknown parameter 'town' (it takes city, days, unit, where); "
            "'city' is a required property",
        ),
    ],
)
def test_what_is_wrong_with_the_arguments(arguments: dict[str, Any], problem: str | None) -> None:
    tool = Tool.from_json(WEATHER)
    assert tool.problem(arguments) == problem
    assert problem_of(ToolCall("get_weather", arguments), [tool]) == problem


def test_a_problem_is_one_short_line() -> None:
    tool = Tool("f", parameters={"properties": {"a": {"enum": ["x"]}}, "required": ["b"]})
    arguments = {"a": "\n" * 9999 + "z" * 9999, **{f"p{i}": i for i in range(99)}}
    problem = tool.problem(arguments)
    assert problem
    assert len(problem) < 2000
    assert len(problem.splitlines()) == 1


def test_an_unknown_tool_is_told_what_there_is() -> None:
    tools = [Tool("get_weather"), Tool("send_mail")]
    assert problem_of(ToolCall("get_wether", {}), tools) == (
        "there is no tool 'get_wether'; did you mean get_weather?"
    )
    assert problem_of(ToolCall("x", {}), tools) == (
        "there is no tool 'x'; there are get_weather, send_mail"
    )
    assert problem_of(ToolCall("x", {}), []) == "there is no tool 'x'; there are none"


def test_a_schema_may_allow_more_names() -> None:
    open_schema = {"properties": {"a": {}}, "additionalProperties": {"type": "integer"}}
    tool = Tool("f", parameters=open_schema)
    assert tool.parameter_names is None
    assert tool.problem({"b": 1}) is None
    assert tool.problem({"b": "x"}) == "f: b: 'x' is not of type 'integer'"
    closed = Tool("f", parameters={"properties": {"a": {}}, "additionalProperties": False})
    assert closed.parameter_names == frozenset({"a"})


def test_references_stay_within_the_schema() -> None:
    inner = {"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}
    assert Tool("f", parameters=inner).problem({"a": "x"}) == "f: a: 'x' is not of type 'integer'"
    outer = {"properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}
    problem = Tool("f", parameters=outer).problem({"a": 1})
    assert problem == "f: the schema refers to http://127.0.0.1:9/schema.json, which is not in it"


@pytest.mark.parametrize("dialect", [5, [], {}, None])
def test_a_dialect_that_is_no_text_is_refused(dialect: object) -> None:
    with pytest.raises(InvalidRequestError, match=r"parameters\.\$schema"):
        Tool("f", parameters={"type": "object", "$schema": dialect})


def test_an_integer_beyond_all_floats_is_a_problem() -> None:
    tool = Tool("f", parameters={"type": "object", "properties": {"a": {"multipleOf": 0.1}}})
    assert tool.problem({"a": 10**400}) == "f: an integer is too large"
