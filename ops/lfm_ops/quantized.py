"""A quantized weight matrix as plain integers and scales, before any packing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK_SIZE", "QuantizedTensor"]

BLOCK_SIZE = 32


@dataclass(frozen=True)
class QuantizedTensor:
    """Weights `[rows, columns]`; a column is an input.

    With `bits` 8 or 4, `values` are int8 in -128..127 or -8..7 and `scales` are float16
    `[rows, columns / block_size]`: weight = value * scale of its group (symmetric, so no zero
    points). With `bits` 32, `values` are the float32 weights and `scales` is None.
    """

    bits: int
    values: NDArray[np.int8] | NDArray[np.float32]
    scales: NDArray[np.float16] | None = None
    block_size: int = BLOCK_SIZE

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows (outputs) and columns (inputs)."""
        return self.values.shape

    def rows(self, start: int, stop: int) -> QuantizedTensor:
        """A view of some rows."""
        scales = None if self.scales is None else self.scales[start:stop]
        return QuantizedTensor(self.bits, self.values[start:stop], scales, self.block_size)

    def dequantize(self) -> NDArray[np.float32]:
        """The float32 weights that the integers and scales stand for, exactly rounded."""
        if self.scales is None:
            return np.asarray(self.values, np.float32)
        groups = self.values.reshape(*self.scales.shape, self.block_size).astype(np.float32)
        groups *= self.scales.astype(np.float32)[..., None]
        return groups.reshape(self.shape)
