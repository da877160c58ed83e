"""Matrices that were quantized, in files of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lfm_ops import layout
from lfm_ops.formats import format_named
from lfm_ops.quantized import QuantizedTensor

from ..walk import keep_arrays, kept_arrays

__all__ = ["KeptTensors"]


class KeptTensors:
    """A folder with a file for each matrix, whole or absent."""

    def __init__(self, folder: Path) -> None:
        """The folder is made if it is missing."""
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def get(self, name: str) -> QuantizedTensor | None:
        """A matrix that was kept, or None."""
        kept = kept_arrays(self._file(name))
        if kept is None:
            return None
        rows, columns = kept["shape"].tolist()
        return layout.unpack(kept["packed"], format_named(str(kept["format"])), rows, columns)

    def put(self, name: str, tensor: QuantizedTensor) -> None:
        """Keeps a matrix."""
        keep_arrays(
            self._file(name),
            packed=layout.pack(tensor),
            shape=np.array(tensor.shape),
            format=np.array(tensor.format.name),
        )

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.npz"  # of the architecture, so a plain name
