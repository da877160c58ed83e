"""What the integer methods share: a tensor's groups, taken a cacheful at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from lfm_ops.formats import Format
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

__all__ = ["Array", "quantize_groups", "round_to_half"]

Array = NDArray[np.float32]
Rounding = Callable[[Array], tuple[Array, Array]]

_SMALLEST = np.float32(2.0**-24)  # float16's smallest step: below it a scale would be zero
_GROUPS_AT_ONCE = 8192  # a megabyte of float32


def quantize_groups(rows: Array, format: Format, rounding: Rounding) -> QuantizedTensor:
    """Applies `rounding`, groups `[n, size]` to scales `[n]` and whole steps `[n, size]`."""
    groups = rows.reshape(-1, format.group_size)
    values = np.empty(groups.shape, np.int8)
    scales = np.empty(len(groups), np.float16)
    for start in range(0, len(groups), _GROUPS_AT_ONCE):
        part = slice(start, start + _GROUPS_AT_ONCE)
        scales[part], values[part] = rounding(groups[part])
    return QuantizedTensor(format, values.reshape(rows.shape), scales.reshape(rows.shape[0], -1))


def round_to_half(scale: Array) -> Array:
    """Rounds to float16 and keeps the sign; a scale too small for float16 becomes its least."""
    half = scale.astype(np.float16).astype(np.float32)
    return np.where(half == 0, np.copysign(_SMALLEST, scale), half)
