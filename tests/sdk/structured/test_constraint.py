"""Constraints along an answer: where they begin, what they allow, when the answer may end."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lfm_edge import InvalidRequestError
from lfm_edge.structured import (
    Constraint,
    Thinking,
    Vocabulary,
    choice_grammar,
    lark_grammar,
    regex_grammar,
    schema_grammar,
)
from lfm_edge.tokenizer import Tokenizer

from tests.sdk.structured.conftest import EOS, SIZE, Answer

THINK, END_THINK = 14, 15


def allowed(constraint: Constraint) -> set[int]:
    bits = np.unpackbits(constraint.mask().view(np.uint8), bitorder="little")
    return set(np.flatnonzero(bits[:SIZE]).tolist())


def advance(constraint: Constraint, ids: list[int]) -> None:
    for token in ids:
        assert token in allowed(constraint)
        constraint.advance(token)


def test_markers_are_no_text(vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
    anything = Constraint(vocabulary, regex_grammar(r"(.|\n)*"))
    assert allowed(anything) & tokenizer.added_ids == {EOS}
    # All others but those that begin within a character.
    assert len(allowed(anything)) > 0.9 * tokenizer.size
    assert max(allowed(anything)) < tokenizer.size


@given(
    choices=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5),
    seed=st.integers(0, 99),
)
def test_choices(choices: list[str], seed: int, vocabulary: Vocabulary, answer: Answer) -> None:
    text, complete = answer(Constraint(vocabulary, choice_grammar(choices)), seed)
    assert complete
    assert text in choices


@pytest.mark.parametrize("choices", [[], [""], ["a", ""], "ab"])
def test_choices_that_are_none(choices: list[str]) -> None:
    with pytest.raises(InvalidRequestError, match=r"^choices: got"):
        choice_grammar(choices)


@pytest.mark.parametrize("seed", range(20))
def test_regex(seed: int, vocabulary: Vocabulary, answer: Answer) -> None:
    regex = r"(\+[0-9]{2} )?[0-9]{3}-[0-9]{4}|n/a"
    text, complete = answer(Constraint(vocabulary, regex_grammar(regex)), seed)
    assert complete
    assert re.fullmatch(regex, text)


@pytest.mark.parametrize("seed", range(20))
def test_lark(seed: int, vocabulary: Vocabulary, answer: Answer) -> None:
    grammar = 'start: term ("+" term)*\nterm: /[0-9]{1,3}/ | "(" start ")"'
    text, complete = answer(Constraint(vocabulary, lark_grammar(grammar)), seed)
    if complete:
        assert re.fullmatch(r"[0-9+()]+", text)
        assert text.count("(") == text.count(")")


@pytest.mark.parametrize("grammar", [regex_grammar("a(?=b)"), lark_grammar("start: missing")])
def test_grammars_that_are_none(grammar: str, vocabulary: Vocabulary) -> None:
    with pytest.raises(InvalidRequestError, match=r"^the grammar is not accepted: ") as caught:
        Constraint(vocabulary, grammar)
    assert "\n" not in str(caught.value)


def test_the_end_comes_only_where_the_grammar_allows_it(
    vocabulary: Vocabulary, tokenizer: Tokenizer
) -> None:
    constraint = Constraint(vocabulary, regex_grammar("ab?"))
    assert EOS not in allowed(constraint)
    assert not constraint.may_end
    advance(constraint, tokenizer.encode("a"))
    assert EOS in allowed(constraint)
    assert constraint.may_end
    advance(constraint, tokenizer.encode("b"))
    assert allowed(constraint) == {EOS}
    advance(constraint, [EOS])
    assert constraint.may_end
    constraint.start()
    assert EOS not in allowed(constraint)


def test_a_token_that_is_not_allowed_is_refused(
    vocabulary: Vocabulary, tokenizer: Tokenizer
) -> None:
    constraint = Constraint(vocabulary, regex_grammar("ab?"))
    with pytest.raises(InvalidRequestError, match="does not allow token"):
        constraint.advance(tokenizer.encode("x")[0])


@pytest.mark.parametrize("begun", [False, True])
def test_the_grammar_begins_after_thinking(
    begun: bool, vocabulary: Vocabulary, tokenizer: Tokenizer
) -> None:
    constraint = Constraint(
        vocabulary, choice_grammar(["yes"]), Thinking(THINK, END_THINK, begun=begun)
    )
    everything = {*range(SIZE)} - {EOS}
    for _ in range(2):
        if not begun:
            advance(constraint, [THINK])
        assert allowed(constraint) == everything
        advance(constraint, [*tokenizer.encode('no {"'), THINK])
        assert not constraint.may_end
        advance(constraint, [END_THINK])
        assert THINK not in allowed(constraint)
        advance(constraint, tokenizer.encode("yes"))
        assert allowed(constraint) == {EOS}
        assert constraint.may_end
        constraint.start()


def test_a_model_may_answer_without_thinking(vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
    plain = Constraint(vocabulary, schema_grammar({"type": "integer"}))
    constraint = Constraint(
        vocabulary, schema_grammar({"type": "integer"}), Thinking(THINK, END_THINK)
    )
    assert allowed(constraint) == allowed(plain) | {THINK}
    advance(constraint, tokenizer.encode("1"))
    assert THINK not in allowed(constraint)
    assert constraint.may_end
