"""Every position's loss, divergence and likeliest token, a sequence at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lfm_edge.errors import InvalidRequestError
from lfm_ops.quantized import QuantizedTensor
from lfm_ops.reference import matmul_float32
from numpy.typing import NDArray

from ..architecture import Embedding, Linear
from ..walk import Sequences, Value, WalkFolder, keep_arrays, kept_arrays
from .divergence import Distribution, Divergence
from .result import Scores
from .runtime import RuntimeLogits

__all__ = ["Columns", "Readers", "joined", "keep_scores", "kept_scores", "score"]

Array = NDArray[np.float32]
Table = Callable[[int, Linear, int, int], QuantizedTensor]
Columns = dict[str, NDArray[np.float64]]
"""Of a sequence, by the name of who reads, and `kernels`: losses, divergences and whether the
likeliest tokens are equal, `[3, tokens - 1]`."""

_ROWS_AT_ONCE = 8192  # of the LM head
_NAMES = ("source", "integers")
_PAIRS = (
    ("source", "integers", "integers"),
    ("source", "runtime", "runtime"),
    ("integers", "runtime", "kernels"),
)
"""Truth, what is compared with it, and the name of the figures."""


@dataclass(frozen=True)
class Readers:
    """Who reads the text: the lanes of a walk, the runtime, or both."""

    states: Value = ()
    """The inputs of the LM head in every lane."""
    table: Table | None = None
    """Rows of the LM head in a lane."""
    embedding: Embedding | None = None
    runtime: RuntimeLogits | None = None

    @property
    def names(self) -> list[str]:
        """Those that read."""
        return [*_NAMES[: len(self.states)], *(["runtime"] if self.runtime else [])]


def score(
    sequences: Sequences, readers: Readers, folder: WalkFolder, progress: Callable[[int], None]
) -> list[Columns]:
    """The scores of every sequence.

    One that an earlier process has scored is taken from the folder.

    Raises:
        InvalidRequestError: logits are no numbers.
    """
    found = []
    for index, (ids, place) in enumerate(sequences.places()):
        columns = kept_scores(folder, index)
        if columns is None:
            columns = _sequence(ids, place, readers)
            keep_scores(folder, index, columns)
        found.append(columns)
        progress(len(ids))
    return found


def kept_scores(folder: WalkFolder, index: int) -> Columns | None:
    """What was scored of a sequence, if it was."""
    return kept_arrays(_file(folder, index))


def keep_scores(folder: WalkFolder, index: int, columns: Columns) -> None:
    """Keeps the scores of a sequence."""
    keep_arrays(_file(folder, index), **columns)


def joined(sequences: Iterable[Columns]) -> dict[str, Scores]:
    """The scores of every predicted position, by the name of who reads, and `kernels`."""
    found: dict[str, list[NDArray[np.float64]]] = {}
    for columns in sequences:
        for name, values in columns.items():
            found.setdefault(name, []).append(values)
    return {name: Scores(*np.concatenate(parts, axis=1)) for name, parts in found.items()}


def _file(folder: WalkFolder, index: int) -> Path:
    return folder.path / f"scores.{index}.npz"


def _sequence(ids: NDArray[np.int64], place: slice, readers: Readers) -> Columns:
    each = {name: Distribution(ids[1:]) for name in readers.names}
    pairs = {name: Divergence(each[p], each[q]) for p, q, name in _PAIRS if p in each and q in each}
    truths = {name: (p, q) for p, q, name in _PAIRS}
    ran = None if readers.runtime is None else readers.runtime.logits(ids)[:-1]
    for start, stop in _slices(readers, ran):
        logits = {
            name: _head(readers, lane, readers.states[lane][place][:-1], start, stop)
            for lane, name in enumerate(_NAMES[: len(readers.states)])
        }
        if ran is not None:
            logits["runtime"] = ran[:, start:stop]
        for name, values in logits.items():
            if not np.isfinite(values).all():
                raise InvalidRequestError(
                    f"logits of the {name} are not finite: the model is damaged, or too large for "
                    "its numbers"
                )
            each[name].add(values, start)
        for name, pair in pairs.items():
            p, q = truths[name]
            pair.add(logits[p], logits[q])
    nothing = np.full(len(ids) - 1, np.nan)
    columns = {}
    for name in {*each, *pairs}:
        alone = each.get(name)
        pair_of = pairs.get(name)
        losses = each["runtime"].losses if alone is None else alone.losses
        kl = nothing if pair_of is None else pair_of.kl
        same = nothing if pair_of is None else pair_of.same_argmax.astype(np.float64)
        columns[name] = np.stack([losses, kl, same])
    return columns


def _slices(readers: Readers, ran: Array | None) -> list[tuple[int, int]]:
    if readers.embedding is not None:
        vocab = readers.embedding.tokens.rows
    else:
        assert ran is not None
        vocab = ran.shape[1]
    starts = range(0, vocab, _ROWS_AT_ONCE)
    return [(start, min(start + _ROWS_AT_ONCE, vocab)) for start in starts]


def _head(readers: Readers, lane: int, states: Array, start: int, stop: int) -> Array:
    assert readers.embedding is not None
    assert readers.table is not None
    head = readers.embedding.head or readers.embedding.tokens
    return matmul_float32(np.ascontiguousarray(states), readers.table(lane, head, start, stop))
