"""Calibrated rounding beside plain loops, and what it makes of statistics of any kind."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_export.calibrate import metric as measures
from lfm_export.calibrate import rounding
from lfm_export.calibrate.metric import Metric
from lfm_export.calibrate.part import expert_weights
from lfm_export.calibrate.rounding import (
    _choose_scale,
    _descend,
    _fit_scales,
    _one_by_one,
    _round,
    quantize_calibrated,
)
from lfm_export.calibrate.statistics import Statistics
from lfm_export.quantize import METHODS, STEPS
from lfm_export.workers import Here, Threads
from lfm_ops.formats import Format, format_named
from lfm_ops.quantized import QuantizedTensor
from lfm_ops.reference import Array
from numpy.typing import NDArray

Q4 = format_named("q4")


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Iterator[None]:
    """Matrices as small as these are worked at in several blocks too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounding, "_STRIPE", 64)
        patch.setattr(rounding, "_ROWS_TO_FIT", 4)
        patch.setattr(measures, "_HALVED", 32)
        yield


def quantized(rows: Array, metric: Metric, format: Format) -> QuantizedTensor:
    return quantize_calibrated([rows], metric, format, Here())[0]


def correlated(rng: np.random.Generator, tokens: int, columns: int) -> Array:
    """Inputs that tell of one another, and some far larger than others, as real ones do."""
    mixed = rng.standard_normal((tokens, columns)) @ rng.standard_normal((columns, columns))
    return (mixed * np.exp(rng.normal(0, 1, columns))).astype(np.float32)


def statistics(x: Array, exact: Array | None = None, weights: Array | None = None) -> Statistics:
    found = Statistics(x.shape[1])
    found.add(x, x if exact is None else exact, weights)
    return found


def problem(seed: int, rows: int = 6, columns: int = 96) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, columns), np.float32), correlated(rng, 400, columns)


def cost(x: Array, error: Array) -> float:
    return float(np.square(x.astype(np.float64) @ error.T.astype(np.float64)).sum())


def test_statistics_are_plain_sums_over_tokens() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 9, 4)).astype(np.float32)
    weights = rng.random(9, np.float32)
    got = Statistics(4)
    got.add(x[:5], y[:5], weights[:5])
    got.add(x[5:], y[5:], weights[5:])
    second, cross = np.zeros((4, 4)), np.zeros((4, 4))
    for t in range(9):
        for i in range(4):
            for j in range(4):
                second[i, j] += weights[t] * x[t, i] * x[t, j]
                cross[i, j] += weights[t] * y[t, i] * x[t, j]
    np.testing.assert_allclose(got.second, second, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.cross, cross, rtol=1e-5, atol=1e-6)
    assert got.tokens == pytest.approx(weights.sum() ** 2 / np.square(weights).sum(), rel=1e-6)


def plain_gptq(
    weights: NDArray[np.float64], scales: NDArray[np.float64], hessian: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Textbook GPTQ of one row: the inverse is shrunk by elimination, column by column."""
    left, inverse = weights.copy(), np.linalg.inv(hessian)
    steps = np.empty(len(left))
    for i in range(len(left)):
        steps[i] = np.clip(np.rint(left[i] / scales[i]), -8, 7)
        error = (left[i] - steps[i] * scales[i]) / inverse[i, i]
        for j in range(i + 1, len(left)):
            left[j] -= error * inverse[i, j]
        inverse -= np.outer(inverse[:, i], inverse[i]) / inverse[i, i]
    return steps


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_feedback_is_that_of_textbook_gptq(seed: int) -> None:
    rows, x = problem(seed)
    metric = Metric(statistics(x), 32)
    steps, scales = _round(rows.T.copy(), metric, Q4)
    places = (metric.order[:, None] * 32 + np.arange(32)).reshape(-1)
    hessian = metric.hessian.astype(np.float64)[np.ix_(places, places)]
    different = 0
    for row in range(len(rows)):
        by_column = np.repeat(scales[:, row].astype(np.float64), 32)
        wanted = plain_gptq(rows[row, places].astype(np.float64), by_column[places], hessian)
        different += int((steps[places, row] != wanted).sum())
    assert different <= 0.01 * rows.size  # float32 against float64 at the edges of a step


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_the_scale_is_the_cheapest_of_those_tried(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group = rng.standard_normal((32, 3), np.float32)
    inverse = np.linalg.inv(np.cov(rng.standard_normal((32, 99))) + np.eye(32))
    upper = np.linalg.cholesky(inverse).T.astype(np.float32)
    chosen = _choose_scale(group, upper, Q4)
    _, errors = _one_by_one(group, chosen, upper, Q4)
    for row in range(3):
        extreme = group[np.abs(group[:, row]).argmax(), row]
        for lands_at in (-6.0, -6.48, -6.96, -7.44, -8.0, -8.56, -9.2):
            other = np.float32(np.float16(extreme / np.float32(lands_at)))
            _, tried = _one_by_one(group, np.full(3, other), upper, Q4)
            assert np.square(errors[:, row]).sum() <= np.square(tried[:, row]).sum() * 1.0001


def test_fitted_scales_are_those_of_least_squares() -> None:
    rows, x = problem(8)
    metric = Metric(statistics(x), 32)
    plain = METHODS["q4"](rows)
    assert plain.scales is not None
    scales, steps = (a.astype(np.float32).T.copy() for a in (plain.scales, plain.values))
    got = _fit_scales(metric.hessian @ rows.T, steps, scales, metric)
    half = np.linalg.cholesky(metric.hessian.astype(np.float64)).T
    for row in range(len(rows)):
        groups = np.where(np.arange(96)[:, None] // 32 == np.arange(3), steps[:, row, None], 0)
        wanted = np.linalg.lstsq(half @ groups, half @ rows[row])[0]
        np.testing.assert_allclose(got[:, row], wanted, rtol=2e-3)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_descending_is_a_loop_over_columns_and_groups_and_never_costs(seed: int) -> None:
    rows, x = problem(seed, rows=3)
    metric = Metric(statistics(x), 32)
    plain = METHODS["q4"](rows)
    assert plain.scales is not None
    scales = plain.scales.astype(np.float32).T.copy()
    steps = plain.values.astype(np.float32).T.copy()
    got, fitted = _descend(metric.hessian @ rows.T, steps, scales, metric, Q4)
    hessian, different, unlike = metric.hessian.astype(np.float64), 0, 0
    for row in range(3):
        scale = np.repeat(scales[:, row].astype(np.float64), 32)
        now = steps[:, row].astype(np.float64)
        before = rows[row] - now * scale
        for j in range(96):
            pull = float(hessian[j] @ (rows[row] - now * scale))
            now[j] = np.clip(np.rint(now[j] + pull / (hessian[j, j] * scale[j])), -8, 7)
            if j % 32 == 31:
                group = np.where(np.arange(96) // 32 == j // 32, now, 0)
                pull = float(group @ hessian @ (rows[row] - now * scale))
                found = scale[j] + pull / float(group @ hessian @ group)
                if 0.5 < found / scale[j] < 2:
                    scale[j - 31 : j + 1] = np.float16(found)
        after = rows[row] - got[:, row] * np.repeat(fitted[:, row], 32)
        assert after @ hessian @ after <= before @ hessian @ before * 1.0001
        unlike += int((np.abs(fitted[:, row] / scale[::32] - 1) > 0.01).sum())
        different += int((got[:, row] != now).sum())
    assert different <= 0.02 * rows.size
    assert unlike <= 1


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["q4", "q8"]))
def test_what_the_layer_reads_errs_less_than_rounded_by_itself(seed: int, method: str) -> None:
    rows, x = problem(seed, rows=40)
    format = format_named(method)
    got = quantized(rows, Metric(statistics(x), 32), format)
    plain = METHODS[method](rows)
    assert cost(x, rows - got.dequantize()) < 0.6 * cost(x, rows - plain.dequantize())
    low, high = STEPS[method]
    assert got.values.min() >= low
    assert got.values.max() <= high
    assert got.scales is not None
    assert np.isfinite(got.scales).all()
    assert (got.scales != 0).all()
    again = quantized(rows, Metric(statistics(x), 32), format)
    assert np.array_equal(again.values, got.values)
    assert again.scales is not None
    assert np.array_equal(again.scales, got.scales)


def test_errors_of_layers_before_it_are_made_good() -> None:
    rows, exact = problem(3, rows=40)
    rng = np.random.default_rng(0)
    x = exact + 0.3 * correlated(rng, len(exact), 96)
    alone = quantized(rows, Metric(statistics(x), 32), Q4)
    beside = quantized(rows, Metric(statistics(x, exact), 32), Q4)

    def missed(weights: Array) -> float:
        return float(np.square(exact @ rows.T - x @ weights.T).sum())

    assert missed(beside.dequantize()) < 0.9 * missed(alone.dequantize())


def test_thin_statistics_count_by_their_diagonal_alone() -> None:
    rows, x = problem(4)
    few = x[:10]
    metric = Metric(statistics(few, few + 1), 32)
    assert np.array_equal(metric.hessian, np.diag(np.diag(metric.hessian)))
    assert np.array_equal(metric.target(rows), rows)
    got = quantized(rows, metric, Q4)
    weights = np.diag(metric.hessian)
    plain = np.square(METHODS["q4"](rows).dequantize() - rows) @ weights
    assert (np.square(got.dequantize() - rows) @ weights).sum() < plain.sum()


@pytest.mark.parametrize("kind", ["zeros", "one input", "constant", "tiny", "huge"])
def test_odd_inputs_give_finite_weights_near_the_true_ones(kind: str) -> None:
    rows, x = problem(5)
    x = {
        "zeros": np.where(np.arange(96) < 64, 0, x).astype(np.float32),
        "one input": np.where(np.arange(96) == 7, x, 0).astype(np.float32),
        "constant": np.ones_like(x),
        "tiny": x * np.float32(1e-15),
        "huge": x * np.float32(1e12),
    }[kind]
    got = quantized(rows, Metric(statistics(x), 32), Q4).dequantize()
    assert np.isfinite(got).all()
    assert np.abs(got - rows).max() < 2.5
    with pytest.raises(ValueError, match="nothing"):
        Metric(Statistics(96), 32)


def test_a_row_of_zeros_and_a_group_of_zeros_stay_so() -> None:
    rows, x = problem(6)
    rows[2] = 0
    rows[3, 32:64] = 0
    metric = Metric(statistics(x), 32)
    got = quantized(rows, metric, Q4).dequantize()
    assert not got[2].any()
    assert np.isfinite(got).all()


def test_tokens_of_an_expert_count_by_the_square_of_its_share() -> None:
    experts = np.array([[0, 1], [2, 0], [1, 2], [1, 3]])
    shares = np.array([[0.75, 0.25], [0.9, 0.5], [0.5, 0.5], [0.6, 0.4]], np.float32)
    got = expert_weights((experts, shares), 1, columns=3)
    assert got.tolist() == pytest.approx([0.0625, 0, 0.25, 0.36])
    rare = expert_weights((experts, shares), 3, columns=3)
    assert rare.tolist() == pytest.approx([0.0016, 0.0016, 0.0016, 0.16])
    assert not expert_weights((experts, shares), 7, columns=3).any()


def test_matrices_are_shared_by_rows_and_come_back_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    metric = Metric(statistics(correlated(rng, 200, 64)), 32)
    matrices = [rng.standard_normal((rows, 64)).astype(np.float32) for rows in (70, 3, 32)]
    monkeypatch.setattr(rounding, "_WEIGHTS_AT_ONCE", 64 * 16)
    shared = quantize_calibrated(matrices, metric, Q4, Threads(3))
    for rows, matrix in zip(matrices, shared, strict=True):
        alone = quantized(rows, metric, Q4)
        assert np.array_equal(matrix.values, alone.values)
        assert np.array_equal(matrix.scales, alone.scales)  # type: ignore[arg-type]
