"""Which parameters of a tool are strings: where calls stand in tags, only the schema can tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["resolve", "strings_of", "types_of"]

_DEFINITIONS = ("$defs", "definitions")
_CHOICES = ("anyOf", "oneOf", "allOf")


def strings_of(parameters: Mapping[str, Any]) -> dict[str, bool]:
    """The parameters that are strings, and whether null may stand there instead.

    Args:
        parameters: a tool's JSON Schema, a valid one.
    """
    properties = parameters.get("properties", {})
    types = {name: types_of(schema, parameters) for name, schema in properties.items()}
    return {name: "null" in found for name, found in types.items() if "string" in found}


def types_of(schema: Any, root: Mapping[str, Any]) -> set[str]:
    """Of JSON's types those of strings and of null that a schema allows by name or by value.

    Args:
        schema: a part of `root`.
        root: holds the definitions that the part may refer to.
    """
    return _types(schema, root, set())


def resolve(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a part refers to, if it is a reference to a definition; else the part itself."""
    seen = set[str]()
    while isinstance(schema, Mapping) and "$ref" in schema and schema["$ref"] not in seen:
        seen.add(schema["$ref"])
        schema = _definition(schema["$ref"], root)
    return schema if isinstance(schema, Mapping) else {}


def _types(schema: Any, root: Mapping[str, Any], seen: set[str]) -> set[str]:
    """`seen` has the references that were followed."""
    if not isinstance(schema, Mapping):
        return set()
    named = schema.get("type")
    found = {"string", "null"}.intersection(named if isinstance(named, list) else [named])
    for value in [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]:
        found |= {"string"} if isinstance(value, str) else {"null"} if value is None else set()
    for choice in (choice for keyword in _CHOICES for choice in schema.get(keyword, ())):
        found |= _types(choice, root, seen)
    reference = schema.get("$ref")
    if reference is not None and reference not in seen:
        seen.add(reference)
        found |= _types(_definition(reference, root), root, seen)
    return found


def _definition(reference: str, root: Mapping[str, Any]) -> Any:
    for key in _DEFINITIONS:
        if reference.startswith(f"#/{key}/"):
            return root.get(key, {}).get(reference.removeprefix(f"#/{key}/"))
    return None
