"""Messages as clients send them, made into the JSON values that templates are written for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InvalidRequestError

__all__ = ["normalize_messages", "plain"]

_REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")


def normalize_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A copy of `messages` of nothing but JSON's types, as templates expect them.

    As in transformers, fields that are null are dropped, and reasoning stands under each of its
    names. Beyond it: an empty `tool_calls` is dropped, and the arguments of a call, which OpenAI's
    clients send as JSON text, become an object.

    Raises:
        InvalidRequestError: a message is no mapping, holds a value that is not JSON, or has calls
            without a list or arguments without an object.
    """
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise InvalidRequestError(
                f"messages[{index}]: got a {type(message).__name__}, expected a mapping"
            )
    return [
        _normalize(message, f"messages[{index}]")
        for index, message in enumerate(plain([dict(message) for message in messages]))
    ]


def plain(values: Any) -> Any:
    """A copy of nothing but JSON's types: objects with methods of their own stay outside.

    Raises:
        InvalidRequestError: a value is not one of JSON's.
    """
    try:
        return json.loads(json.dumps(values))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"the chat holds a value that is not JSON: {error}") from None


def _normalize(message: dict[str, Any], where: str) -> dict[str, Any]:
    given = {name: value for name, value in message.items() if value is not None}
    calls = given.pop("tool_calls", [])
    if not isinstance(calls, list):
        raise InvalidRequestError(f"{where}.tool_calls: expected a list of calls")
    if calls:
        given["tool_calls"] = [
            _with_object(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(calls)
        ]
    if isinstance(given.get("function_call"), dict):
        given["function_call"] = _with_object(given["function_call"], f"{where}.function_call")
    for field in _REASONING_FIELDS:
        if field in given:
            return {"thinking": given[field], **given, "reasoning_content": given[field]}
    return given


def _with_object(call: Any, where: str) -> dict[str, Any]:
    """The call with its arguments as an object, whether it is wrapped in `function` or not."""
    if not isinstance(call, dict):
        raise InvalidRequestError(f"{where}: got a {type(call).__name__}, expected an object")
    if isinstance(call.get("function"), dict):
        return {**call, "function": _with_object(call["function"], f"{where}.function")}
    if "arguments" not in call:
        return call
    return {**call, "arguments": _arguments(call["arguments"], f"{where}.arguments")}


def _arguments(value: Any, where: str) -> Any:
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise InvalidRequestError(f"{where}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidRequestError(
            f"{where}: got a {type(value).__name__}, expected an object or its JSON text"
        )
    return value
