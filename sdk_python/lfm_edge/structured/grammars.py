"""Grammars in the form that llguidance reads, from what users have."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llguidance import LLMatcher

from ..errors import InvalidRequestError
from .json_schema import check_schema

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

__all__ = [
    "JSON_OPTIONS",
    "choice_grammar",
    "lark_grammar",
    "lark_string",
    "regex_grammar",
    "schema_grammar",
]

JSON_OPTIONS: JsonCompileOptions = {
    "item_separator": ", ",
    "key_separator": ": ",
    "whitespace_flexible": False,
    "coerce_one_of": False,
    "lenient": False,
}
"""JSON as Python's `json.dumps` writes it: models are known to loop where blanks are free."""


def schema_grammar(schema: Mapping[str, Any] | bool) -> str:
    """Answers that are JSON and valid under a JSON Schema.

    Args:
        schema: of the subset that docs/structured_output.md lists; true allows any JSON.

    Raises:
        InvalidRequestError: a keyword outside the subset of docs/structured_output.md; the
            message names it and where it stands.
    """
    check_schema(schema)
    if isinstance(schema, bool):
        if not schema:
            raise InvalidRequestError("schema: false, which no answer satisfies")
        schema = {}
    text = json_text(schema, "schema")
    try:
        return LLMatcher.grammar_from_json_schema(text, None, JSON_OPTIONS)
    except ValueError as error:  # such as an integer that has no float
        raise InvalidRequestError(f"schema: {error}") from None


def regex_grammar(regex: str) -> str:
    """Answers that a regular expression matches from beginning to end.

    Args:
        regex: in the syntax of Rust's `regex`: no look-around, no back-references.

    Raises:
        InvalidRequestError: it is no text.
    """
    _require_text(regex, "regex")
    return LLMatcher.grammar_from_regex(regex)


def choice_grammar(choices: Sequence[str]) -> str:
    """Answers that are one of `choices`.

    Raises:
        InvalidRequestError: there are none, or one is empty.
    """
    texts = isinstance(choices, Sequence) and not isinstance(choices, (str, bytes)) and choices
    if not texts or not all(isinstance(choice, str) and choice for choice in texts):
        raise InvalidRequestError(f"choices: got {choices!r}, expected one or more non-empty texts")
    return "start: " + " | ".join(map(lark_string, choices))


def lark_grammar(grammar: str) -> str:
    """Answers of a grammar in llguidance's dialect of Lark.

    Args:
        grammar: its first rule is `start`; `<[10]>` in it is the token of this id.

    Raises:
        InvalidRequestError: it is no text.
    """
    _require_text(grammar, "grammar")
    return LLMatcher.grammar_from_lark(grammar)


def json_text(schema: object, name: str) -> str:
    """A schema as JSON.

    Raises:
        InvalidRequestError: it holds what JSON has not: infinity, NaN, half a character.
    """
    try:
        text = json.dumps(schema, allow_nan=False)
        json.dumps(schema, ensure_ascii=False).encode()
    except (ValueError, TypeError) as error:
        raise InvalidRequestError(f"{name}: holds a value that is not JSON: {error}") from None
    return text


def _require_text(value: object, name: str) -> None:
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name}: got a {type(value).__name__}, expected a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(f"{name}: holds half a character") from None


def lark_string(text: str) -> str:
    """`text` as a literal of Lark: a pattern, since strings cannot hold every character."""
    plain = (c if c.isascii() and c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)
    return f"/{''.join(plain)}/"
