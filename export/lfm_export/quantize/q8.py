"""8 bits: symmetric groups of 32, the scale taken from the largest magnitude."""

from __future__ import annotations

import numpy as np
from lfm_ops.formats import format_named
from lfm_ops.quantized import QuantizedTensor

from ._groups import STEPS, Array, quantize_groups, round_to_half

__all__ = ["quantize_q8"]


def quantize_q8(rows: Array) -> QuantizedTensor:
    """Rounds `rows` `[rows, columns]` to -127..127 steps per group."""
    return quantize_groups(rows, format_named("q8"), _largest)


def _largest(groups: Array, extreme: Array) -> tuple[Array, Array]:
    largest: Array = np.abs(extreme)
    scale = round_to_half(largest / np.float32(127))
    steps = groups * (np.float32(1) / scale)[:, None]
    np.rint(steps, out=steps)
    return scale, np.clip(steps, *STEPS["q8"], out=steps)
