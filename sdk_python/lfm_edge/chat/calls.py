"""A tool call of the model's, read or refused."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "InvalidToolCall",
    "ParsedCalls",
    "StringValues",
    "ToolCall",
    "ToolNames",
    "ToolParameters",
]


@dataclass(frozen=True)
class StringValues:
    """What a parameter may be that takes strings.

    Attributes:
        texts: those that its schema lists.
        null: whether null may stand there instead.
        others: whether text that is not listed can only be a value of another type.
    """

    texts: Set[str] = frozenset()
    null: bool = False
    others: bool = False


@dataclass(frozen=True)
class ToolParameters:
    """What the schema of a known tool says of its parameters.

    Attributes:
        names: their names; None where the tool takes names that its schema does not list.
        strings: those that take strings.
    """

    names: Set[str] | None = None
    strings: Mapping[str, StringValues] = field(default_factory=dict)


ToolNames = Mapping[str, ToolParameters]
"""The known tools."""


@dataclass(frozen=True)
class ToolCall:
    """A call that the model asks for.

    Attributes:
        name: the tool's name, dots included.
        arguments: JSON values by parameter name, in the order written.
    """

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class InvalidToolCall:
    """Text that stood where a call belongs and that no call could be read from.

    Attributes:
        text: what the model wrote.
        error: one line that the model can be told.
    """

    text: str
    error: str


@dataclass(frozen=True)
class ParsedCalls:
    """What a block of calls holds; a bad call leaves its siblings."""

    calls: list[ToolCall] = field(default_factory=list)
    errors: list[InvalidToolCall] = field(default_factory=list)
