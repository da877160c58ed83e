"""The library's sampler and its NumPy reference give the same tokens, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_ops.sampling import (
    NONE_LEFT,
    NOT_FINITE,
    Sampler,
    SamplerOptions,
    exp_of_negative,
    uniform,
)
from lfm_ops.sampling_reference import ReferenceSampler
from lfm_ops.sampling_reference import exp_of_negative as reference_exp
from lfm_ops.sampling_reference import uniform as reference_uniform

OFF = {"temperature": 1.0, "top_p": 1.0, "repetition_penalty": 1.0}


@given(st.floats(-800, 0))
def test_exp(x: float) -> None:
    got = exp_of_negative(x)
    assert got == reference_exp(np.array([x]))[0]
    assert got == (pytest.approx(np.exp(x), rel=5e-16) if x >= -700 else 0)


def test_exp_at_its_ends() -> None:
    assert exp_of_negative(0.0) == 1
    assert exp_of_negative(-700.0) > 0
    assert exp_of_negative(np.nextafter(-700, -701)) == exp_of_negative(-np.inf) == 0


@given(seed=st.integers(0, 2**64 - 1), index=st.integers(0, 2**40))
def test_uniform(seed: int, index: int) -> None:
    assert 0 <= uniform(seed, index) == reference_uniform(seed, index) < 1


def test_draws_are_uniform_and_seeds_differ() -> None:
    draws = np.array([[uniform(seed, i) for i in range(500)] for seed in range(200)])
    # Five standard deviations.
    assert abs(draws.mean() - 0.5) < 5 * np.sqrt(1 / 12 / draws.size)
    for shifted in (draws[1:] * draws[:-1], draws[:, 1:] * draws[:, :-1]):
        assert abs(shifted.mean() - 0.25) < 5 * np.sqrt(7 / 144 / shifted.size)


@st.composite
def options(draw: Any) -> SamplerOptions:
    return SamplerOptions(
        seed=draw(st.integers(0, 2**64 - 1)),
        temperature=draw(st.sampled_from([0, 1e-300, 0.2, 1, 5, 1e6])),
        top_p=draw(st.sampled_from([1, 0.95, 0.5, 0.01, 5e-324])),
        min_p=draw(st.sampled_from([0, 0.15, 0.9, 1, 5e-324])),
        repetition_penalty=draw(st.sampled_from([1, 1.05, 2, 0.5, 1e-6, 1e6])),
        frequency_penalty=draw(st.sampled_from([0, 0.3, -2])),
        presence_penalty=draw(st.sampled_from([0, 0.7, -0.1])),
        top_k=draw(st.sampled_from([0, 1, 5, 80, 1000, 2**31 - 1])),
    )


def some_logits(random: np.random.Generator, size: int) -> Any:
    logits = random.normal(size=size) * random.choice([0.01, 1, 10, 1e4, 1e37])
    if random.random() < 0.3:
        logits = logits.round()  # ties
    logits = logits.astype(np.float32)
    if random.random() < 0.3:
        logits[random.random(size) < random.random()] = -np.inf
    if random.random() < 0.05:
        logits[random.integers(size)] = random.choice([np.nan, np.inf])
    return logits


def some_allowed(random: np.random.Generator, size: int) -> Any:
    if random.random() < 0.4:
        return None
    bits = random.random(-(-size // 32) * 32) < random.choice([0, 0.01, 0.5, 0.99, 1])
    return np.packbits(bits, bitorder="little").view(np.uint32)


@settings(max_examples=300)
@given(
    options=options(),
    size=st.sampled_from([1, 2, 31, 32, 63, 64, 65, 128, 300, 3000, 20_000]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_library_draws_what_the_reference_draws(
    options: SamplerOptions, size: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    samplers = (Sampler(options, size), ReferenceSampler(options, size))
    prompt = random.integers(-3, size + 3, random.integers(100)).tolist()
    biased = random.integers(-3, size + 3, random.integers(10)).tolist()
    biases = random.choice([-np.inf, -100, 0.5, 100], len(biased)).tolist()
    for sampler in samplers:
        sampler.observe(prompt)
        sampler.bias(biased, biases)
    for _ in range(4):
        logits, allowed = some_logits(random, size), some_allowed(random, size)
        before = logits.copy()
        tokens = [sampler.choose(logits, allowed) for sampler in samplers]
        assert tokens[0] == tokens[1]
        np.testing.assert_array_equal(logits, before)
        for sampler in samplers:
            sampler.accept(max(tokens[0], 0))


def test_choosing_twice_changes_nothing() -> None:
    logits = np.random.default_rng(0).normal(size=500).astype(np.float32)
    sampler = Sampler(SamplerOptions(**OFF), 500)
    tokens = []
    for _ in range(20):
        assert sampler.choose(logits) == sampler.choose(logits)
        tokens.append(sampler.choose(logits))
        sampler.accept(tokens[-1])
    assert len(set(tokens)) > 10


def test_answers_that_are_no_token() -> None:
    sampler = Sampler(SamplerOptions(**OFF), 40)
    sampler.bias([3], [-np.inf])
    logits = np.zeros(40, np.float32)
    only_3 = np.array([8, 0], np.uint32)
    assert sampler.choose(logits, only_3) == NONE_LEFT
    assert sampler.choose(np.full(40, -np.inf, np.float32)) == NOT_FINITE
    for bad in (np.nan, np.inf):
        logits[3] = bad  # banned, and yet the graph is broken
        assert sampler.choose(logits) == NOT_FINITE


def test_logits_that_may_not_be_written_are_copied() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 500)).astype(np.float32)
    sampler = Sampler(SamplerOptions(**OFF), 500)
    sampler.bias([0], [100])
    logits.setflags(write=False)
    assert sampler.choose(logits[0]) == sampler.choose(logits[1]) == 0
    assert sampler.choose(np.asfortranarray(logits)[1]) == 0


def test_arrays_of_another_shape_or_type_are_refused() -> None:
    sampler = Sampler(SamplerOptions(**OFF), 40)
    logits = np.zeros(40, np.float32)
    wrongs: list[Any] = [logits[:39], logits.astype(np.float64), logits[None]]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="logits"):
            sampler.choose(wrong)
    masks: list[Any] = [np.zeros(1, np.uint32), np.zeros(2, np.int64)]
    for mask in masks:
        with pytest.raises(ValueError, match="allowed"):
            sampler.choose(logits, mask)
    with pytest.raises(ValueError, match="2 ids, 1 biases"):
        sampler.bias([1, 2], [0.5])
