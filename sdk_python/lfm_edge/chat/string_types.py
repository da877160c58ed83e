"""Which parameters of a tool take strings: where calls stand in tags, only the schema can tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from .calls import StringValues

__all__ = ["definition", "strings_of"]

_CHOICES = ("anyOf", "oneOf", "allOf")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


def strings_of(parameters: Mapping[str, Any]) -> dict[str, StringValues]:
    """The parameters that take strings.

    Args:
        parameters: a tool's JSON Schema. What the draft that it names does not know was checked by
            nobody and may be anything.
    """
    properties = _mapping(parameters.get("properties"))
    found = {name: _strings(schema, parameters) for name, schema in properties.items()}
    return {name: values for name, values in found.items() if values is not None}


def definition(reference: Any, root: Mapping[str, Any]) -> Any:
    """The part of `root` that `$ref` names by a JSON pointer (RFC 6901), or None."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    above, *steps = unquote(reference[1:]).split("/")
    part: Any = None if above else root
    for step in steps:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(part, list):
            part = part[int(name)] if _INDEX.fullmatch(name) and int(name) < len(part) else None
        else:
            part = _mapping(part).get(name)
    return part


def _strings(schema: Any, root: Mapping[str, Any]) -> StringValues | None:
    """What a schema says of strings by name or by value, or None where it allows none.

    Args:
        schema: a part of `root`.
        root: holds the definitions that the part may refer to.
    """
    types, texts, seen = set[str](), set[str](), set[str]()
    parts = [schema]
    while parts:
        part = parts.pop()
        if not isinstance(part, Mapping):
            continue
        values, named = _values(part), _named(part)
        if values is None:
            types |= named
        else:
            if not named or "string" in named:
                texts |= {value for value in values if isinstance(value, str)}
            types |= _listed(values) | (named & {"null"})
        parts += [choice for keyword in _CHOICES for choice in _list(part.get(keyword))]
        reference = part.get("$ref")
        if isinstance(reference, str) and reference not in seen:
            seen.add(reference)
            parts.append(definition(reference, root))
    if not texts and "string" not in types:
        return None
    others = "string" not in types and bool(types - {"null"})
    return StringValues(frozenset(texts), "null" in types, others)


def _values(part: Mapping[str, Any]) -> list[Any] | None:
    """Those that a part of a schema lists, if it does."""
    listed = part.get("enum")
    if "const" in part:
        return [*_list(listed), part["const"]]
    return listed if isinstance(listed, list) else None


def _named(part: Mapping[str, Any]) -> set[str]:
    """The types that a part of a schema names."""
    names = part.get("type")
    return {name for name in (_list(names) or [names]) if isinstance(name, str)}


def _listed(values: list[Any]) -> set[str]:
    """The types of values, but for strings: null, and Python's names of others."""
    return {"null" if value is None else type(value).__name__ for value in values} - {"str"}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
