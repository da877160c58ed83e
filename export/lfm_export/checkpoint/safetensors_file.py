"""One safetensors file: a checked header, and reads of just the bytes that are asked for.

The format: 8 bytes of header length (little-endian), a JSON object that gives each tensor's dtype,
shape and byte range, then the bytes, without holes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from .base import quoted
from .weight_file import WeightFile

__all__ = ["SafetensorsFile", "StoredTensor"]

_PREFIX = 8
_LONGEST_HEADER = 100_000_000
_MOST_AXES = 64  # as many as torch takes
_MOST_BYTES = 2**63
_READABLE = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_ITEM_BITS = {
    **{name: 8 * size for name, size in _READABLE.items()},
    **dict.fromkeys(("I64", "U64", "C64"), 64),
    **dict.fromkeys(("I32", "U32"), 32),
    **dict.fromkeys(("I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "I8", "U8"), 8),
    **dict.fromkeys(("F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ", "F8_E8M0"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


class SafetensorsFile(WeightFile):
    """An open file; `tensors` holds what it stores, by the names in its header."""

    def __init__(self, path: Path) -> None:
        """Opens `path` and checks its whole header against the file's size.

        Raises:
            CheckpointError: the file is missing, truncated or not safetensors.
        """
        super().__init__(path)
        try:
            self.tensors = self._parse()
        except BaseException:
            self.close()
            raise

    def _parse(self) -> dict[str, StoredTensor]:
        size = self.size
        prefix = bytearray(min(_PREFIX, size))
        self.read_into(memoryview(prefix), 0)
        length = int.from_bytes(prefix, "little")
        if not 2 <= length <= min(_LONGEST_HEADER, size - _PREFIX):
            raise self.error(
                f"is truncated or not safetensors: {size} bytes, header length {length}"
            )
        header = bytearray(length)
        self.read_into(memoryview(header), _PREFIX)
        try:
            entries = json.loads(header.decode())
        except (ValueError, RecursionError):
            raise self.error("is not safetensors: its header is not JSON") from None
        if not isinstance(entries, dict):
            raise self.error("is not safetensors: its header is not an object")
        entries.pop("__metadata__", None)
        begin = _PREFIX + length
        tensors = {name: self._tensor(name, entry, begin) for name, entry in entries.items()}
        self._check_layout(tensors, begin, size)
        return tensors

    def _tensor(self, name: str, entry: Any, begin: int) -> StoredTensor:
        if not isinstance(entry, dict):
            raise self.error(f"tensor {quoted(name)} is not described by an object")
        dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
        if not isinstance(dtype, str) or dtype not in _ITEM_BITS:
            raise self.error(f"tensor {quoted(name)} has unknown dtype {quoted(str(dtype))}")
        if not _is_sizes(shape, least=0) or len(shape) > _MOST_AXES:
            raise self.error(f"tensor {quoted(name)} has shape {quoted(str(shape))}")
        if not _is_sizes(offsets, least=0) or len(offsets) != 2:
            raise self.error(f"tensor {quoted(name)} has data_offsets {quoted(str(offsets))}")
        bits = math.prod(shape) * _ITEM_BITS[dtype]
        if bits != 8 * (offsets[1] - offsets[0]):
            raise self.error(
                f"tensor {quoted(name)}, {dtype} {shape}, "
                f"has data_offsets {quoted(str(offsets))}, expected {-(-bits // 8)} bytes"
            )
        return StoredTensor(self, name, dtype, tuple(shape), begin + offsets[0])

    def _check_layout(self, tensors: dict[str, StoredTensor], begin: int, size: int) -> None:
        """The tensors follow one another without holes or overlaps, up to the end of the file."""
        position = begin
        for tensor in sorted(tensors.values(), key=_place):
            if tensor.offset != position:
                raise self.error(
                    f"tensor {quoted(tensor.name)} begins at byte {tensor.offset}, "
                    f"expected {position}: the header contradicts itself"
                )
            position += math.prod(tensor.shape) * _ITEM_BITS[tensor.dtype] // 8
        if size != position:
            kind = "is truncated" if size < position else "has bytes that no tensor owns"
            raise self.error(f"{kind}: {size} bytes, expected {position}; download it again")


def _place(tensor: StoredTensor) -> tuple[int, int]:
    """Its order in the file; a tensor without elements comes before one at the same place."""
    return tensor.offset, math.prod(tensor.shape)


def _is_sizes(value: Any, least: int) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        type(item) is int and least <= item < _MOST_BYTES for item in value
    )


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor, or a part of one, lies in a file.

    Attributes:
        file: the file that holds it.
        name: its name in the file's header; a part keeps the name of the whole.
        dtype: safetensors' word for the type.
        shape: sizes of the axes.
        offset: the first byte's position in the file.
    """

    file: SafetensorsFile
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    def rows(self, start: int, stop: int) -> StoredTensor:
        """Rows `start` to `stop` of the first axis."""
        self.require_readable()
        skipped = start * math.prod(self.shape[1:]) * _READABLE[self.dtype]
        return replace(self, shape=(stop - start, *self.shape[1:]), offset=self.offset + skipped)

    def part(self, index: int) -> StoredTensor:
        """Entry `index` of the first axis, without that axis."""
        row = self.rows(index, index + 1)
        return replace(row, shape=row.shape[1:])

    def read(self) -> NDArray[np.float32]:
        """The values in float32; F16 and BF16 convert without loss, F64 is rounded.

        Raises:
            CheckpointError: another dtype, or the file cannot be read.
        """
        self.require_readable()
        values = np.empty(self.shape, np.float32)
        if self.dtype == "F32":
            self._fill(values)
            return values
        stored = np.empty(
            self.shape, {"F64": np.float64, "F16": np.float16}.get(self.dtype, np.uint16)
        )
        self._fill(stored)
        if self.dtype != "BF16":
            with np.errstate(over="ignore"):  # becomes infinity, as it does in transformers
                values[...] = stored
        else:
            np.left_shift(stored, 16, out=values.view(np.uint32), dtype=np.uint32)
        return values

    def _fill(self, array: NDArray[Any]) -> None:
        if array.size:  # a memoryview of no items cannot be cast to bytes
            self.file.read_into(array.data.cast("B"), self.offset)

    @property
    def is_readable(self) -> bool:
        """Whether the values are floats of 16 bits or more."""
        return self.dtype in _READABLE

    def require_readable(self) -> None:
        """Checks the type of the values.

        Raises:
            CheckpointError: they are no floats of 16 bits or more.
        """
        if not self.is_readable:
            raise self.file.error(
                f"tensor {quoted(self.name)} is {self.dtype}, expected one of "
                f"{', '.join(_READABLE)}; start from the unquantized checkpoint"
            )
