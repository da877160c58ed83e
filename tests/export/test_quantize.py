"""Integers and scales: within their range, as near as they can be, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_export.emit.matrices import pack, packed_bits, unpack
from lfm_export.quantize import METHODS
from lfm_ops.reference import Array

RANGE = {"q8": (-127, 127), "q6": (-32, 31), "q4": (-8, 7), "q4_64": (-8, 7)}


def weights(seed: int, size: float = 1.0, rows: int = 8, columns: int = 192) -> Array:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, columns)) * size).astype(np.float32)


def naive_q4(rows: Array) -> Array:
    """The plain rule: the largest magnitude lands at 7."""
    groups = rows.reshape(-1, 32)
    scale = (np.abs(groups).max(-1, keepdims=True) / 7).astype(np.float16).astype(np.float32)
    return (np.rint(groups / scale).clip(-8, 7) * scale).reshape(rows.shape)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-12, 1e-4, 1.0, 1e4]))
@pytest.mark.parametrize("method", ["q8", "q6", "q4", "q4_64"])
def test_values_are_in_range_and_scales_finite(method: str, seed: int, size: float) -> None:
    rows = weights(seed, size)
    got = METHODS[method](rows)
    low, high = RANGE[method]
    assert got.scales is not None
    assert got.scales.shape == (8, 192 // got.format.group_size)
    assert np.isfinite(got.scales).all()
    assert (got.scales != 0).all()
    assert got.values.min() >= low
    assert got.values.max() <= high


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_q4_is_never_worse_than_the_plain_rule_by_group_and_better_in_all(seed: int) -> None:
    rows = weights(seed, rows=64)
    ours = np.square(METHODS["q4"](rows).dequantize() - rows)
    assert ours.sum() < 0.95 * np.square(naive_q4(rows) - rows).sum()


def test_q6_errs_by_a_fourth_of_q4() -> None:
    rows = weights(2, rows=64)
    errors = [np.square(METHODS[name](rows).dequantize() - rows).sum() for name in ("q4", "q6")]
    assert 1 / 20 < errors[1] / errors[0] < 1 / 14


def test_q4_64_errs_by_more_than_q4_and_by_less_than_the_ladder_of_auto_counts_a_bit() -> None:
    rows = weights(2, rows=64)
    errors = [np.square(METHODS[name](rows).dequantize() - rows).sum() for name in ("q4", "q4_64")]
    assert 1.15 < errors[1] / errors[0] < 1.3


def test_q8_errs_by_half_a_step_at_most() -> None:
    rows = weights(0, rows=64)
    got = METHODS["q8"](rows)
    assert got.scales is not None
    error = np.abs(got.dequantize() - rows).reshape(64, 6, 32).max(-1)
    assert (error <= 0.55 * got.scales.astype(np.float32)).all()


@pytest.mark.parametrize("method", ["f32", "q8", "q6", "q4", "q4_64"])
def test_a_row_does_not_depend_on_its_neighbours(method: str) -> None:
    rows = weights(1, rows=700, columns=512)
    whole, part = METHODS[method](rows), METHODS[method](rows[123:321])
    assert (whole.values[123:321] == part.values).all()
    if whole.scales is not None and part.scales is not None:
        assert (whole.scales[123:321] == part.scales).all()


@pytest.mark.parametrize("method", ["q8", "q6", "q4", "q4_64"])
def test_zeros_stay_zeros(method: str) -> None:
    assert (METHODS[method](np.zeros((2, 64), np.float32)).dequantize() == 0).all()


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("method", ["q8", "q6", "q4", "q4_64"])
def test_packing_keeps_every_integer(method: str, seed: int) -> None:
    tensor = METHODS[method](weights(seed))
    assert (unpack(pack(tensor), packed_bits(tensor.format)) == tensor.values).all()
