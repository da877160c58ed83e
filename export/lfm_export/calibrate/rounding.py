"""Integers and scales of a matrix: each group in turn, with what it errs made good by the others.

GPTQ (Frantar et al. 2022) in groups of fixed columns. When a group's turn comes, its scale is the
one of several with which rounding its inputs one by one, each making good what those before it
erred, costs least. Then the scales of a row solve their least-squares problem, and integers and
scales are refined in turn: each moves where the row's error becomes smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
from lfm_ops.formats import Format
from lfm_ops.quantized import QuantizedTensor, stack_rows
from numpy.typing import NDArray

from ..quantize import STEPS, round_to_half
from ..workers import Workers
from .metric import Metric

__all__ = ["quantize_calibrated"]

Array = NDArray[np.float32]

_EXTREMES = (0.75, 0.81, 0.87, 0.93, 1.0, 1.07, 1.15)
"""Where the weight of the largest magnitude lands, relative to the lowest step."""
_PASSES = 2
_WEIGHTS_AT_ONCE = 1 << 21
_STRIPE = 256
"""Columns that hear of all groups before them at once, by a product that fills a cache."""
_ROWS_TO_FIT = 64
_LITTLE = np.float32(1e-6)


def quantize_calibrated(
    matrices: Sequence[Array], metric: Metric, format: Format, workers: Workers
) -> list[QuantizedTensor]:
    """The integers and scales that cost least by `metric`.

    Args:
        matrices: `[rows, columns]`, of the same columns.
        metric: of what they read.
        format: of the integers.
        workers: share the rows.
    """
    at_once = max(1, _WEIGHTS_AT_ONCE // len(metric.hessian))
    starts = [range(0, len(rows), at_once) for rows in matrices]
    blocks = (
        rows[start : start + at_once]
        for rows, some in zip(matrices, starts, strict=True)
        for start in some
    )
    found = workers.run(_quantize, (metric, format), blocks)
    return [stack_rows(list(islice(found, len(some)))) for some in starts]


def _quantize(how: tuple[Metric, Format], rows: Array) -> QuantizedTensor:
    metric, format = how
    target = metric.target(rows).T.copy()  # a column's weights lie together
    goal = metric.hessian @ target
    steps, scales = _round(target, metric, format)
    scales = _fit_scales(goal, steps, scales, metric)
    for _ in range(_PASSES):
        steps, scales = _descend(goal, steps, scales, metric, format)
    return QuantizedTensor(
        format,
        np.ascontiguousarray(steps.T, np.int8),
        np.ascontiguousarray(scales.T, np.float16),
    )


def _round(target: Array, metric: Metric, format: Format) -> tuple[Array, Array]:
    """Steps `[columns, rows]` and scales `[groups, rows]`, group by group."""
    size, upper = format.group_size, metric.upper
    columns, rows = target.shape
    target = target.reshape(-1, size, rows)
    steps = np.empty_like(target)
    scales = np.empty((len(target), rows), np.float32)
    errors = np.empty((columns, rows), np.float32)
    for start in range(0, columns, _STRIPE):
        stop = min(start + _STRIPE, columns)
        stripe = metric.order[start // size : stop // size]
        left = target[stripe].reshape(-1, rows)
        left -= upper[:start, start:stop].T @ errors[:start]
        for place, group in zip(range(start, stop, size), stripe, strict=True):
            some, later = slice(place, place + size), slice(place + size, stop)
            here, upper_here = left[place - start :][:size], upper[some, some]
            scales[group] = _choose_scale(here, upper_here, format)
            steps[group], errors[some] = _one_by_one(here, scales[group], upper_here, format)
            left[later.start - start :] -= upper[some, later].T @ errors[some]
    return steps.reshape(columns, rows), scales


def _choose_scale(group: Array, upper: Array, format: Format) -> Array:
    """The scale `[rows]` of a group `[size, rows]` whose rounding costs least."""
    low, _ = STEPS[format.name]
    top, bottom = group.max(axis=0), group.min(axis=0)
    extreme = np.where(top > -bottom, top, bottom)
    tried = np.stack([round_to_half(extreme / np.float32(low * part)) for part in _EXTREMES])
    many = np.tile(group, len(_EXTREMES))
    _, errors = _one_by_one(many, tried.reshape(-1), upper, format)
    cost = np.einsum("ij,ij->j", errors, errors).reshape(tried.shape)
    chosen: Array = np.take_along_axis(tried, cost.argmin(axis=0)[None], axis=0)[0]
    return chosen


def _one_by_one(group: Array, scale: Array, upper: Array, format: Format) -> tuple[Array, Array]:
    """Steps and errors `[size, rows]`, of which the later inputs make good what the earlier err."""
    low_high = STEPS[format.name]
    steps, errors = np.empty_like(group), np.empty_like(group)
    inverse = np.float32(1) / scale
    for i in range(len(group)):
        weights = group[i] - upper[:i, i] @ errors[:i]
        np.multiply(weights, inverse, out=steps[i])
        np.rint(steps[i], out=steps[i])
        np.clip(steps[i], *low_high, out=steps[i])
        errors[i] = (weights - steps[i] * scale) / upper[i, i]
    return steps, errors


def _fit_scales(goal: Array, steps: Array, scales: Array, metric: Metric) -> Array:
    """For these steps the scales of least cost, where they are near those that were."""
    rows = [slice(i, i + _ROWS_TO_FIT) for i in range(0, goal.shape[1], _ROWS_TO_FIT)]
    solved = np.concatenate([_best_scales(goal[:, some], steps[:, some], metric) for some in rows])
    return _where_near(solved.T, scales)


def _best_scales(goal: Array, steps: Array, metric: Metric) -> Array:
    """Scales `[rows, groups]` that solve `A s = b` for every row.

    A holds the products of the row's groups by the metric, so it is symmetric.
    """
    groups, (columns, rows) = len(metric.order), goal.shape
    size = columns // groups
    steps = steps.reshape(groups, size, rows)
    b = np.einsum("gir,gir->rg", steps, goal.reshape(groups, size, rows))
    products = np.empty((groups, groups, rows), np.float32)
    for group in range(groups):
        start = group * size
        read = metric.hessian[start:, start : start + size] @ steps[group]
        sums = np.einsum("gir,gir->gr", read.reshape(-1, size, rows), steps[group:])
        products[group, group:] = products[group:, group] = sums
    a = products.transpose(2, 0, 1).astype(np.float64, order="C")
    # A group of zeros has no scale: it keeps the one it has.
    a[:, np.arange(groups), np.arange(groups)] += _LITTLE * (
        1 + np.trace(a, axis1=1, axis2=2)[:, None]
    )
    solved: Array = np.linalg.solve(a, b[..., None])[..., 0].astype(np.float32)
    return solved


def _descend(
    goal: Array, steps: Array, scales: Array, metric: Metric, format: Format
) -> tuple[Array, Array]:
    """Each step, then its group's scale, where the row's cost is least while all others stay.

    Once in order. `goal` is the metric's product with the target, so that its product with the
    weights, taken from that, is half the slope of the cost.
    """
    groups, rows = scales.shape
    columns, hessian = len(goal), metric.hessian
    size = columns // groups
    steps, scales = steps.copy(), scales.copy()
    weights = (steps.reshape(groups, size, rows) * scales[:, None]).reshape(columns, rows)
    for start in range(0, columns, _STRIPE):
        stop = min(start + _STRIPE, columns)
        slope = goal[start:stop] - hessian[start:stop] @ weights
        for place in range(start, stop, size):
            some, later, group = (
                slice(place, place + size),
                slice(place + size, stop),
                place // size,
            )
            here, block = slope[place - start :][:size], hessian[some, some]
            _move_steps(steps[some], scales[group], here, block, format)
            scales[group] = _move_scale(steps[some], scales[group], here, block)
            before = weights[some].copy()
            weights[some] = steps[some] * scales[group]
            slope[later.start - start :] -= hessian[later, some] @ (weights[some] - before)
    return steps, scales


def _move_steps(steps: Array, scale: Array, slope: Array, block: Array, format: Format) -> None:
    """Moves the steps of one group `[size, rows]`, and the slope with them, in place."""
    inverse, low_high = np.float32(1) / scale, STEPS[format.name]
    moved = np.empty_like(steps)
    for i, step in enumerate(steps):
        pull = slope[i] - block[i, :i] @ moved[:i]
        better = np.rint(step + pull * inverse / block[i, i])
        np.clip(better, *low_high, out=better)
        moved[i] = (better - step) * scale
        step[:] = better
    slope -= block @ moved


def _move_scale(steps: Array, scale: Array, slope: Array, block: Array) -> Array:
    """The best scale `[rows]` of one group; that which it was where all steps are zero."""
    energy = np.einsum("ir,ir->r", block @ steps, steps)
    pull = np.einsum("ir,ir->r", steps, slope)
    return _where_near(scale + pull / (energy + _LITTLE), scale)


def _where_near(found: Array, scales: Array) -> Array:
    """Scales as they are stored; those that were, where what was found is far from them."""
    ratio = found / scales
    return round_to_half(np.where((ratio > 0.5) & (ratio < 2), found, scales))
