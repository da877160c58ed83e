"""A graph's weights, by name: small ones in memory, the others in the external file."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import DTypeLike, NDArray

from .external_data import ExternalData, Region

__all__ = ["Initializers"]

_INLINE_BYTES = 1024  # smaller tensors lie in the graph itself: the runtime folds them at load


class Initializers:
    """Stores tensors while weights stream by, and gives them to the graph that is built later."""

    def __init__(self, data: ExternalData) -> None:
        self._data = data
        self._regions: dict[str, Region] = {}
        self._tensors: dict[str, ir.TensorProtocol] = {}

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Stores a whole tensor."""
        assert name not in self._tensors, name
        if values.nbytes <= _INLINE_BYTES:
            self._tensors[name] = ir.tensor(np.ascontiguousarray(values), name=name)
        else:
            self._tensors[name] = self._data.add(name, values)

    def put(self, name: str, count: int, index: int, values: NDArray[Any]) -> None:
        """Stores one of `count` equal tensors of a stack, at its place on the first axis."""
        if name not in self._regions:
            self._reserve(name, values.dtype, (count, *values.shape))
        self._regions[name].write(index, values[None])

    def tensor(self, name: str) -> ir.TensorProtocol:
        """What was stored under `name`."""
        return self._tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def _reserve(self, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
        assert name not in self._tensors, name
        self._regions[name] = self._data.reserve(name, dtype, shape)
        self._tensors[name] = self._regions[name].tensor()
