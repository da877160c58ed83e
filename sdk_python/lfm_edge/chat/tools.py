"""Tools that a model may call: what it is told of them, and whether a call fits."""

from __future__ import annotations

import difflib
import importlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import msgspec

from ..errors import InvalidRequestError
from .bracket_calls import FUNCTION_NAME
from .calls import ToolCall, ToolNames, ToolParameters
from .function_schema import Signature, read_signature
from .string_types import strings_of

__all__ = ["Tool", "find_tool", "problem_of", "tool_names"]

MAX_PROBLEMS = 5
_OPEN_KEYWORDS = {"$ref", "allOf", "anyOf", "oneOf", "if", "patternProperties"}


@dataclass(frozen=True)
class Tool:
    """A function that the model may call.

    Attributes:
        name: letters, digits, `_`, `-`, `.`, `/` and `:`.
        description: what it does, for the model.
        parameters: the JSON Schema of its arguments, an object.
        function: what runs it here, if anything does.

    Raises:
        InvalidRequestError: the name cannot be written in a call, or the schema is none.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: dict(_NO_PARAMETERS))
    function: Callable[..., Any] | None = field(default=None, compare=False)
    _signature: Signature | None = field(default=None, compare=False, repr=False)
    # Not an argument: a tool that `dataclasses.replace` changes is no longer what was given.
    _given: Mapping[str, Any] | None = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(FUNCTION_NAME, self.name):
            raise InvalidRequestError(
                f"tool {self.name!r}: expected a name of letters, digits, _, -, ., / and :"
            )
        if not isinstance(self.parameters, Mapping):
            raise InvalidRequestError(f"tool {self.name}: parameters: expected a JSON Schema")
        if problem := _json_schema().problem_of_schema(self.parameters):
            raise InvalidRequestError(f"tool {self.name}: parameters{problem}")
        if self.parameters.get("type", "object") != "object":
            raise InvalidRequestError(
                f"tool {self.name}: parameters: got type {self.parameters['type']!r}, "
                "expected 'object'"
            )

    @classmethod
    def from_function(cls, function: Callable[..., Any], name: str | None = None) -> Tool:
        """A tool that calls a Python function.

        Its type hints become the schema (whatever msgspec has a schema for: JSON's types,
        `Literal`, enums, `Optional`, typed dictionaries, dataclasses, `Annotated` with
        `msgspec.Meta`), and its docstring in Google's style the descriptions.

        Args:
            function: takes keyword arguments, each with a type hint.
            name: the tool's name; the function's own if None.

        Raises:
            InvalidRequestError: a parameter has no type hint, or none that JSON can hold.
        """
        signature = read_signature(function)
        return cls(
            name or function.__name__,
            signature.description,
            signature.schema,
            function,
            signature,
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Tool:
        """A tool from OpenAI's form, `{"type": "function", "function": {...}}`, or its inside.

        Args:
            value: the JSON, with a `name` and, if the tool takes any, `parameters`.

        Raises:
            InvalidRequestError: it is malformed.
        """
        inner = value.get("function", value) if isinstance(value, Mapping) else value
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
            raise InvalidRequestError(
                'tools: expected {"type": "function", "function": {"name": ..., '
                f'"parameters": ...}}}}, got {_one_line(value)[:80]}'
            )
        description, parameters = inner.get("description"), inner.get("parameters")
        tool = cls(
            inner["name"],
            description if isinstance(description, str) else "",
            _NO_PARAMETERS if parameters is None else parameters,
        )
        object.__setattr__(tool, "_given", value)
        return tool

    def to_json(self) -> dict[str, Any]:
        """OpenAI's form, as chat templates take it; what `from_json` was given, as it was."""
        if self._given is not None:
            return dict(self._given)
        function = {"name": self.name, "description": self.description}
        return {"type": "function", "function": {**function, "parameters": dict(self.parameters)}}

    def problem(self, arguments: Mapping[str, Any]) -> str | None:
        """What is wrong with a call's arguments, in one line, or None if they fit the schema.

        An argument that the schema does not list is wrong unless the schema says otherwise: JSON
        Schema by itself would let a misspelt one pass.

        Args:
            arguments: JSON values by parameter name, as a `ToolCall` has them.
        """
        problems = [
            f"unknown parameter {name!r} (it takes {', '.join(self._listed()) or 'none'})"
            for name in arguments
            if not self._takes(name)
        ]
        del problems[MAX_PROBLEMS:]
        limit = MAX_PROBLEMS - len(problems)
        problems += _json_schema().problems_of_value(dict(arguments), self.parameters, limit)
        return f"{self.name}: {'; '.join(problems)}" if problems else None

    def run(self, arguments: Mapping[str, Any]) -> Any:
        """Calls the function with these arguments, converted to the types that it declares.

        Args:
            arguments: JSON values by parameter name.

        Returns:
            What the function returns.

        Raises:
            InvalidRequestError: the tool has no function, or the arguments do not fit.
        """
        if self.function is None or self._signature is None:
            raise InvalidRequestError(f"tool {self.name} has no function to run")
        if problem := self.problem(arguments):
            raise InvalidRequestError(problem)
        try:
            converted = self._signature.convert(arguments)
        except msgspec.ValidationError as error:
            raise InvalidRequestError(f"{self.name}: {error}") from None
        return self.function(**converted)

    @property
    def parameter_names(self) -> frozenset[str] | None:
        """The names that a call may use; None if the schema does not limit them."""
        return frozenset(self._listed()) if self._is_closed() else None

    def _listed(self) -> list[str]:
        properties = self.parameters.get("properties")
        return list(properties) if isinstance(properties, Mapping) else []

    def _is_closed(self) -> bool:
        if self.parameters.get("additionalProperties") is False:
            return True
        names_more = _OPEN_KEYWORDS | {"additionalProperties"}
        return not names_more & self.parameters.keys()

    def _takes(self, name: str) -> bool:
        return not self._is_closed() or name in self._listed()


_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


def find_tool(name: str, tools: Sequence[Tool]) -> Tool | None:
    """The tool of this name, or None.

    Args:
        name: as a call has it, dots included.
        tools: those that there are.
    """
    return next((tool for tool in tools if tool.name == name), None)


def problem_of(call: ToolCall, tools: Sequence[Tool]) -> str | None:
    """What is wrong with a call, in one line that the model can be told, or None.

    Args:
        call: its name may be that of no tool, and its arguments may not fit.
        tools: those that there are.
    """
    tool = find_tool(call.name, tools)
    if tool is not None:
        return tool.problem(call.arguments)
    names = [tool.name for tool in tools]
    close = difflib.get_close_matches(call.name[:128], names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names) or 'none'}"
    return f"there is no tool {call.name[:128]!r}; {hint}"


def tool_names(tools: Iterable[Tool | Mapping[str, Any]]) -> ToolNames:
    """The tools' names and what is to be known of their parameters, for the parser.

    Raises:
        InvalidRequestError: a tool is malformed.
    """
    known = [tool if isinstance(tool, Tool) else Tool.from_json(tool) for tool in tools]
    return {
        tool.name: ToolParameters(tool.parameter_names, strings_of(tool.parameters))
        for tool in known
    }


def _json_schema() -> ModuleType:
    """Loaded with the first tool: it takes longer to import than the rest of the package."""
    return importlib.import_module(".json_schema", __package__)


def _one_line(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return " ".join(text.split())
