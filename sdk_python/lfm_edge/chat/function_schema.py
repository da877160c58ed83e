"""From a Python function's signature and docstring to the JSON Schema of its arguments."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ..errors import InvalidRequestError

__all__ = ["Signature", "read_signature"]

_SECTION = re.compile(
    r"(?m)^\s*(?:Args|Arguments|Parameters|Returns|Raises|Yields|Examples?|Note|"
    r"Notes|Attributes|Todo|Warning|Warnings)\s*:\s*$"
)
_ARGS = {"Args:", "Arguments:", "Parameters:"}
_PARAMETER = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")


@dataclass(frozen=True)
class Signature:
    """What a function says of itself.

    Attributes:
        description: its docstring's text before the first section.
        schema: the JSON Schema of its arguments.
        hints: the type of each parameter.
    """

    description: str
    schema: dict[str, Any]
    hints: Mapping[str, Any]

    def convert(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """JSON values as the types that the function declares.

        Raises:
            msgspec.ValidationError: one does not fit.
        """
        return {name: msgspec.convert(value, self.hints[name]) for name, value in arguments.items()}


def read_signature(function: Callable[..., Any]) -> Signature:
    """The signature of a function whose arguments JSON can hold.

    Raises:
        InvalidRequestError: a parameter has no type hint, none that JSON can hold, or cannot be
            given by name.
    """
    name = getattr(function, "__name__", repr(function))
    try:
        parameters = inspect.signature(function).parameters.values()
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, ValueError) as error:
        raise InvalidRequestError(f"tool {name}: {error}") from None
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise InvalidRequestError(
                f"tool {name}: parameter {parameter.name} cannot be given by name"
            )
        if parameter.name not in hints:
            raise InvalidRequestError(f"tool {name}: parameter {parameter.name} has no type hint")
    hints = {parameter.name: hints[parameter.name] for parameter in parameters}
    description, described = _read_docstring(inspect.getdoc(function) or "")
    schema = _schema(name, hints, described)
    schema["required"] = [p.name for p in parameters if p.default is p.empty]
    return Signature(description, schema, hints)


def _schema(name: str, hints: Mapping[str, Any], described: Mapping[str, str]) -> dict[str, Any]:
    try:
        found, shared = msgspec.json.schema_components(
            list(hints.values()), ref_template="#/$defs/{name}"
        )
    except TypeError as error:
        raise InvalidRequestError(f"tool {name}: {str(error).splitlines()[0]}") from None
    properties = {
        parameter: {**schema, **_description(described.get(parameter))}
        for parameter, schema in zip(hints, found, strict=True)
    }
    schema = {"type": "object", "properties": properties}
    return {**schema, "$defs": dict(shared)} if shared else schema


def _description(text: str | None) -> dict[str, str]:
    return {"description": text} if text else {}


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The text before the sections, and what `Args:` says of each parameter."""
    headings = [*_SECTION.finditer(text)]
    description = text[: headings[0].start()] if headings else text
    described: dict[str, str] = {}
    for index, heading in enumerate(headings):
        if heading[0].strip() in _ARGS:
            following = headings[index + 1 :]
            end = following[0].start() if following else len(text)
            described |= _read_parameters(text[heading.end() : end])
    return _joined(description), described


def _read_parameters(text: str) -> dict[str, str]:
    """Entries begin at the first one's indent; deeper lines continue the one above."""
    described: dict[str, str] = {}
    indent, name = -1, ""
    for line in filter(str.strip, text.splitlines()):
        depth = len(line) - len(line.lstrip())
        indent = depth if indent < 0 else indent
        entry = _PARAMETER.match(line.strip()) if depth == indent else None
        if entry:
            name = entry[1]
            described[name] = entry[2]
        elif name:
            described[name] += f" {line.strip()}"
    return {name: _joined(entry) for name, entry in described.items()}


def _joined(text: str) -> str:
    """A docstring's lines as running text, its paragraphs kept apart."""
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip()))
