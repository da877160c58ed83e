"""4 bits: symmetric groups of 32 in -8..7, each scale chosen by least squared error.

Candidates map the weight of the largest magnitude near -8, a little inside and a little beyond
(where it is clipped and the rest gains resolution). Each is refined to the least-squares scale of
the integers that it gives, rounded to float16, and the one with the smallest error is kept.
"""

from __future__ import annotations

import numpy as np
from lfm_ops.formats import format_named
from lfm_ops.quantized import QuantizedTensor

from ._groups import STEPS, Array, quantize_groups, round_to_half

__all__ = ["quantize_q4"]

_EXTREMES = (-8.0, -7.2, -9.0)  # where the weight of the largest magnitude lands, in steps


def quantize_q4(rows: Array) -> QuantizedTensor:
    """Rounds `rows` `[rows, columns]` to -8..7 steps per group."""
    return quantize_groups(rows, format_named("q4"), _least_squares)


def _least_squares(groups: Array, extreme: Array) -> tuple[Array, Array]:
    error, scale, steps = _try(groups, extreme, _EXTREMES[0])
    for candidate in _EXTREMES[1:]:
        other_error, other_scale, other_steps = _try(groups, extreme, candidate)
        better = other_error < error
        error = np.where(better, other_error, error)
        scale = np.where(better, other_scale, scale)
        steps[better] = other_steps[better]
    return scale, steps


def _try(groups: Array, extreme: Array, lands_at: float) -> tuple[Array, Array, Array]:
    """Squared error (less that of the group itself), scale and steps, for one candidate."""
    steps = _steps(groups, round_to_half(extreme / np.float32(lands_at)))
    energy, overlap = _products(steps, groups)
    scale = round_to_half(np.divide(overlap, energy, out=np.zeros_like(energy), where=energy > 0))
    steps = _steps(groups, scale)
    energy, overlap = _products(steps, groups)
    return scale * (scale * energy - 2 * overlap), scale, steps


def _products(steps: Array, groups: Array) -> tuple[Array, Array]:
    return np.einsum("ij,ij->i", steps, steps), np.einsum("ij,ij->i", steps, groups)


def _steps(groups: Array, scale: Array) -> Array:
    steps = groups * (np.float32(1) / scale)[:, None]
    np.rint(steps, out=steps)
    return np.clip(steps, *STEPS["q4"], out=steps)
