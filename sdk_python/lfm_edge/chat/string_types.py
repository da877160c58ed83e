"""Which parameters of a tool are strings: where calls stand in tags, only the schema can tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["definition", "strings_of"]

_DEFINITIONS = ("$defs", "definitions")
_CHOICES = ("anyOf", "oneOf", "allOf")


def strings_of(parameters: Mapping[str, Any]) -> dict[str, bool]:
    """The parameters that are strings, and whether null may stand there instead.

    Args:
        parameters: a tool's JSON Schema. What the draft that it names does not know was checked by
            nobody and may be anything.
    """
    properties = _mapping(parameters.get("properties"))
    types = {name: _types(schema, parameters) for name, schema in properties.items()}
    return {name: "null" in found for name, found in types.items() if "string" in found}


def definition(reference: Any, root: Mapping[str, Any]) -> Any:
    """The part of `root` that `$ref` names, or None."""
    for key in _DEFINITIONS:
        if isinstance(reference, str) and reference.startswith(f"#/{key}/"):
            return _mapping(root.get(key)).get(reference.removeprefix(f"#/{key}/"))
    return None


def _types(schema: Any, root: Mapping[str, Any]) -> set[str]:
    """Of JSON's types those of strings and of null that a schema allows by name or by value.

    Args:
        schema: a part of `root`.
        root: holds the definitions that the part may refer to.
    """
    found, seen = set[str](), set[str]()
    parts = [schema]
    while parts:
        part = parts.pop()
        if not isinstance(part, Mapping):
            continue
        named = part.get("type")
        names = named if isinstance(named, list) else [named]
        found |= {name for name in ("string", "null") if name in names}
        for value in [*_list(part.get("enum")), *([part["const"]] if "const" in part else ())]:
            found |= {"string"} if isinstance(value, str) else {"null"} if value is None else set()
        parts += [choice for keyword in _CHOICES for choice in _list(part.get(keyword))]
        reference = part.get("$ref")
        if isinstance(reference, str) and reference not in seen:
            seen.add(reference)
            parts.append(definition(reference, root))
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
