"""Which weights can be quantized at all: finite ones that float16 could hold.

A single NaN, infinity or huge value makes zeros of its whole group in 4 bits, and nonsense of the
model in any format. Apple's formats hold vectors in float16, so one limit serves all targets.
"""

from __future__ import annotations

import numpy as np
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

__all__ = ["LARGEST", "UnfitWeightError", "check_fit", "check_integers", "check_largest"]

LARGEST = 65504.0  # float16's


class UnfitWeightError(Exception):
    """A weight that is no usable number: `row` of the tensor, and its `value`."""

    def __init__(self, row: int, value: float) -> None:
        super().__init__(f"row {row} holds {value:g}")
        self.row, self.value = row, value


def check_fit(tensor: NDArray[np.float32]) -> None:
    """Checks every weight.

    Raises:
        UnfitWeightError: the first that is not fit.
    """
    if tensor.size:
        check_largest(max(tensor.max(), -tensor.min()), tensor)


def check_largest(largest: np.float32, tensor: NDArray[np.float32]) -> None:
    """The same where the largest magnitude is known; NaN counts as the largest of all.

    Raises:
        UnfitWeightError: the first weight of `tensor` that is not fit.
    """
    if not largest <= LARGEST:
        fit = np.abs(tensor) <= LARGEST
        place = np.unravel_index(np.argmin(fit), tensor.shape)
        raise UnfitWeightError(int(place[0]), float(tensor[place]))


def check_integers(weight: QuantizedTensor) -> None:
    """The same for integers that another program made: their scales may be anything.

    Raises:
        UnfitWeightError: the first row with a weight that is not fit.
    """
    assert weight.scales is not None
    largest = np.abs(weight.scales).max(initial=0).astype(np.float32)
    if not largest * np.float32(2 ** (weight.format.bits - 1)) <= LARGEST:
        with np.errstate(invalid="ignore", over="ignore"):
            weights = weight.dequantize()
        check_fit(weights)
