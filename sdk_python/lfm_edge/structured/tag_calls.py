"""The rules of calls in tags, as LFM3 writes them: `<function=f>`, `<parameter=a>`, a value.

A value has no quotes: a parameter that is a string takes any text (or those of its enum), any other
JSON. `lfm_edge.chat.xml_calls` reads both as they were meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..chat.string_types import resolve, strings_of, types_of
from ..errors import InvalidRequestError
from .grammars import lark_string

__all__ = ["tag_rules"]

_FREE = ("enum", "const")
_REFUSED = ("pattern", "format")
_NO_STRING = ["object", "array", "number", "boolean", "null"]


def tag_rules(
    index: int, name: str, parameters: Mapping[str, Any], json_rule: Callable[[Any], str]
) -> list[str]:
    """The rules of one tool's calls; that of a whole call is `call_INDEX`.

    Args:
        index: of the tool.
        name: the tool's.
        parameters: its JSON Schema, of what is supported.
        json_rule: the expression for JSON that a schema allows.

    Raises:
        InvalidRequestError: a string is to have a pattern or a format, which a text in tags cannot
            be held to.
    """
    strings = strings_of(parameters)
    required = set(parameters.get("required", ()))
    rules, arguments = [], []
    # What a schema of `false` describes is never given.
    properties = {k: v for k, v in parameters.get("properties", {}).items() if v is not False}
    for place, (key, schema) in enumerate(properties.items()):
        argument, value = f"argument_{index}_{place}", f"value_{index}_{place}"
        arguments.append(argument if key in required else f"{argument}?")
        if key in strings:
            rules.append(_text_rule(value, schema, parameters, f"tool {name!r}", key))
        else:
            rules.append(f'{value}: {json_rule(_without_strings(schema))} "\\n</parameter>\\n"')
        rules.append(f"{argument}: {lark_string(f'<parameter={key}>' + chr(10))} {value}")
    opening = lark_string(f"<function={name}>\n")
    return [f'call_{index}: {opening} {" ".join(arguments)} "</function>"', *rules]


def _text_rule(
    rule: str, schema: Any, parameters: Mapping[str, Any], tool: str, parameter: str
) -> str:
    schema = _of_string(schema, parameters)
    if refused := next((keyword for keyword in _REFUSED if keyword in schema), None):
        raise InvalidRequestError(
            f"{tool}: keyword {refused!r} is not supported at #/properties/{parameter}, for this "
            "model writes strings without quotes"
        )
    if any(keyword in schema for keyword in _FREE):
        values = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]
        texts = [value for value in values if isinstance(value, str)]
        texts += ["null"] * (None in values)
        return f"{rule}: " + " | ".join(lark_string(f"{text}\n</parameter>\n") for text in texts)
    least, most = schema.get("minLength", 0), schema.get("maxLength", "")
    return f'{rule}[suffix="\\n</parameter>\\n"]: /(?s:.{{{least},{most}}})/'


def _of_string(schema: Any, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a schema that allows strings, the part that says which."""
    schema = resolve(schema, parameters)
    for keyword in ("anyOf", "oneOf", "allOf"):
        for choice in schema.get(keyword, ()):
            if "string" in types_of(choice, parameters):
                return _of_string(choice, parameters)
    return dict(schema)


def _without_strings(schema: Any) -> Any:
    """A schema that names no type, held to those that are read back as they were meant."""
    if schema is True or not schema.keys() & {"type", "enum", "const", "$ref", "anyOf", "oneOf"}:
        return {**(schema if isinstance(schema, Mapping) else {}), "type": _NO_STRING}
    return schema
