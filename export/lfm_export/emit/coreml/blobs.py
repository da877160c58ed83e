"""`weight.bin`, the weights of a Core ML package, written a part at a time.

A header of 64 bytes holds the number of blobs; each blob is a record of 64 bytes and its data. Both
begin at multiples of 64, and the graph refers to a blob by the place of its record.

Source: coremltools, `mlmodel/src/MILBlob/Blob/StorageFormat.hpp`, version 2.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

__all__ = ["INTEGERS", "Blob", "BlobFile", "BlobType"]

BlobType = Literal["float16", "float32", "uint8", "int8", "int4", "int32"]

_TYPE_NUMBERS: dict[BlobType, int] = {
    "float16": 1,
    "float32": 2,
    "uint8": 3,
    "int8": 4,
    "int4": 8,
    "int32": 14,
}
INTEGERS: dict[str, BlobType] = {"q8": "int8", "q6": "int8", "q4": "int4", "q4_64": "int4"}
"""The type of a format's integers."""

_VERSION = 2
_MARK = 0xDEADBEEF
_ALIGNMENT = 64


@dataclass(frozen=True)
class Blob:
    """One tensor in the file."""

    dtype: BlobType
    shape: tuple[int, ...]
    offset: int
    """Of its record, in bytes."""

    @property
    def nbytes(self) -> int:
        """Bytes of its data; every row of an int4 tensor fills whole bytes."""
        bits = 4 if self.dtype == "int4" else 8 * np.dtype(self.dtype).itemsize
        return math.prod(self.shape) * bits // 8


class BlobFile:
    """Writes blobs one after the other; complete at the end of a `with` block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blobs: dict[str, Blob] = {}
        self._file = path.open("w+b")
        self._end = _ALIGNMENT

    def __enter__(self) -> BlobFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Writes the header and closes the file."""
        if not self._file.closed:
            self._write_at(
                0, struct.pack("<II", len(self.blobs), _VERSION).ljust(_ALIGNMENT, b"\0")
            )
            self._file.close()

    def reserve(self, name: str, dtype: BlobType, shape: tuple[int, ...]) -> Blob:
        """Sets a place aside for a tensor that comes in pieces."""
        assert name not in self.blobs, name
        blob = Blob(dtype, shape, _align(self._end))
        data = blob.offset + _ALIGNMENT
        record = struct.pack("<IIQQQ", _MARK, _TYPE_NUMBERS[dtype], blob.nbytes, data, 0)
        self._write_at(blob.offset, record.ljust(_ALIGNMENT, b"\0"))
        self._end = data + blob.nbytes
        self.blobs[name] = blob
        return blob

    def write(self, blob: Blob, first: int, values: NDArray[Any]) -> None:
        """Writes `values` `[n, ...]` from row `first` of the tensor on."""
        if blob.dtype == "int4":
            values = pack_int4(values)
        assert values.nbytes * blob.shape[0] == blob.nbytes * len(values), (blob, values.shape)
        assert first + len(values) <= blob.shape[0], (blob, first)
        row = blob.nbytes // blob.shape[0]
        self._write_at(blob.offset + _ALIGNMENT + first * row, np.ascontiguousarray(values).data)

    def add(self, name: str, values: NDArray[Any]) -> Blob:
        """Writes a whole tensor of NumPy's own types."""
        blob = self.reserve(name, _blob_type(values), values.shape)
        self.write(blob, 0, values)
        return blob

    def add_matrix(self, name: str, weight: QuantizedTensor) -> None:
        """Writes integers under `name` and scales under `name.scales`."""
        assert weight.scales is not None
        blob = self.reserve(name, INTEGERS[weight.format.name], weight.shape)
        self.write(blob, 0, weight.values)
        self.add(f"{name}.scales", weight.scales)

    def read(self, name: str) -> NDArray[Any]:
        """Reads a tensor of NumPy's own types back."""
        blob = self.blobs[name]
        self._file.seek(blob.offset + _ALIGNMENT)
        return np.frombuffer(self._file.read(blob.nbytes), blob.dtype).reshape(blob.shape)

    def _write_at(self, offset: int, data: bytes | memoryview) -> None:
        self._file.seek(offset)
        self._file.write(data)


def pack_int4(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Two's complement; of two in a byte the one of the lower column takes the low half."""
    nibbles = values.view(np.uint8) & np.uint8(15)
    packed: NDArray[np.uint8] = nibbles[..., 0::2] | nibbles[..., 1::2] << np.uint8(4)
    return packed


def _blob_type(values: NDArray[Any]) -> BlobType:
    for dtype in _TYPE_NUMBERS:
        if values.dtype.name == dtype:
            return dtype
    raise TypeError(values.dtype)


def _align(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
