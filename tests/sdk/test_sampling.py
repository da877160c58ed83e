"""Sampling leaves the tokens and the probabilities that transformers leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lfm_edge import BundleError, InvalidRequestError, SamplingOptions, UnknownTokenError
from lfm_edge.sampling import Sampler, _native_options
from lfm_ops.sampling_reference import candidates
from numpy.typing import NDArray
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


def truth(logits: NDArray[np.float32], options: SamplingOptions) -> NDArray[np.float64]:
    """Probabilities [vocab] as transformers makes them, in double precision."""
    steps = LogitsProcessorList([TemperatureLogitsWarper(float(options.temperature))])
    if options.top_k:
        steps.append(TopKLogitsWarper(options.top_k))
    if options.top_p < 1:
        steps.append(TopPLogitsWarper(options.top_p))
    if options.min_p:
        steps.append(MinPLogitsWarper(options.min_p))
    scores: Any = torch.tensor(logits[None]).double()
    ids: Any = torch.zeros(1, 0, dtype=torch.long)
    scores = steps(ids, scores)
    return scores.softmax(-1)[0].numpy()


def ours(logits: NDArray[np.float32], options: SamplingOptions) -> NDArray[np.float64]:
    ids, weights = candidates(logits, _native_options(options))
    probabilities = np.zeros(len(logits))
    probabilities[ids] = weights / weights.sum()
    return probabilities


@given(
    size=st.sampled_from([1, 5, 300, 3000]),
    seed=st.integers(0, 2**32 - 1),
    spread=st.floats(0.1, 10),
    temperature=st.floats(0.05, 5),
    top_k=st.integers(0, 400),
    top_p=st.floats(0.01, 1),
    min_p=st.floats(0, 1),
)
def test_filters_agree_with_transformers(
    size: int,
    seed: int,
    spread: float,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
) -> None:
    logits = (np.random.default_rng(seed).normal(size=size) * spread).astype(np.float32)
    options = SamplingOptions(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    np.testing.assert_allclose(ours(logits, options), truth(logits, options), atol=1e-9)


@pytest.mark.parametrize("spread", [0.01, 3.0, 10.0])
@pytest.mark.parametrize("filters", [{"top_p": 0.9}, {"top_k": 80}, {"top_k": 5000, "top_p": 0.5}])
def test_large_vocabularies_take_short_cuts_to_the_same(
    spread: float, filters: dict[str, Any]
) -> None:
    logits = (np.random.default_rng(5).normal(size=128_000) * spread).astype(np.float32)
    options = SamplingOptions(temperature=1, **filters)
    np.testing.assert_allclose(ours(logits, options), truth(logits, options), atol=1e-9)


def test_ties_with_the_last_of_top_k_stay() -> None:
    logits = np.array([1, 3, 2, 2, 0], np.float32)
    options = SamplingOptions(temperature=1, top_k=2)
    np.testing.assert_allclose(ours(logits, options), truth(logits, options))
    assert np.flatnonzero(ours(logits, options)).tolist() == [1, 2, 3]


@given(seed=st.integers(0, 2**32 - 1), penalty=st.floats(0.5, 2))
def test_repetition_penalty_agrees_with_transformers(seed: int, penalty: float) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(size=50).astype(np.float32)
    seen = random.integers(0, 50, 20)
    scores = RepetitionPenaltyLogitsProcessor(penalty)(
        torch.tensor(seen[None]), torch.tensor(logits[None])
    )
    sampler = Sampler(SamplingOptions(repetition_penalty=penalty), 50)
    sampler.observe(seen.tolist())
    assert sampler.sample(logits) == int(scores.argmax())


def test_a_drawn_token_counts_as_seen_and_logits_stay_as_they_are() -> None:
    logits = np.array([1.0, 0.9, 0.8], np.float32)
    sampler = Sampler(SamplingOptions(repetition_penalty=1.5), 3)
    assert [sampler.sample(logits) for _ in range(3)] == [0, 1, 2]
    assert logits.tolist() == np.array([1.0, 0.9, 0.8], np.float32).tolist()


def test_draws_follow_the_probabilities() -> None:
    logits = np.log(np.array([0.5, 0.2, 0.3, 1e-9])).astype(np.float32)
    sampler = Sampler(SamplingOptions(temperature=1, seed=1), 4)
    counts = np.bincount([sampler.sample(logits) for _ in range(4000)], minlength=4)
    # Four standard deviations of a binomial are below 0.032.
    np.testing.assert_allclose(counts / 4000, [0.5, 0.2, 0.3, 0], atol=0.032)


def test_a_seed_fixes_the_draws() -> None:
    logits = np.random.default_rng(0).normal(size=1000).astype(np.float32)

    def draw(seed: int | None) -> list[int]:
        sampler = Sampler(SamplingOptions(temperature=1, seed=seed), 1000)
        return [sampler.sample(logits) for _ in range(20)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)
    assert draw(None) != draw(None)


@pytest.mark.parametrize("temperature", [1e-300, 1e-9])
def test_the_smallest_temperatures_are_greedy(temperature: float) -> None:
    logits = np.array([-5, 80, 79.9], np.float32)
    sampler = Sampler(SamplingOptions(temperature=temperature, seed=0), 3)
    assert {sampler.sample(logits) for _ in range(20)} == {1}


def test_logits_of_minus_infinity_are_never_drawn() -> None:
    logits = np.array([-np.inf, 0, -np.inf, 0], np.float32)
    sampler = Sampler(SamplingOptions(temperature=2, top_p=0.9, seed=0), 4)
    assert {sampler.sample(logits) for _ in range(50)} == {1, 3}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(BundleError, match="not finite"):
        Sampler(SamplingOptions(), 2).sample(np.array([0, bad], np.float32))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("temperature", [-0.1, float("nan"), float("inf"), "1", True, None]),
        ("top_k", [-1, 1.5, float("nan"), True]),
        ("top_p", [0, -1, 1.01, float("nan")]),
        ("min_p", [-0.01, 1.01, float("nan")]),
        ("repetition_penalty", [0, -1, float("nan"), float("inf")]),
        ("frequency_penalty", [-2.1, 2.1, float("nan"), "1"]),
        ("presence_penalty", [-2.1, 2.1, float("nan"), True]),
        ("logit_bias", [{-1: 1.0}, {1.5: 1.0}, {1: 101.0}, {1: float("-inf")}, {1: float("nan")}]),
        ("banned", [[-1], [0.5], ["1"]]),
        ("seed", [-1, 0.5, 2**64]),
    ],
)
def test_values_out_of_range_are_named(name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(InvalidRequestError, match=rf"^{name}: got .*, expected"):
            SamplingOptions(**{name: value})


def greedy(logits: list[float], answer: list[int], **options: Any) -> int:
    """The most likely token after a prompt of token 0 and this answer."""
    sampler = Sampler(SamplingOptions(**options), len(logits))
    sampler.observe([0])
    sampler.force(answer)
    for _ in answer:
        sampler.sample(np.zeros(len(logits), np.float32))
    return sampler.sample(np.array(logits, np.float32))


def test_frequency_and_presence_penalties_count_the_answer_alone() -> None:
    # Token 0 stands in the prompt, 1 twice in the answer.
    assert greedy([3, 2.9, 0], [1, 1], frequency_penalty=2, presence_penalty=2) == 0
    assert greedy([0, 2, 1.1], [1, 1], frequency_penalty=0.4) == 1
    assert greedy([0, 2, 1.1], [1, 1, 1], frequency_penalty=0.4) == 2
    assert greedy([0, 2, 1.1], [1, 1, 1], presence_penalty=0.8) == 1
    assert greedy([0, 2, 1.1], [1], presence_penalty=1) == 2
    assert greedy([0, 2, 1.1], [2], presence_penalty=-1) == 2


def test_biases_add_and_bans_are_final() -> None:
    assert greedy([0, 1, 2], [], logit_bias={0: 5.0}) == 0
    assert greedy([0, 1, 2], [], logit_bias={0: 5.0}, banned=[0]) == 2
    assert greedy([0, 1, 2], [], banned=[1, 2]) == 0
    with pytest.raises(InvalidRequestError, match="no token is left"):
        greedy([0, 1], [], banned=[0, 1])
    for options in (SamplingOptions(banned=[2]), SamplingOptions(logit_bias={2: 1.0})):
        with pytest.raises(UnknownTokenError, match=r"(banned|bias): token 2 is not one of"):
            Sampler(options, 2)


def test_forced_tokens_come_whatever_the_logits_and_count_as_drawn() -> None:
    logits = np.random.default_rng(0).normal(size=100).astype(np.float32)

    def draw(forced: list[int]) -> list[int]:
        sampler = Sampler(SamplingOptions(temperature=1, seed=3), 100)
        sampler.force(forced)
        return [sampler.sample(logits) for _ in range(6)]

    free = draw([])
    assert draw([7, 8]) == [7, 8, *free[2:]]


def test_only_allowed_tokens_are_drawn() -> None:
    sampler = Sampler(SamplingOptions(temperature=5, top_k=3, seed=0), 70)
    allowed = np.array([0, 1 << 5, (1 << 1) | (1 << 31)], np.uint32)  # 95 is no token
    logits = np.random.default_rng(0).normal(size=70).astype(np.float32)
    assert {sampler.sample(logits, allowed) for _ in range(50)} == {37, 65}
    with pytest.raises(InvalidRequestError, match="no token is left"):
        sampler.sample(logits, np.zeros(3, np.uint32))
