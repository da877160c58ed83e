"""Reads calls written as JSON: `[{"name": "f", "arguments": {"a": 1}}]`, and its drifts.

Also one object without a list, several in a row, OpenAI's `{"type": "function", "function": {..}}`,
`parameters`, `args` or `input` for `arguments`, arguments as a string that holds JSON, Python's
literals, and `{"f": {"a": 1}}` where `f` is a known tool.
"""

from __future__ import annotations

import re
from typing import Any

from .calls import InvalidToolCall, ParsedCalls, ToolCall, ToolNames
from .literals import LiteralError, read_literal

__all__ = ["parse_json_calls"]

_ARGUMENTS = ("arguments", "parameters", "args", "input")
_NAMES = ("name", "tool", "tool_name", "function")
_IGNORED = {"type", "id", "index"}

_BETWEEN = re.compile(r"[\s,;\[\]]*+")
_NEXT_OBJECT = re.compile(r"\}[\s\],;\[]*+(?=\{)")


def parse_json_calls(text: str, tools: ToolNames) -> ParsedCalls:
    """Reads every object of `text` as a call; one that cannot be read leaves the others.

    Objects count one by one, so a list that is cut off keeps its whole calls.
    """
    found = ParsedCalls()
    at = _between(text, 0)
    while at < len(text):
        start = at
        try:
            value, at = read_literal(text, at)
            found.calls.append(_call(value, tools))
        except LiteralError as error:
            following = _NEXT_OBJECT.search(text, max(error.at - 1, start))
            at = following.end() if following else len(text)
            found.errors.append(InvalidToolCall(text[start:at], str(error)))
        except _NoCallError as error:
            found.errors.append(InvalidToolCall(text[start:at], str(error)))
        at = _between(text, at)
    return found


class _NoCallError(ValueError):
    """A JSON value that is no call."""


def _between(text: str, at: int) -> int:
    match = _BETWEEN.match(text, at)
    return match.end() if match else at


def _call(value: Any, tools: ToolNames) -> ToolCall:
    if not isinstance(value, dict):
        raise _NoCallError('expected an object with "name" and "arguments"')
    if isinstance(value.get("function"), dict):
        return _call(value["function"], tools)
    name = next((value[key] for key in _NAMES if isinstance(value.get(key), str)), None)
    if name is not None:
        return ToolCall(name, _arguments(value))
    if len(value) == 1:
        name, arguments = next(iter(value.items()))
        if name in tools and isinstance(arguments, dict):
            return ToolCall(name, arguments)
    raise _NoCallError('the object has no "name"')


def _arguments(value: dict[str, Any]) -> dict[str, Any]:
    key = next((key for key in _ARGUMENTS if key in value), None)
    if key is None:
        if others := value.keys() - _IGNORED - set(_NAMES):
            raise _NoCallError(f'the arguments must stand under "arguments", got {sorted(others)}')
        return {}
    arguments = value[key]
    if isinstance(arguments, str):
        try:
            arguments, end = read_literal(arguments, _between(arguments, 0))
        except LiteralError as error:
            raise _NoCallError(f'"{key}": {error}') from None
        if _between(value[key], end) != len(value[key]):
            raise _NoCallError(f'"{key}": expected one object')
    if arguments is None:
        return {}
    if not isinstance(arguments, dict):
        raise _NoCallError(f'"{key}": expected an object')
    return arguments
