"""What is wrong with a JSON Schema, or with a value that it describes, in words for a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import jsonschema
import jsonschema.validators
import referencing
import referencing.exceptions

__all__ = ["problem_of_schema", "problems_of_value"]

_LONGEST_MESSAGE = 300


def problem_of_schema(schema: Mapping[str, Any]) -> str | None:
    """Where and why this is no JSON Schema, or None."""
    if not isinstance(schema.get("$schema", ""), str):
        return ".$schema: expected a text"
    try:
        _validator(schema).check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"{_path(error.absolute_path)}: {_shortened(error.message)}"
    except RecursionError:
        return ": nested too deep"
    return None


def problems_of_value(value: Any, schema: Mapping[str, Any], limit: int) -> list[str]:
    """The first `limit` places where `value` breaks `schema`.

    References outside the schema are not followed; a schema with one fits nothing.
    """
    validator = _validator(schema)(schema, registry=referencing.Registry())
    try:
        return [_problem(error) for error in islice(validator.iter_errors(value), limit)]
    except referencing.exceptions.Unresolvable as error:
        return [f"the schema refers to {error.ref}, which is not in it"]
    except RecursionError:
        return ["nested too deep"]
    except OverflowError:
        return ["an integer is too large"]


def _validator(schema: Mapping[str, Any]) -> Any:
    """The validator for the draft that the schema names, or for the newest."""
    return jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)


def _problem(error: jsonschema.ValidationError) -> str:
    where = _path(error.absolute_path).lstrip(".")
    return f"{where}: {_shortened(error.message)}" if where else _shortened(error.message)


def _path(parts: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def _shortened(message: str) -> str:
    line = " ".join(message.split())
    if len(line) <= _LONGEST_MESSAGE:
        return line
    half = _LONGEST_MESSAGE // 2  # the value stands at the start, what is wrong at the end
    return f"{line[:half]} ... {line[-half:]}"
