"""Conversations as clients send them, and texts with whatever they may hold."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

from .choices import ABSENT, Choices, present
from .tokenizer_files import MARKERS

__all__ = ["Conversation", "as_meant", "draw_conversation", "draw_text", "without_markers"]

_PIECES = (
    *("the thing", "Hello", " in the ", "\n", "\n\n", "  ", "1234567", "caf\u00e9", "\U0001f600"),
    *("it's", " said\t", "cafe\u0301", "{{ x }}", "<|im", "_end|>", "<b>&amp;</b>", "'quoted'"),
)
_FOREIGN = ("user", "tool")


@dataclass(frozen=True)
class Conversation:
    """What is asked of `chat`."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    variables: dict[str, Any]


def draw_text(choices: Choices, markers: int = 10) -> str:
    """Some text, with control tokens spelled out in so many pieces of a hundred."""
    pieces = [
        choices.one(*MARKERS) if choices.rarely(markers) else choices.one(*_PIECES)
        for _ in range(choices.number(1, 5))
    ]
    return "".join(pieces)


def draw_conversation(choices: Choices) -> Conversation:
    """One to four turns."""
    messages = []
    if choices.rarely(30):
        messages.append({"role": "system", "content": draw_text(choices, markers=2)})
    messages.append(_user(choices))
    for _ in range(choices.number(0, 2)):
        messages.append(_assistant(choices))
        role = choices.usual("user", "tool")
        messages.append(_tool(choices) if role == "tool" else _user(choices))
    if choices.rarely(2):
        messages.append({"role": "narrator", "content": "aside"})
    tools = choices.usual(None, [], [_TOOL], [_TOOL, _TOOL], percent=50)
    variables = choices.usual({}, {"preserve_thinking": True}, {"enable": [1, None]})
    return Conversation(messages, tools, variables)


_TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {}}}},
}


def _user(choices: Choices) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "user", "content": draw_text(choices)}
    if choices.rarely(10):
        message["content"] = [
            {"type": "text", "text": draw_text(choices)} for _ in range(choices.number(1, 2))
        ]
    if choices.rarely(10):
        message |= {"name": None, "tool_calls": None}
    return message


def _tool(choices: Choices) -> dict[str, Any]:
    return {"role": "tool", "content": draw_text(choices), "tool_call_id": choices.one("1", None)}


def _assistant(choices: Choices) -> dict[str, Any]:
    content = choices.usual(draw_text(choices, markers=3), None, ABSENT, "", percent=40)
    calls = choices.usual(ABSENT, None, [], "some", percent=60)
    if calls == "some":
        calls = [_call(choices) for _ in range(choices.number(1, 2))]
    thinking = choices.usual(ABSENT, draw_text(choices, markers=0), None, "")
    field = choices.one("thinking", "reasoning_content", "reasoning")
    return present(
        {
            "role": "assistant",
            "content": content,
            "tool_calls": calls,
            field: thinking,
            "refusal": choices.usual(ABSENT, None),
            "function_call": choices.usual(ABSENT, None),
        }
    )


def _call(choices: Choices) -> dict[str, Any]:
    arguments: dict[str, Any] = choices.one({}, {"at": "there"}, {"n": 3, "deep": {"x": [None]}})
    written = choices.usual(arguments, json.dumps(arguments), percent=40)
    if written == "{}" and choices.rarely(50):
        written = ""
    return {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": written}}


def as_meant(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same turns as a template expects them: arguments parsed, no empty list of calls."""
    meant = copy.deepcopy(messages)
    for message in meant:
        if message.get("tool_calls") == []:
            del message["tool_calls"]
        for call in message.get("tool_calls") or ():
            function = call["function"]
            if isinstance(function["arguments"], str):
                function["arguments"] = json.loads(function["arguments"] or "{}")
    return meant


def without_markers(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same turns with harmless text where a user or a tool wrote a marker."""
    harmless = copy.deepcopy(messages)
    for message in harmless:
        if message["role"] not in _FOREIGN:
            continue
        content = message.get("content")
        if isinstance(content, str):
            message["content"] = _defanged(content)
        elif isinstance(content, list):
            for part in content:
                part["text"] = _defanged(part["text"])
            whole = "".join(part["text"] for part in content)
            if _defanged(whole) != whole:  # halves that a template joins
                content[0]["text"] = content[0]["text"].replace("<", "(")
    return harmless


def _defanged(text: str) -> str:
    changed = True
    while changed:  # removing one may join the halves of another
        changed = False
        for marker in MARKERS:
            if marker in text:
                text, changed = text.replace(marker, "MARKER"), True
    return text
