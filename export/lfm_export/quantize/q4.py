"""4 bits: symmetric groups of 32 or 64 in -8..7, each scale chosen by least squared error."""

from __future__ import annotations

from lfm_ops.formats import format_named
from lfm_ops.quantized import QuantizedTensor

from ._groups import Array
from ._least_squares import quantize_least_squares

__all__ = ["quantize_q4", "quantize_q4_64"]

_EXTREMES = (-8.0, -7.2, -9.0)  # where the weight of the largest magnitude lands, in steps


def quantize_q4(rows: Array) -> QuantizedTensor:
    """Rounds `rows` `[rows, columns]` to -8..7 steps per group of 32."""
    return quantize_least_squares(rows, format_named("q4"), _EXTREMES)


def quantize_q4_64(rows: Array) -> QuantizedTensor:
    """The same in groups of 64."""
    return quantize_least_squares(rows, format_named("q4_64"), _EXTREMES)
