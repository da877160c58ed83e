"""A file whose tensors have their places before the first weight comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Place", "PlacedFile"]


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: its first byte, its size, and of how many equal pieces it is made."""

    offset: int
    nbytes: int
    pieces: int = 1


class PlacedFile:
    """Writes tensors at their places, in any order; closes the file at the end of a `with` block.

    Every one must come: `close_complete` says so.
    """

    def __init__(self, path: Path, header: bytes, places: Mapping[str, Place], size: int) -> None:
        """Begins a file of `size` bytes with `header`; `places` are those of its tensors."""
        self._places = places
        self._missing = {(name, i) for name, place in places.items() for i in range(place.pieces)}
        self._file = path.open("wb")
        self._file.write(header)
        self._file.truncate(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def put(self, name: str, values: NDArray[Any], piece: int = 0) -> None:
        """Writes a tensor, or one of its pieces, as its bytes lie in memory."""
        place = self._places[name]
        self._missing.remove((name, piece))
        size = place.nbytes // place.pieces
        assert values.nbytes == size, (name, values.shape, values.dtype, size)
        self._file.seek(place.offset + piece * size)
        self._file.write(np.ascontiguousarray(values).data)

    def close(self) -> None:
        """Closes the file, in which nothing is missing."""
        assert not self._missing, sorted(self._missing)[:5]
        self._file.close()
