"""Conversations by which a chat format is proved: as clients send them, and as they should not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

__all__ = ["Conversation", "conversation"]

_PIECES = (
    *(
        "Hello",
        " in the ",
        "\n",
        "\n\n",
        "  ",
        "\t",
        "42",
        "caf\u00e9",
        "\U0001f600",
        "it's",
        '"b"',
    ),
    *(
        "{{ x }}",
        "<b>&amp;</b>",
        "</think>",
        "<think>",
        "<|im_end|>",
        "\u2028",
        "\\",
        "\u65e5\u672c",
    ),
    *(
        "\x7f",
        "\u00a0",
        "<|tool_call_start|>[f(a='b')]<|tool_call_end|>",
        "List of tools: [",
        "null",
    ),
)
_NAMES = ("look", "weather.get", "a_b-c", "fs/read")


@dataclass(frozen=True)
class Conversation:
    """What is asked of a template.

    Attributes:
        odd: whether it holds what no client sends, so that a format may refuse it.
    """

    messages: list[dict[str, Any]]
    tools: list[Any] | None
    options: dict[str, Any]
    clock: datetime
    add_generation_prompt: bool
    odd: bool


def conversation(seed: int, options: Sequence[str]) -> Conversation:
    """The one of this number; it sets some of these options."""
    return _Drawn(Random(f"chat {seed}"), options).conversation(seed)  # noqa: S311 - not a secret


class _Drawn:
    def __init__(self, random: Random, options: Sequence[str]) -> None:
        self._random = random
        self._options = options
        self._odd = False

    def conversation(self, seed: int) -> Conversation:
        messages = self._messages(seed)
        chosen: dict[str, Any] = {
            name: self._rarely(50) for name in self._options if self._rarely(60)
        }
        if self._rarely(10):
            chosen["zq_unknown"] = self._one(1, None, [True], "x")
        return Conversation(
            messages,
            self._tools(),
            chosen,
            datetime(2020, 1, 1) + timedelta(seconds=self._random.randrange(10**9)),
            not self._rarely(20),
            self._odd,
        )

    def _one(self, *values: Any) -> Any:
        return self._random.choice(values)

    def _rarely(self, percent: int) -> bool:
        return self._random.randrange(100) < percent

    def _text(self) -> str:
        return "".join(self._one(*_PIECES) for _ in range(self._random.randrange(1, 6)))

    def _messages(self, seed: int) -> list[dict[str, Any]]:
        if seed % 50 == 49:
            return []
        messages = [self._message("system")] if self._rarely(35) else []
        if self._rarely(20):  # in no order
            roles = [
                self._one("user", "assistant", "tool", "system", "developer") for _ in range(5)
            ]
            return [self._message(role) for role in [*roles, *self._one([], ["narrator"])]]
        turns = 45 if seed % 50 == 48 else self._random.randrange(1, 4)
        for turn in range(turns):
            messages.append(self._message("user"))
            for _ in range(self._one(0, 0, 1, 2)):
                messages += [self._message("assistant", self._calls()), self._message("tool")]
            if turn + 1 < turns or self._rarely(20):
                messages.append(self._message("assistant"))
        if self._rarely(3):
            self._odd = True
            messages.append({"content": "nobody's"})
        return messages

    def _message(self, role: str, calls: Any = None) -> dict[str, Any]:
        given: dict[str, Any] = {"role": role}
        if role == "assistant" and self._rarely(80):
            given[self._one("thinking", "reasoning_content", "reasoning")] = self._one(
                self._text(), self._text(), "", None, " a "
            )
        elif self._rarely(5):
            given["thinking"] = self._text()
        if calls or self._rarely(5):
            given["tool_calls"] = calls or self._one([], None, self._calls())
        content = self._content(role)
        if content is not None or self._rarely(50):
            given["content"] = content
        if role == "tool":
            given |= {"tool_call_id": "call_zq", "name": "zqname"}
        if self._rarely(10):
            given |= {"refusal": None, "annotations": ["zq"]}
        return given

    def _content(self, role: str) -> Any:
        if role == "assistant" and self._rarely(35):
            return self._one("", None, f"{self._text()}</think>{self._text()}")
        if self._rarely(12):
            parts = [self._part() for _ in range(self._random.randrange(4))]
            self._odd = self._odd or (role == "system" and not parts)
            return parts
        if self._rarely(2):
            self._odd = True
            return self._one(None, 3, 0, True, False, 2.5, {"text": "a"}, {}, [3], [None], [{}])
        return self._one(self._text(), self._text(), self._text(), f" {self._text()}\n", "", "  \n")

    def _part(self) -> Any:
        if self._rarely(80):
            return {"type": "text", "text": self._one(self._text(), self._text(), "", " a\n")}
        if self._rarely(50):
            return {"type": "image"}
        self._odd = True
        return self._one("zq", {"text": "a"}, {"type": "text"}, {"type": "zq", "text": "b"})

    def _calls(self) -> list[Any]:
        return [self._call() for _ in range(self._random.randrange(1, 4))]

    def _call(self) -> dict[str, Any]:
        names = ("at", "n", "B", "a", "deep_er", "caf\u00e9" if self._rarely(3) else "x")
        arguments = {self._one(*names): self._value(2) for _ in range(self._random.randrange(0, 4))}
        written = json.dumps(arguments) if self._rarely(40) else arguments
        if not all(name.isascii() for name in arguments):
            self._odd = True
        call = {"name": self._one(*_NAMES), "arguments": written}
        if self._rarely(2):
            self._odd = True
            return call
        return {"id": "call_zq", "type": "function", "function": call}

    def _value(self, depth: int) -> Any:
        if depth and self._rarely(25):
            values = [self._value(depth - 1) for _ in range(self._random.randrange(3))]
            return self._one(values, {self._text(): value for value in values})
        numbers = (0, -7, 12345678901234567890123, 0.5, -0.0, 1e-7, 1e16, 123456.789)
        return self._one(self._text(), self._text(), "", None, True, False, self._one(*numbers))

    def _tools(self) -> list[Any] | None:
        if self._rarely(50):
            return [] if self._rarely(25) else None
        return [self._tool() for _ in range(self._random.randrange(1, 4))]

    def _tool(self) -> Any:
        parameters = {"type": "object", "properties": {"at": {"description": self._value(2)}}}
        function = {
            "name": self._one(*_NAMES),
            "description": self._text(),
            "parameters": parameters,
        }
        if self._rarely(5):
            return self._one(function, {**function, "parameters": {}, "extra": [1.5, None]})
        return {"type": "function", "function": function}
