"""The file beside the graph that holds the weights, written a part at a time.

Every tensor begins at a page boundary, so that a runtime can map it without a copy.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import DTypeLike, NDArray

__all__ = ["ExternalData", "Region"]

_PAGE = 4096


class ExternalData:
    """Writes tensors one after the other; closes the file at the end of a `with` block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._end = 0

    def __enter__(self) -> ExternalData:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def reserve(self, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> Region:
        """Sets the next pages aside for a tensor that comes in pieces."""
        offset = -(-self._end // _PAGE) * _PAGE
        region = Region(self, name, offset, np.dtype(dtype), shape)
        self._end = offset + region.nbytes
        return region

    def add(self, name: str, values: NDArray[Any]) -> ir.ExternalTensor:
        """Writes a whole tensor."""
        region = self.reserve(name, values.dtype, values.shape)
        region.write(0, values)
        return region.tensor()

    def write_at(self, offset: int, values: NDArray[Any]) -> None:
        """Writes the bytes of `values` at a place that was reserved."""
        self._file.seek(offset)
        self._file.write(np.ascontiguousarray(values).data)

    @property
    def location(self) -> str:
        """The file's name, as the graph refers to it."""
        return self._path.name


class Region:
    """The place of one tensor in the file, filled row by row in any order."""

    def __init__(
        self,
        file: ExternalData,
        name: str,
        offset: int,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
    ) -> None:
        self._file, self._name, self._offset = file, name, offset
        self._dtype, self._shape = dtype, shape
        self.nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize

    def write(self, first_row: int, rows: NDArray[Any]) -> None:
        """Writes `rows` `[n, ...]` of the tensor's dtype from row `first_row` on."""
        assert rows.dtype == self._dtype, (self._name, rows.dtype)
        assert rows.shape[1:] == self._shape[1:], (self._name, rows.shape)
        assert first_row + len(rows) <= self._shape[0], (self._name, first_row)
        row_bytes = self.nbytes // self._shape[0]
        self._file.write_at(self._offset + first_row * row_bytes, rows)

    def tensor(self) -> ir.ExternalTensor:
        """The tensor as the graph refers to it."""
        return ir.ExternalTensor(
            self._file.location,
            self._offset,
            self.nbytes,
            ir.DataType.from_numpy(self._dtype),
            shape=ir.Shape(self._shape),
            name=self._name,
        )
