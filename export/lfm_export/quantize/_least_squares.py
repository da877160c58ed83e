"""Groups whose scales are chosen by least squared error.

Candidates map the weight of the largest magnitude near the lowest step, a little inside or beyond
(where it is clipped and the rest gains resolution). Each is refined to the
least-squares scale of the integers that it gives, rounded to float16, and the one with the smallest
error is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from lfm_ops.formats import Format
from lfm_ops.quantized import QuantizedTensor

from ._groups import STEPS, Array, quantize_groups, round_to_half

__all__ = ["quantize_least_squares"]


def quantize_least_squares(
    rows: Array, format: Format, extremes: Sequence[float]
) -> QuantizedTensor:
    """Rounds `rows` `[rows, columns]`; `extremes`: where the largest weight may land, in steps."""
    low_high = STEPS[format.name]

    def rounding(groups: Array, extreme: Array) -> tuple[Array, Array]:
        error, scale, steps = _try(groups, extreme, extremes[0], low_high)
        for candidate in extremes[1:]:
            other_error, other_scale, other_steps = _try(groups, extreme, candidate, low_high)
            better = other_error < error
            error = np.where(better, other_error, error)
            scale = np.where(better, other_scale, scale)
            steps[better] = other_steps[better]
        return scale, steps

    return quantize_groups(rows, format, rounding)


def _try(
    groups: Array, extreme: Array, lands_at: float, low_high: tuple[int, int]
) -> tuple[Array, Array, Array]:
    """Squared error (less that of the group itself), scale and steps, for one candidate."""
    steps = _steps(groups, round_to_half(extreme / np.float32(lands_at)), low_high)
    energy, overlap = _products(steps, groups)
    scale = round_to_half(np.divide(overlap, energy, out=np.zeros_like(energy), where=energy > 0))
    steps = _steps(groups, scale, low_high)
    energy, overlap = _products(steps, groups)
    return scale * (scale * energy - 2 * overlap), scale, steps


def _products(steps: Array, groups: Array) -> tuple[Array, Array]:
    return np.einsum("ij,ij->i", steps, steps), np.einsum("ij,ij->i", steps, groups)


def _steps(groups: Array, scale: Array, low_high: tuple[int, int]) -> Array:
    steps = groups * (np.float32(1) / scale)[:, None]
    np.rint(steps, out=steps)
    return np.clip(steps, *low_high, out=steps)
