"""Answers in a given form: JSON Schema, regular expression, choice, grammar, or tool calls."""

from .constraint import Constraint, Thinking, Vocabulary
from .grammars import choice_grammar, lark_grammar, regex_grammar, schema_grammar
from .tool_calls import CallMarkers, tool_call_grammar

__all__ = [
    "CallMarkers",
    "Constraint",
    "Thinking",
    "Vocabulary",
    "choice_grammar",
    "lark_grammar",
    "regex_grammar",
    "schema_grammar",
    "tool_call_grammar",
]
