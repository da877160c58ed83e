"""Matrices that were quantized, in files of their own."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path

import numpy as np
from lfm_ops import layout
from lfm_ops.formats import format_named
from lfm_ops.quantized import QuantizedTensor

from ..walk import naming

__all__ = ["KeptTensors"]

# NumPy parses a file's header by `ast`, at which two threads of CPython 3.11 disturb each other:
# "AST constructor recursion depth mismatch" (CPython issue 106905).
_reading = threading.Lock()


class KeptTensors:
    """A folder with a file for each matrix, whole or absent."""

    def __init__(self, folder: Path) -> None:
        """The folder is made if it is missing."""
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def get(self, name: str) -> QuantizedTensor | None:
        """A matrix that was kept, or None."""
        try:
            with _reading, np.load(self._file(name)) as kept:
                rows, columns = kept["shape"].tolist()
                format = format_named(str(kept["format"]))
                return layout.unpack(kept["packed"], format, rows, columns)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def put(self, name: str, tensor: QuantizedTensor) -> None:
        """Keeps a matrix."""
        file = self._file(name)
        part = file.with_suffix(".part.npz")
        with naming(file):
            np.savez(
                part,
                packed=layout.pack(tensor),
                shape=np.array(tensor.shape),
                format=np.array(tensor.format.name),
            )
            part.replace(file)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.npz"  # of the architecture, so a plain name
