"""What each group of matrices does to the model's output when it alone is rounded.

A walk of as many lanes as there are groups, and the original. A lane begins where its group is
used, so that it costs only what comes behind; up to there it is the original.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from lfm_ops.formats import format_named
from lfm_ops.quantized import QuantizedTensor
from lfm_ops.reference import matmul_float32
from numpy.typing import NDArray

from ..architecture import Architecture, Linear, Norm, SparseMoe, Vector
from ..calibrate.metric import Metric
from ..calibrate.part import expert_weights
from ..calibrate.rounding import quantize_calibrated
from ..calibrate.statistics import Statistics
from ..errors import ExportError
from ..evaluate.divergence import Distribution, Divergence
from ..quantize import METHODS
from ..recipe import linears_of
from ..reference import Numerics
from ..walk import (
    LaneWeights,
    Part,
    Routes,
    Sequences,
    SourceWeights,
    Value,
    Walk,
    WalkFolder,
    inputs_of,
)
from ..workers import Here
from .budget import Group

__all__ = ["MeasureWalk"]

Array = NDArray[np.float32]
Block = tuple[NDArray[np.int64], Array, Array | None]
"""Ids of tokens, what a part reads of them, and how much each counts."""

_EXACT = Numerics(matmul_float32, "f32", 0.0)
_ROWS_AT_ONCE = 8192  # of the LM head
_TOKENS_AT_ONCE = 512


class MeasureWalk(Walk):
    """Lane 0 is the model as it is; each other one rounds a group, calibrated by itself."""

    def __init__(
        self,
        architecture: Architecture,
        sequences: Sequences,
        folder: WalkFolder,
        source: SourceWeights,
        groups: Sequence[Group],
        progress: Callable[[int], None],
    ) -> None:
        """`groups` are in the order in which they are used."""
        lanes = [_EXACT] * (1 + len(groups))
        super().__init__(architecture, sequences, folder, lanes, progress)
        self._source = source
        self._rounded = [frozenset[str](), *(_names(group) for group in groups)]
        self._formats = ["f32", *(group.formats[0] for group in groups)]
        self._begun = 1
        self._first_uses = _first_uses(architecture)

    @property
    def work(self) -> int:
        """The number of weights that all lanes multiply by, the head left out."""
        parts: list[list[Linear]] = [[self.architecture.embedding.tokens]]
        for layer in self.architecture.layers:
            parts += [linears_of(layer.operator), linears_of(layer.feed_forward)]
        total, begun = 0, 1
        for linears in parts:
            names = {linear.name for linear in linears}
            begun += sum(not names.isdisjoint(rounded) for rounded in self._rounded)
            total += begun * sum(linear.rows * linear.columns for linear in linears)
        return total

    @property
    def lanes(self) -> range:
        """Those that have begun."""
        return range(self._begun)

    def embed(self, part: object) -> None:
        """The embedding's lane begins here."""
        self._begin(linears_of(part)[:1])
        super().embed(self.architecture.embedding)

    def norm(self, stream: None, part: Norm) -> Value:
        """Lanes of what reads the norm begin here, at the stream of the original."""
        before = self._begun
        self._begin(self._first_uses[part.weight.name])
        if not self.is_next_done:
            for lane in range(before, self._begun):
                self.folder.stream(lane)[:] = self.folder.stream(0)
        return super().norm(stream, part)

    def table(self, lane: int, linear: Linear, start: int, stop: int) -> QuantizedTensor:
        """Some rows, as they are looked up: nothing calibrates those."""
        method = self._formats[lane] if linear.name in self._rounded[lane] else "f32"
        return self._source.rows(linear, start, stop, method)

    def vector(self, lane: int, vector: Vector) -> Array:
        """The same in all lanes."""
        del lane
        return self._source.vector(vector)

    def part(self, part: Part, x: Value) -> Iterator[LaneWeights]:
        """One lane at a time."""
        blocks = [(ids, x[0][place], None) for ids, place in self.sequences.places()]
        return self._of_lanes(part, blocks)

    def experts(self, part: SparseMoe, x: Value, routes: Routes) -> Iterator[Sequence[LaneWeights]]:
        """The same; a token counts by the share that the router gives it."""

        def lanes(x: Value, index: int) -> Sequence[LaneWeights]:
            expert = part.experts[index]
            weights = expert_weights(routes[0], index, expert.gate.columns)
            tokens = np.flatnonzero(weights)
            starts = range(0, len(tokens), _TOKENS_AT_ONCE)
            places = [tokens[start : start + _TOKENS_AT_ONCE] for start in starts]
            blocks = [(some, x[0][some], weights[some]) for some in places]
            return tuple(self._of_lanes(expert, blocks))

        return self.workers.run(lanes, x, range(len(part.experts)))

    def divergences(self, states: Value) -> list[float]:
        """The mean divergence of each group's lane from the original, in nats.

        Raises:
            ExportError: logits are no numbers.
        """
        head = self.architecture.embedding.head or self.architecture.embedding.tokens
        read = Statistics(head.columns)
        pairs: list[list[Divergence]] = []
        for ids, place in self.sequences.places():
            read.add(states[0][place], states[0][place])
            truth = Distribution(ids[1:])
            pairs.append([Divergence(truth, Distribution(ids[1:])) for _ in states[1:]])
        for start in range(0, head.rows, _ROWS_AT_ONCE):
            exact = self.table(0, head, start, min(start + _ROWS_AT_ONCE, head.rows))
            tables = [
                _round(exact.dequantize(), read, format) if head.name in rounded else exact
                for rounded, format in zip(self._rounded, self._formats, strict=True)
            ]
            for (_, place), some in zip(self.sequences.places(), pairs, strict=True):
                logits = _logits(states[0][place], exact)
                some[0].p.add(logits, start)
                for lane, pair in enumerate(some, 1):
                    other = _logits(states[lane][place], tables[lane])
                    pair.q.add(other, start)
                    pair.add(logits, other)
        total = np.sum([[pair.kl.sum() for pair in some] for some in pairs], axis=0)
        if not np.isfinite(total).all():
            raise ExportError(
                "the model's logits over the calibration text are not finite: its weights are too "
                "large for float32"
            )
        means: list[float] = (total / (self.sequences.tokens - len(self.sequences))).tolist()
        return means

    def _begin(self, linears: Sequence[Linear]) -> None:
        """Begins the lanes of the groups that these matrices belong to."""
        names = {linear.name for linear in linears}
        while self._begun < len(self._rounded) and names & self._rounded[self._begun]:
            self._begun += 1

    def _of_lanes(self, part: Part, blocks: Sequence[Block]) -> Iterator[LaneWeights]:
        original = self._source.part(part)
        linears = linears_of(part)
        for lane in self.lanes:
            own = [linear for linear in linears if linear.name in self._rounded[lane]]
            if not own:
                yield original
                continue
            statistics = {
                last: self._statistics(part, linear, last, original, blocks)
                for last, linear in {linear is linears[-1]: linear for linear in own}.items()
            }
            rounded = {
                linear.name: _round(
                    original.matrix(linear).dequantize(),
                    statistics[linear is linears[-1]],
                    self._formats[lane],
                )
                for linear in own
            }
            yield LaneWeights({**original.matrices, **rounded}, original.vectors)

    def _statistics(
        self,
        part: Part,
        linear: Linear,
        is_last: bool,
        original: LaneWeights,
        blocks: Sequence[Block],
    ) -> Statistics:
        """Of what a matrix reads: the last one what the others make, all others the input."""
        found = Statistics(linear.columns)
        for ids, rows, weights in blocks:
            read = inputs_of(linear, part, original, _EXACT, ids, rows) if is_last else rows
            found.add(read, read, weights)
        return found


def _logits(states: Array, table: QuantizedTensor) -> Array:
    """Of all tokens but the last of a sequence, which nothing follows."""
    return matmul_float32(np.ascontiguousarray(states[:-1]), table)


def _round(rows: Array, statistics: Statistics, method: str) -> QuantizedTensor:
    if not statistics.second.any() or not np.isfinite(statistics.second).all():
        return METHODS[method](rows)
    format = format_named(method)
    metric = Metric(statistics, format.group_size)
    return quantize_calibrated([rows], metric, format, Here())[0]


def _names(group: Group) -> frozenset[str]:
    return frozenset(linear.name for linear in group.linears)


def _first_uses(architecture: Architecture) -> dict[str, list[Linear]]:
    """The matrices that are used behind each norm, by its weight's name."""
    embedding = architecture.embedding
    uses = {architecture.final_norm.weight.name: [embedding.head] if embedding.head else []}
    for layer in architecture.layers:
        uses[layer.operator_norm.weight.name] = linears_of(layer.operator)
        uses[layer.ffn_norm.weight.name] = linears_of(layer.feed_forward)
    return uses
