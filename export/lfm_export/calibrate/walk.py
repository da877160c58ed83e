"""The walk that quantizes: each part reads what the layers before it, quantized, make of the text.

Lane 0 is the model as it is, lane 1 as it becomes, multiplied as the kernels do. What a linear
layer reads in lane 1 tells which errors of its weights matter, and beside what lane 0 reads, which
errors of the layers before it can be made good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from lfm_ops.formats import format_named
from lfm_ops.quantized import QuantizedTensor, stack_rows
from lfm_ops.reference import matmul_float32, matmul_int8, round_to_int8
from numpy.typing import NDArray

from ..architecture import Architecture, Attention, Linear, Mlp, ShortConv, Vector, tensors_of
from ..errors import ExportError
from ..quantize import METHODS, Scheme
from ..reference import Numerics
from ..walk import LaneWeights, Routes, Sequences, SourceWeights, Value, Walk, WalkFolder
from .kept import KeptTensors
from .metric import Metric
from .rounding import quantize_calibrated
from .statistics import Statistics

__all__ = ["CalibrateWalk", "expert_weights"]

Array = NDArray[np.float32]
Part = Attention | ShortConv | Mlp

_ORIGINAL, _QUANTIZED = 0, 1
_LANES = (Numerics(matmul_float32, "f32", 0.0), Numerics(matmul_int8, "f16", 0.0))
_TOKENS_AT_ONCE = 512
_HEAD_ROWS_AT_ONCE = 8192
_SMALL = 0.01
"""The weight of tokens that were not sent to a rare expert, beside the mean of those that were."""
_OTHERS = 2
"""Of these, at most so many times its inputs."""


class CalibrateWalk(Walk):
    """Quantizes every matrix but those of the embedding and, if not asked to, the LM head."""

    def __init__(
        self,
        architecture: Architecture,
        sequences: Sequences,
        folder: WalkFolder,
        source: SourceWeights,
        scheme: Scheme,
        tensors: KeptTensors,
        progress: Callable[[int], None],
    ) -> None:
        super().__init__(architecture, sequences, folder, _LANES, progress)
        self._source, self._scheme = source, scheme
        self._tensors = tensors

    def table(self, lane: int, linear: Linear, start: int, stop: int) -> QuantizedTensor:
        """The embedding is quantized by itself: a row is read by one token alone."""
        scheme = self._scheme
        method = scheme.others.get(linear.name, scheme.head) if lane == _QUANTIZED else "f32"
        return self._source.rows(linear, start, stop, method)

    def vector(self, lane: int, vector: Vector) -> Array:
        """The same in both lanes."""
        del lane
        return self._source.vector(vector)

    def part(self, part: Part, x: Value) -> tuple[LaneWeights, LaneWeights]:
        """Quantizes a part that all tokens meet."""
        return self._lanes(part, lambda: self._sequences_of(x))

    def expert(
        self, part: Mlp, x: Value, routes: Routes, index: int
    ) -> tuple[LaneWeights, LaneWeights]:
        """Quantizes an expert; a token counts by the share that the router gives it."""
        weights = expert_weights(routes[_QUANTIZED], index, part.gate.columns)
        return self._lanes(part, lambda: _tokens_of(x, weights))

    def quantize_head(self, head: Linear, states: Value) -> None:
        """Quantizes the LM head by its inputs, which the walk has led to.

        The lookups of an embedding that is the head too were made with other integers: it cannot
        be known before the layers are, and the rows lie as near to the original.
        """
        if self._tensors.get(head.name) is not None:
            return
        statistics = Statistics(head.columns)
        for _, place in self.sequences.places():
            original, read = (states[lane][place] for lane in (_ORIGINAL, _QUANTIZED))
            statistics.add(_as_read(read), original)
        format = format_named(self._scheme.others.get(head.name, self._scheme.head))
        metric = Metric(statistics, format.group_size)
        parts = []
        for start in range(0, head.rows, _HEAD_ROWS_AT_ONCE):
            stop = min(start + _HEAD_ROWS_AT_ONCE, head.rows)
            rows = self._source.rows(head, start, stop).dequantize()
            parts.append(quantize_calibrated(rows, metric, format))
            self._advance((stop - start) * head.columns)
        self._tensors.put(head.name, stack_rows(parts))

    def _lanes(
        self, part: Part, blocks: Callable[[], Iterator[_Block]]
    ) -> tuple[LaneWeights, LaneWeights]:
        original = self._source.part(part)
        linears = [tensor for tensor in tensors_of(part) if isinstance(tensor, Linear)]
        kept = {linear.name: self._tensors.get(linear.name) for linear in linears}
        found = {name: tensor for name, tensor in kept.items() if tensor is not None}
        if len(found) < len(linears):
            found = self._quantized(part, linears, original, blocks)
            for name, tensor in found.items():
                self._tensors.put(name, tensor)
        return original, LaneWeights(found, original.vectors)

    def _quantized(
        self,
        part: Part,
        linears: Sequence[Linear],
        original: LaneWeights,
        blocks: Callable[[], Iterator[_Block]],
    ) -> dict[str, QuantizedTensor]:
        """All matrices but the last read the part's input, the last what the others make of it."""
        *first, last = linears
        inputs = Statistics(first[0].columns)
        for block in blocks():
            inputs.add(_as_read(block.rows[_QUANTIZED]), block.rows[_ORIGINAL], block.weights)
        done = self._round(first, original, inputs)
        begun = LaneWeights(done | {last.name: original.matrix(last)}, original.vectors)
        inner = Statistics(last.columns)
        for block in blocks():
            exact, read = (
                self.inputs_of(last, part, lane, weights, block.ids, block.rows[lane])
                for lane, weights in ((_ORIGINAL, original), (_QUANTIZED, begun))
            )
            inner.add(_as_read(read), exact, block.weights)
        return done | self._round([last], original, inner)

    def _round(
        self, linears: Sequence[Linear], original: LaneWeights, statistics: Statistics
    ) -> dict[str, QuantizedTensor]:
        """Matrices that read the same and have one format; by themselves where nothing was read."""
        method = self._scheme.others.get(linears[0].name, self._scheme.linear)
        format = format_named(method)
        weights = {linear.name: original.matrix(linear).dequantize() for linear in linears}
        if not format.group_size or not statistics.tokens or not statistics.second.any():
            return {name: METHODS[method](rows) for name, rows in weights.items()}
        if not np.isfinite(statistics.second).all() or not np.isfinite(statistics.cross).all():
            raise ExportError(
                f"{linears[0].name}: reads numbers that are not finite over the calibration text: "
                "the model's weights are too large for float32"
            )
        metric = Metric(statistics, format.group_size)
        return {name: quantize_calibrated(rows, metric, format) for name, rows in weights.items()}

    def _sequences_of(self, x: Value) -> Iterator[_Block]:
        for ids, place in self.sequences.places():
            yield _Block(ids, tuple(rows[place] for rows in x))


@dataclass(frozen=True)
class _Block:
    """Some tokens that are read at once."""

    ids: NDArray[np.int64]
    rows: Value
    """Their inputs in both lanes."""
    weights: Array | None = None
    """How much each counts."""


def expert_weights(routes: tuple[NDArray[np.int64], Array], index: int, columns: int) -> Array:
    """How much every token counts in the statistics of an expert, `[tokens]`.

    Its output is weighed by the router's share, so an error counts by the square of that. An expert
    with fewer tokens than inputs sees some of the others as well, at a small weight; one that saw
    nothing has no weights at all.

    Args:
        routes: each token's experts and their shares.
        index: the expert.
        columns: its inputs.
    """
    experts, shares = routes
    chosen = experts == index
    weights: Array = np.square(np.where(chosen, shares, 0).sum(-1))
    count = int(chosen.any(-1).sum())
    if 0 < count < columns:
        others = np.flatnonzero(~chosen.any(-1))
        step = max(1, len(others) // (_OTHERS * columns))
        weights[others[::step]] = _SMALL * weights[weights > 0].mean()
    return weights


def _tokens_of(x: Value, weights: Array) -> Iterator[_Block]:
    tokens = np.flatnonzero(weights)
    for start in range(0, len(tokens), _TOKENS_AT_ONCE):
        some = tokens[start : start + _TOKENS_AT_ONCE]
        yield _Block(some, tuple(rows[some] for rows in x), weights[some])


def _as_read(x: Array) -> Array:
    """Activations as the kernels round them for weights that are integers."""
    return round_to_int8(x)
