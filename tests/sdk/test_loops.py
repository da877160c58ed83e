"""Loops are found where the criterion says, and reasoning is closed when its budget is spent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_edge import InvalidRequestError
from lfm_edge.chat.loops import LoopDetector
from lfm_edge.chat.thinking_budget import ThinkingBudget


def smallest_period(
    tokens: list[int], max_period: int, min_repeats: int, min_tokens: int
) -> int | None:
    """The criterion, plainly: the end of `tokens` is one block over and over."""
    for period in range(1, max_period + 1):
        length = max(min_repeats * period, min_tokens)
        stretch = tokens[-length:]
        if len(stretch) == length and all(
            stretch[i] == stretch[i - period] for i in range(period, length)
        ):
            return period
    return None


@settings(max_examples=300)
@given(
    tokens=st.lists(
        st.one_of(
            st.lists(st.integers(0, 2), max_size=6),
            st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=5), st.integers(1, 5)).map(
                lambda block: block[0] * block[1]
            ),
        ),
        max_size=6,
    ).map(lambda parts: [token for part in parts for token in part]),
    max_period=st.integers(1, 6),
    min_repeats=st.integers(2, 4),
    min_tokens=st.integers(2, 12),
)
def test_loops_are_those_of_the_criterion(
    tokens: list[int], max_period: int, min_repeats: int, min_tokens: int
) -> None:
    detector = LoopDetector(max_period=max_period, min_repeats=min_repeats, min_tokens=min_tokens)
    for end, token in enumerate(tokens, 1):
        expected = smallest_period(tokens[:end], max_period, min_repeats, min_tokens)
        assert detector.push(token) == (expected is not None)
        assert detector.period == expected


def test_long_blocks_and_lone_tokens() -> None:
    block = list(range(300))
    detector = LoopDetector()
    found = [detector.push(token) for token in block * 4]
    assert found.index(True) == 4 * 300 - 1
    detector = LoopDetector()
    found = [detector.push(9) for _ in range(300)]
    assert found.index(True) == 255
    detector = LoopDetector()
    assert not any(detector.push(token) for token in range(5000))


@pytest.mark.parametrize("option", [{"max_period": 0}, {"min_repeats": 1}, {"min_tokens": 1}])
def test_a_criterion_that_means_nothing_is_refused(option: dict[str, int]) -> None:
    with pytest.raises(InvalidRequestError, match="loop detection: got"):
        LoopDetector(**option)


def test_the_budget_counts_reasoning_alone() -> None:
    budget = ThinkingBudget(3, [5, 6])
    states = [False, True, True, False, True, True]
    assert [budget.forced(state) for state in states] == [(), (), (), (), (), (5, 6)]
    assert budget.forced(False) == ()


def test_no_budget_closes_at_once() -> None:
    assert ThinkingBudget(0, [5]).forced(True) == (5,)


@pytest.mark.parametrize(("tokens", "closing"), [(-1, [5]), (3, [])])
def test_a_budget_that_cannot_be_kept_is_refused(tokens: int, closing: list[int]) -> None:
    with pytest.raises(InvalidRequestError, match="thinking budget: got"):
        ThinkingBudget(tokens, closing)
