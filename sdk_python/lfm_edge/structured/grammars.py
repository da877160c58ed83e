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
    return LLMatcher.grammar_from_json_schema(json.dumps(schema), None, JSON_OPTIONS)


def regex_grammar(regex: str) -> str:
    """Answers that a regular expression matches from beginning to end.

    Args:
        regex: in the syntax of Rust's `regex`: no look-around, no back-references.
    """
    return LLMatcher.grammar_from_regex(regex)


def choice_grammar(choices: Sequence[str]) -> str:
    """Answers that are one of `choices`.

    Raises:
        InvalidRequestError: there are none, or one is empty.
    """
    if isinstance(choices, str) or not choices or not all(choices):
        raise InvalidRequestError(f"choices: got {choices!r}, expected one or more non-empty texts")
    return "start: " + " | ".join(map(lark_string, choices))


def lark_grammar(grammar: str) -> str:
    """Answers of a grammar in llguidance's dialect of Lark.

    Args:
        grammar: its first rule is `start`; `<[10]>` in it is the token of this id.
    """
    return LLMatcher.grammar_from_lark(grammar)


def lark_string(text: str) -> str:
    """`text` as a literal of Lark: a pattern, since strings cannot hold every character."""
    plain = (c if c.isascii() and c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)
    return f"/{''.join(plain)}/"
