"""No quantization: float32 weights, for exact comparison."""

from __future__ import annotations

import numpy as np
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

from ._fit import check_fit

__all__ = ["quantize_f32"]


def quantize_f32(rows: NDArray[np.float32]) -> QuantizedTensor:
    """Keeps `rows` `[rows, columns]` as they are."""
    check_fit(rows)
    return QuantizedTensor(32, rows)
