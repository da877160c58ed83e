"""Answers held to a JSON Schema validate; schemas outside the subset are refused by name."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from lfm_edge import InvalidRequestError
from lfm_edge.structured import Constraint, Vocabulary, schema_grammar
from lfm_edge.structured.grammars import choice_grammar, lark_grammar, regex_grammar

from tests.sdk.structured.conftest import Answer
from tests.sdk.structured.schemas import SCHEMAS

TREE = {
    "type": "object",
    "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
    "additionalProperties": False,
}
RECURSIVE = {"$ref": "#/$defs/tree", "$defs": {"tree": TREE}}


def validated(schema: Any, text: str) -> None:
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(
        json.loads(text)
    )


def compiled(vocabulary: Vocabulary, schema: Any) -> tuple[Constraint | None, str]:
    try:
        return Constraint(vocabulary, schema_grammar(schema)), ""
    except InvalidRequestError as error:
        return None, str(error)


def test_answers_validate(vocabulary: Vocabulary, answer: Answer) -> None:
    counts: Counter[str] = Counter()

    @settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
    @given(schema=SCHEMAS, seed=st.integers(0, 2**32 - 1))
    def check(schema: Any, seed: int) -> None:
        Draft202012Validator.check_schema(schema)
        constraint, refusal = compiled(vocabulary, schema)
        if constraint is None:
            # Parts that no value satisfies together, and unions that cannot be told apart.
            assert re.search("[Uu]nsatisfiable|oneOf", refusal), schema
            counts["refused"] += 1
            return
        text, complete = answer(constraint, seed)
        counts["complete" if complete else "cut"] += 1
        if complete:
            validated(schema, text)

    check()
    assert counts["complete"] > 0.8 * counts.total(), counts


@pytest.mark.parametrize("seed", range(10))
def test_recursive_schemas(seed: int, vocabulary: Vocabulary, answer: Answer) -> None:
    text, complete = answer(Constraint(vocabulary, schema_grammar(RECURSIVE)), seed)
    assert complete
    validated(RECURSIVE, text)


def test_an_answer_that_was_cut_says_so(vocabulary: Vocabulary, answer: Answer) -> None:
    constraint = Constraint(vocabulary, schema_grammar({"type": "string", "minLength": 50}))
    text, complete = answer(constraint, 0, limit=5)
    assert text.startswith('"')
    assert not complete


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"not": {}}, "keyword 'not' is not supported at #"),
        (
            {"properties": {"a": {"items": {"uniqueItems": True}}}},
            "keyword 'uniqueItems' is not supported at #/properties/a/items",
        ),
        ({"anyOf": [{"type": "null"}, {"if": {}}]}, "keyword 'if' is not supported at #/anyOf/1"),
        ({"$defs": {"a": {"contains": {}}}}, "keyword 'contains' is not supported at #/$defs/a"),
        ({"x-guidance": {"lenient": True}}, "keyword 'x-guidance' is not supported at #"),
        ({"minProperties": 1}, "keyword 'minProperties' is not supported at #"),
        ({"$ref": "https://example.org/a"}, "'$ref' 'https://example.org/a': expected '#'"),
        ({"$ref": "#/properties/a"}, "'$ref' '#/properties/a': expected '#'"),
        ({"items": [{}]}, "got list, expected an object or a boolean at #/items"),
        ({"anyOf": {}}, "'anyOf': expected a list of schemas at #"),
        ({"properties": []}, "'properties': expected an object of schemas at #"),
        (False, "schema: false"),
        ("x", "got str, expected an object or a boolean at #"),
    ],
)
def test_unsupported_schemas_are_refused_by_name(schema: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(message)) as caught:
        schema_grammar(schema)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"type": "string", "format": "phone"},
        {"type": "string", "pattern": "(?=a)b"},
        {"type": "string", "minLength": 5, "maxLength": 2},
        {"$ref": "#/$defs/none"},
        {"oneOf": [{"type": "integer"}, {"type": "number"}]},
        {"required": "a"},
    ],
)
def test_schemas_that_make_no_grammar_are_refused(schema: Any, vocabulary: Vocabulary) -> None:
    with pytest.raises(InvalidRequestError, match=r"^the grammar is not accepted: ") as caught:
        Constraint(vocabulary, schema_grammar(schema))
    assert "\n" not in str(caught.value)


def test_schemas_too_deep_are_refused() -> None:
    schema: Any = {}
    for _ in range(10_000):
        schema = {"items": schema}
    with pytest.raises(InvalidRequestError, match="more than 60 levels"):
        schema_grammar(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"const": math.nan},
        {"maximum": math.inf},
        {"minimum": 10**400},
        {"enum": ["\ud800"]},
        {"const": object()},
    ],
    ids=["nan", "infinity", "huge", "half a character", "no JSON"],
)
def test_a_schema_that_json_cannot_hold_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="schema: "):
        schema_grammar(schema)


@pytest.mark.parametrize("make", [regex_grammar, lark_grammar])
@pytest.mark.parametrize("value", ["\ud800", 5, None, ["a"]])
def test_what_is_no_text_is_no_grammar(make: Callable[[Any], str], value: object) -> None:
    with pytest.raises(InvalidRequestError, match=r"expected a text|half a character"):
        make(value)


@pytest.mark.parametrize("choices", ["ab", [], [""], [1], 5, {"a": 1}, None])
def test_what_is_no_list_of_texts_is_no_choice(choices: Any) -> None:
    with pytest.raises(InvalidRequestError, match="choices: got"):
        choice_grammar(choices)
