"""6 bits: symmetric groups of 32 in -32..31, each scale chosen by least squared error."""

from __future__ import annotations

from lfm_ops.formats import format_named
from lfm_ops.quantized import QuantizedTensor

from ._groups import Array
from ._least_squares import quantize_least_squares

__all__ = ["quantize_q6"]

_EXTREMES = (-32.0, -31.0, -30.0)  # where the weight of the largest magnitude lands, in steps


def quantize_q6(rows: Array) -> QuantizedTensor:
    """Rounds `rows` `[rows, columns]` to -32..31 steps per group."""
    return quantize_least_squares(rows, format_named("q6"), _EXTREMES)
