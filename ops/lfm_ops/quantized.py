"""A quantized weight matrix as plain integers and scales, before any packing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .formats import Format

__all__ = ["BLOCK_SIZE", "QuantizedTensor", "common_format", "stack_rows"]

BLOCK_SIZE = 32


@dataclass(frozen=True)
class QuantizedTensor:
    """Weights `[rows, columns]`; a column is an input.

    Where the format has groups, `values` are int8 of as many bits as it says and `scales` are
    float16 `[rows, columns / group_size]`: weight = value * scale of its group (symmetric, so no
    zero points). Else `values` are the float32 weights and `scales` is None.

    Raises:
        ValueError: values or scales that are not as the format says.
    """

    format: Format
    values: NDArray[np.int8] | NDArray[np.float32]
    scales: NDArray[np.float16] | None = None

    def __post_init__(self) -> None:
        group = self.format.group_size
        wanted = np.int8 if group else np.float32
        if self.values.ndim != 2 or self.values.dtype != wanted:
            raise ValueError(
                f"{self.format.name} weights: expected {np.dtype(wanted)} [rows, columns], got"
                f" {self.values.dtype} {list(self.values.shape)}"
            )
        rows, columns = self.values.shape
        if not self.format.takes(columns):
            raise ValueError(
                f"{self.format.name} weights of {columns} columns: not a multiple of {group}"
            )
        shape = None if self.scales is None else self.scales.shape
        if shape != ((rows, columns // group) if group else None):
            raise ValueError(
                f"{self.format.name} weights {[rows, columns]}: scales of shape {shape}, expected"
                f" {(rows, columns // group) if group else None}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows (outputs) and columns (inputs)."""
        return self.values.shape

    def rows(self, start: int, stop: int) -> QuantizedTensor:
        """A view of some rows."""
        scales = None if self.scales is None else self.scales[start:stop]
        return QuantizedTensor(self.format, self.values[start:stop], scales)

    def dequantize(self) -> NDArray[np.float32]:
        """The float32 weights that the integers and scales stand for, exactly rounded."""
        if self.scales is None:
            return np.asarray(self.values, np.float32)
        groups = self.values.reshape(*self.scales.shape, self.format.group_size).astype(np.float32)
        groups *= self.scales.astype(np.float32)[..., None]
        return groups.reshape(self.shape)


def common_format(weights: Sequence[QuantizedTensor]) -> Format:
    """The format of matrices that are to become one.

    Raises:
        ValueError: they have several.
    """
    formats = {weight.format for weight in weights}
    if len(formats) != 1:
        names = ", ".join(weight.format.name for weight in weights)
        raise ValueError(f"matrices of formats {names}: expected one format to join them")
    return formats.pop()


def stack_rows(weights: Sequence[QuantizedTensor]) -> QuantizedTensor:
    """One matrix with the outputs of several, which share their input.

    Raises:
        ValueError: matrices of several formats or widths.
    """
    scales = [weight.scales for weight in weights if weight.scales is not None]
    return QuantizedTensor(
        common_format(weights),
        np.concatenate([weight.values for weight in weights]),
        np.concatenate(scales) if scales else None,
    )
