"""A text as token ids, cut into pieces that are read one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sequences"]


@dataclass(frozen=True)
class Sequences:
    """Token ids of sequences that are read apart, each from an empty state.

    A file of all tokens holds one sequence after the other.
    """

    ids: tuple[NDArray[np.int64], ...]

    @classmethod
    def cut(
        cls,
        documents: Sequence[Sequence[int]],
        window: int,
        prefix: Sequence[int],
        most: int | None,
    ) -> Sequences:
        """Windows of at most `window` tokens, `prefix` before each, once.

        Args:
            documents: each one's ids; no window spans two of them.
            window: tokens of a sequence, the prefix included, which is shorter.
            prefix: the tokens that begin a text.
            most: tokens of the documents that are taken in all.
        """
        first, found, left = list(prefix), [], most
        for document in documents:
            ids = list(document)
            ids = ids[len(first) :] if ids[: len(first)] == first else ids
            ids = ids if left is None else ids[:left]
            left = None if left is None else left - len(ids)
            step = max(1, window - len(first))
            for start in range(0, len(ids), step):
                piece = np.array([*first, *ids[start : start + step]], np.int64)
                if len(piece) > 1:  # else there is nothing to predict
                    found.append(piece)
        return cls(tuple(found))

    def spread(self, count: int) -> Sequences:
        """At most `count` of them, evenly spread."""
        chosen = np.linspace(0, len(self.ids) - 1, min(count, len(self.ids))).astype(np.int64)
        return Sequences(tuple(self.ids[i] for i in np.unique(chosen)))

    @cached_property
    def tokens(self) -> int:
        """How many there are in all."""
        return sum(map(len, self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    def places(self) -> Iterator[tuple[NDArray[np.int64], slice]]:
        """Each sequence, and where its tokens lie among all."""
        start = 0
        for ids in self.ids:
            yield ids, slice(start, start + len(ids))
            start += len(ids)

    def digest(self) -> str:
        """Tells whether two are the same."""
        sha = hashlib.sha256()
        for ids in self.ids:
            sha.update(len(ids).to_bytes(8, "little") + ids.tobytes())
        return sha.hexdigest()
