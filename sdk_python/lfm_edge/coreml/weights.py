"""Weights of a Core ML package: read from their file and dequantized a few rows at a time.

A weight is never held whole: whoever uses it asks for rows, so that a mixture of experts whose
every expert is read takes little more memory than its activations.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError

__all__ = ["Blockwise", "Stored", "WeightFile", "Weights", "blocks", "whole"]

Array = NDArray[Any]

BLOCK_ELEMENTS = 1 << 20
"""Elements to dequantize at once: few enough for a processor's cache."""

_HEADER = struct.Struct("<II56x")
_RECORD = struct.Struct("<IIQQQ32x")
_VERSION = 2
_SENTINEL = 0xDEADBEEF
# Type codes of the records, and how many bits an element takes.
_TYPES = {
    1: ("float16", 16),
    2: ("float32", 32),
    3: ("uint8", 8),
    4: ("int8", 8),
    6: ("int16", 16),
    7: ("uint16", 16),
    8: ("int4", 4),
    14: ("int32", 32),
}
# Each byte's two elements, the one in the low bits first.
_NIBBLES = (np.arange(256)[:, None] >> [0, 4] & 15).astype(np.int8)
_INT4_PAIRS = np.where(_NIBBLES > 7, _NIBBLES - 16, _NIBBLES).view(np.int16).reshape(-1)


class Weights(Protocol):
    """A tensor whose rows (entries of its first axis) are read by slices: all that is asked of it.

    An array is one too.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of its axes, at least one."""
        ...

    def __getitem__(self, rows: slice, /) -> Array:
        """These rows; the slice has a start and a stop, and no step."""
        ...


def whole(weights: Weights) -> Array:
    """All rows."""
    return weights if isinstance(weights, np.ndarray) else weights[0 : weights.shape[0]]


def blocks(weights: Weights) -> Iterator[tuple[int, Array]]:
    """All rows, about a million elements at a time, each block with its first row's index."""
    count, *row = weights.shape
    step = max(1, BLOCK_ELEMENTS // max(1, math.prod(row)))
    for start in range(0, count, step):
        yield start, weights[start : min(start + step, count)]


class WeightFile:
    """`weight.bin`: a header, and for each tensor a record that says where its bytes lie.

    Nothing is kept of what is read, nor mapped into memory.

    Raises:
        BundleError: the file is missing or does not begin as a weight file does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise BundleError(f"{path}: missing, but the program refers to it")
        self.size = path.stat().st_size
        _, version = _HEADER.unpack(self._bytes(0, _HEADER.size, "the header"))
        if version != _VERSION:
            raise BundleError(f"{path}: weight file version {version}, expected {_VERSION}")

    def tensor(self, offset: int, dtype: str, shape: tuple[int, ...]) -> Stored:
        """The tensor whose record lies at `offset`, in bytes from the file's beginning.

        Raises:
            BundleError: there is no record there, it describes another tensor, or the tensor does
                not lie within the file.
        """
        what = f"{dtype} {list(shape)} at {offset}"
        record = self._bytes(offset, _RECORD.size, f"the record of {what}")
        sentinel, code, size, start, _ = _RECORD.unpack(record)
        if sentinel != _SENTINEL:
            raise BundleError(
                f"{self.path}: no record of {what}: it begins with {sentinel:#x}, expected "
                f"{_SENTINEL:#x}"
            )
        stored, bits = _TYPES.get(code, (f"type {code}", 0))
        if stored != dtype:
            raise BundleError(f"{self.path}: {what} is stored as {stored}")
        expected = (math.prod(shape) * bits + 7) // 8
        if size != expected or not shape or 0 in shape:
            raise BundleError(f"{self.path}: {what} takes {expected:,} bytes, but has {size:,}")
        if start + size > self.size:
            raise BundleError(
                f"{self.path}: {what} ends at byte {start + size:,}, but the file ends at "
                f"{self.size:,}"
            )
        return Stored(self, start, dtype, bits, shape)

    def read(self, start: int, size: int) -> NDArray[np.uint8]:
        """Bytes of a tensor; raises BundleError where the file has become shorter."""
        return np.frombuffer(self._bytes(start, size, "a tensor"), np.uint8)

    def _bytes(self, start: int, size: int, what: str) -> bytes:
        if start + size <= self.size:
            with self.path.open("rb") as file:
                file.seek(start)
                data = file.read(size)
            if len(data) == size:
                return data
        raise BundleError(
            f"{self.path}: {what} should end at byte {start + size:,}, but the file ends at "
            f"{self.size:,}"
        )


@dataclass(frozen=True)
class Stored:
    """A tensor in a weight file; a slice of it is read there."""

    file: WeightFile
    start: int
    dtype: str
    bits: int
    shape: tuple[int, ...]

    def __getitem__(self, rows: slice) -> Array:
        """The rows; int4 as int8."""
        row = math.prod(self.shape[1:])
        first, last = rows.start * row * self.bits, rows.stop * row * self.bits
        begin, end = first // 8, (last + 7) // 8
        data = self.file.read(self.start + begin, end - begin)
        if self.dtype == "int4":
            skipped = (first - begin * 8) // 4
            elements = _INT4_PAIRS[data].view(np.int8)[skipped : skipped + (last - first) // 4]
        else:
            elements = data.view(self.dtype)
        return elements.reshape(rows.stop - rows.start, *self.shape[1:])


class Blockwise:
    """Integers times the scales of their blocks: `constexpr_blockwise_shift_scale`, never whole.

    Args:
        data: the integers.
        scale: as many axes; a scale stands for a block of `data.shape[i] / scale.shape[i]` integers
            along each, one along the first.
        rounded: round each product to float16, as Core ML does.

    Raises:
        ValueError: the shapes do not fit.
    """

    def __init__(self, data: Weights, scale: Weights, rounded: bool) -> None:
        pairs = list(zip(data.shape, scale.shape, strict=True))
        if data.shape[0] != scale.shape[0] or any(size % count for size, count in pairs):
            raise ValueError(f"scales {list(scale.shape)} for data {list(data.shape)}")
        self.shape = data.shape
        self._data, self._scale, self._rounded = data, scale, rounded
        self._split = [axis for size, count in pairs[1:] for axis in (count, size // count)]
        self._kept = [axis for _, count in pairs[1:] for axis in (count, 1)]

    def __getitem__(self, rows: slice) -> Array:
        """The rows in float32."""
        data, scale = self._data[rows], self._scale[rows].astype(np.float32)
        count = len(data)
        product: Array = data.reshape(count, *self._split) * scale.reshape(count, *self._kept)
        if self._rounded:
            product = _round_to_float16(product, scale)
        return product.reshape(data.shape)


def _round_to_float16(product: NDArray[np.float32], scale: Array) -> NDArray[np.float32]:
    """Each integer times its scale, to the nearest float16, ties to even.

    NumPy's conversion takes longer than all else that is done with a weight.
    """
    sizes, least_normal = np.abs(scale), np.float32(2**-14)
    if not sizes.max() <= 256:  # the products may lie beyond float16
        return product.astype(np.float16).astype(np.float32)
    # Of float32's fraction, 13 bits go.
    bits = product.view(np.uint32)
    rounded = (bits + (0xFFF + (bits >> 13 & 1)) & np.uint32(0xFFFFE000)).view(np.float32)
    if sizes.min() >= least_normal:
        return rounded
    # Below its normal range float16 is a grid of 2^-24, as float32 is next to 0.75.
    tiny = product + np.float32(0.75) - np.float32(0.75)
    return np.where(np.abs(product) < least_normal, tiny, rounded)
