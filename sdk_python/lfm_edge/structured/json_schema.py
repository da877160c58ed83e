"""The subset of JSON Schema (2020-12) that answers can be held to; docs/structured_output.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import InvalidRequestError

__all__ = ["ANNOTATIONS", "SUPPORTED", "check_schema"]

ANNOTATIONS = frozenset(
    {"$comment", "$schema", "default", "deprecated", "description", "examples"}
    | {"readOnly", "title", "writeOnly"}
)
"""Say nothing about the answer, and are passed over."""

_VALUES = frozenset(
    {"const", "enum", "exclusiveMaximum", "exclusiveMinimum", "format", "maxItems", "maxLength"}
    | {"maximum", "minItems", "minLength", "minimum", "multipleOf", "pattern", "required", "type"}
    | {"$ref"}
)
_SCHEMAS = frozenset({"additionalProperties", "items"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"$defs", "definitions", "patternProperties", "properties"})
SUPPORTED = _VALUES | _SCHEMAS | _LISTS | _NAMED
_DEEPEST = 60
_REFERENCES = ("#", "#/$defs/", "#/definitions/")


def check_schema(schema: object, name: str = "schema") -> None:
    """Finds what an answer could not be held to.

    Args:
        schema: a JSON Schema, parsed.
        name: how messages call it.

    Raises:
        InvalidRequestError: names the first keyword that is not supported and where it stands.
    """
    _check(schema, name, "#", 0)


def _check(schema: object, name: str, path: str, depth: int) -> None:
    def refuse(what: str) -> None:
        raise InvalidRequestError(f"{name}: {what} at {path}")

    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        refuse(f"got {type(schema).__name__}, expected an object or a boolean")
        return
    if depth > _DEEPEST:
        refuse(f"more than {_DEEPEST} levels")
    for keyword, value in schema.items():
        if keyword in ANNOTATIONS:
            continue
        if keyword not in SUPPORTED:
            refuse(f"keyword {keyword!r} is not supported")
        for step, part in _parts(keyword, value, refuse):
            _check(part, name, f"{path}/{step}", depth + 1)


def _parts(
    keyword: str, value: object, refuse: Callable[[str], None]
) -> Sequence[tuple[str, object]]:
    """The schemas within a keyword, and how a path names them."""
    if keyword in _SCHEMAS:
        return [(keyword, value)]
    if keyword in _LISTS:
        if not isinstance(value, list) or not value:
            refuse(f"{keyword!r}: expected a list of schemas")
            return []
        return [(f"{keyword}/{index}", part) for index, part in enumerate(value)]
    if keyword in _NAMED:
        if not isinstance(value, Mapping):
            refuse(f"{keyword!r}: expected an object of schemas")
            return []
        return [(f"{keyword}/{key}", part) for key, part in value.items()]
    if keyword == "$ref" and not (isinstance(value, str) and _is_local(value)):
        refuse(f"'$ref' {value!r}: expected '#', '#/$defs/NAME' or '#/definitions/NAME'")
    return []


def _is_local(reference: str) -> bool:
    return reference == "#" or reference.startswith(_REFERENCES[1:])


def references(schema: Any) -> set[str]:
    """All that `$ref` names within a schema that `check_schema` let pass."""
    found: set[str] = set()
    for keyword, value in schema.items() if isinstance(schema, Mapping) else ():
        if keyword == "$ref":
            found.add(value)
        elif keyword in SUPPORTED and keyword not in _VALUES:
            parts = _parts(keyword, value, lambda _: None)
            found.update(*(references(part) for _, part in parts))
    return found
