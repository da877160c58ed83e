"""What the integer methods share: a tensor's groups, taken a cacheful at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from lfm_ops.formats import Format
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

from ._fit import check_largest

__all__ = ["STEPS", "Array", "quantize_groups", "round_to_half"]

Array = NDArray[np.float32]
Rounding = Callable[[Array, Array], tuple[Array, Array]]

STEPS = {"q8": (-127, 127), "q6": (-32, 31), "q4": (-8, 7), "q4_64": (-8, 7)}
"""The lowest and the highest integer of each format."""

_SMALLEST = np.float32(2.0**-24)  # float16's smallest step: below it a scale would be zero
_GROUPS_AT_ONCE = 8192  # a megabyte of float32


def quantize_groups(rows: Array, format: Format, rounding: Rounding) -> QuantizedTensor:
    """Quantizes `rows` `[rows, columns]` by `rounding`.

    That takes groups `[n, size]` and the weight `[n]` of the largest magnitude in each to scales
    `[n]` and whole steps `[n, size]`.

    Raises:
        UnfitWeightError: a weight is no finite number, or too large.
    """
    groups = rows.reshape(-1, format.group_size)
    values = np.empty(groups.shape, np.int8)
    scales = np.empty(len(groups), np.float16)
    for start in range(0, len(groups), _GROUPS_AT_ONCE):
        part = slice(start, start + _GROUPS_AT_ONCE)
        top, bottom = groups[part].max(axis=-1), groups[part].min(axis=-1)
        extreme = np.where(top > -bottom, top, bottom)
        check_largest(np.abs(extreme).max(initial=0), rows)
        scales[part], values[part] = rounding(groups[part], extreme)
    return QuantizedTensor(format, values.reshape(rows.shape), scales.reshape(rows.shape[0], -1))


def round_to_half(scale: Array) -> Array:
    """Rounds to float16 and keeps the sign; a scale too small for float16 becomes its least."""
    half = scale.astype(np.float16).astype(np.float32)
    return np.where(half == 0, np.copysign(_SMALLEST, scale), half)
