"""Integers and scales of a matrix: each group in turn, with what it errs made good by the others.

GPTQ (Frantar et al. 2022) in groups of fixed columns. When a group's turn comes, its scale is the
one of several with which rounding its inputs one by one, each making good what those before it
erred, costs least. Then scales and integers are refined in turn: the scales of a row solve their
least-squares problem, and each integer moves where the row's error becomes smaller.
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
    steps, scales = _round(target, metric, format)
    for _ in range(_PASSES):
        scales = _fit_scales(target, steps, scales, metric)
        steps = _descend(target, steps, scales, metric, format)
    scales = _fit_scales(target, steps, scales, metric)
    return QuantizedTensor(
        format,
        np.ascontiguousarray(steps.T, np.int8),
        np.ascontiguousarray(scales.T, np.float16),
    )


def _round(target: Array, metric: Metric, format: Format) -> tuple[Array, Array]:
    """Steps `[columns, rows]` and scales `[groups, rows]`, group by group."""
    size, upper = format.group_size, metric.upper
    columns, rows = target.shape
    left = target.reshape(-1, size, rows)[metric.order].reshape(columns, rows)
    steps = np.empty((columns // size, size, rows), np.float32)
    scales = np.empty((columns // size, rows), np.float32)
    for place, group in enumerate(metric.order):
        some = slice(place * size, (place + 1) * size)
        scale = _choose_scale(left[some], upper[some, some], format)
        steps[group], errors = _one_by_one(left[some], scale, upper[some, some], format)
        scales[group] = scale
        left[some.stop :] -= upper[some, some.stop :].T @ errors
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
    left, low_high = group.copy(), STEPS[format.name]
    steps, errors = np.empty_like(group), np.empty_like(group)
    inverse = np.float32(1) / scale
    for i, weights in enumerate(left):
        np.clip(np.rint(weights * inverse), *low_high, out=steps[i])
        errors[i] = (weights - steps[i] * scale) / upper[i, i]
        left[i + 1 :] -= upper[i, i + 1 :, None] * errors[i]
    return steps, errors


def _fit_scales(target: Array, steps: Array, scales: Array, metric: Metric) -> Array:
    """For these steps the scales of least cost, where they are near those that were.

    They solve `A s = b` for every row; A holds the products of the row's groups by the metric.
    """
    groups, rows = scales.shape
    size = len(target) // groups
    goal = metric.hessian @ target
    b = np.einsum(
        "gir,gir->rg", steps.reshape(groups, size, rows), goal.reshape(groups, size, rows)
    )
    a = np.empty((rows, groups, groups))
    for group in range(groups):
        some = slice(group * size, (group + 1) * size)
        product = metric.hessian[:, some] @ steps[some]
        product *= steps
        a[:, group] = product.reshape(groups, size, rows).sum(axis=1).T
    # A group of zeros has no scale: it keeps the one it has.
    a[:, np.arange(groups), np.arange(groups)] += 1e-6 * (
        1 + np.trace(a, axis1=1, axis2=2)[:, None]
    )
    solved = np.linalg.solve(a, b[..., None])[..., 0].T.astype(np.float32)
    near = (solved / scales > 0.5) & (solved / scales < 2)
    return round_to_half(np.where(near, solved, scales))


def _descend(target: Array, steps: Array, scales: Array, metric: Metric, format: Format) -> Array:
    """Each step where the row's cost is least while all others stay, once in order."""
    groups, rows = scales.shape
    size, hessian = len(target) // groups, metric.hessian
    low_high = STEPS[format.name]
    steps = steps.copy()
    gradient = hessian @ (target - steps * np.repeat(scales, size, axis=0))
    for group in range(groups):
        some = slice(group * size, (group + 1) * size)
        here, scale = gradient[some].copy(), scales[group]
        inverse, block = np.float32(1) / scale, hessian[some, some]
        moved = np.empty((size, rows), np.float32)
        for i, weights in enumerate(steps[some]):
            better = np.rint(weights + here[i] * inverse / block[i, i])
            np.clip(better, *low_high, out=better)
            moved[i] = (better - weights) * scale
            here[i + 1 :] -= block[i, i + 1 :, None] * moved[i]
            weights[:] = better
        gradient[some.stop :] -= hessian[some.stop :, some] @ moved
    return steps
