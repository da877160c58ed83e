"""The walk that quantizes: each part reads what the layers before it, quantized, make of the text.

Lane 0 is the model as it is, lane 1 as it becomes, multiplied as the kernels do. What a linear
layer reads in lane 1 tells which errors of its weights matter, and beside what lane 0 reads, which
errors of the layers before it can be made good.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from lfm_ops.formats import format_named
from lfm_ops.quantized import QuantizedTensor, stack_rows
from numpy.typing import NDArray

from ..architecture import Architecture, Linear, SparseMoe, Vector
from ..quantize import Scheme
from ..recipe import linears_of
from ..walk import (
    LaneWeights,
    Part,
    Routes,
    Sequences,
    SourceWeights,
    Value,
    Walk,
    WalkFolder,
)
from ..workers import Workers
from .kept import KeptTensors
from .metric import Metric
from .part import (
    LANES,
    ORIGINAL,
    QUANTIZED,
    Block,
    PartRead,
    as_read,
    expert_weights,
    quantize_part,
    tokens_of,
)
from .rounding import quantize_calibrated
from .statistics import Statistics

__all__ = ["CalibrateWalk"]

Array = NDArray[np.float32]

_HEAD_ROWS_AT_ONCE = 8192


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
        workers: Workers,
    ) -> None:
        super().__init__(architecture, sequences, folder, LANES, progress, workers)
        self._source, self._scheme = source, scheme
        self._tensors = tensors

    def table(self, lane: int, linear: Linear, start: int, stop: int) -> QuantizedTensor:
        """The embedding is quantized by itself: a row is read by one token alone."""
        scheme = self._scheme
        method = scheme.others.get(linear.name, scheme.head) if lane == QUANTIZED else "f32"
        return self._source.rows(linear, start, stop, method)

    def vector(self, lane: int, vector: Vector) -> Array:
        """The same in both lanes."""
        del lane
        return self._source.vector(vector)

    def part(self, part: Part, x: Value) -> tuple[LaneWeights, LaneWeights]:
        """Quantizes a part that all tokens meet."""
        original, found = self._source.part(part), self._kept(part)
        if found is None:
            places = self.sequences.places()
            blocks = [Block(ids, tuple(rows[place] for rows in x)) for ids, place in places]
            found = quantize_part(self._scheme, PartRead(part, original, blocks), self.workers)
            self._keep(found)
        return original, LaneWeights(found, original.vectors)

    def experts(
        self, part: SparseMoe, x: Value, routes: Routes
    ) -> Iterator[tuple[LaneWeights, LaneWeights]]:
        """Quantizes each expert; a token counts by the share that the router gives it."""
        lacking = [i for i, expert in enumerate(part.experts) if self._kept(expert) is None]
        originals = deque[LaneWeights]()

        def reads() -> Iterator[PartRead]:
            for index in lacking:
                expert = part.experts[index]
                originals.append(self._source.part(expert))
                weights = expert_weights(routes[QUANTIZED], index, expert.gate.columns)
                yield PartRead(expert, originals[-1], tokens_of(x, weights))

        quantized = self.workers.run(quantize_part, self._scheme, reads())
        for expert in part.experts:
            found = self._kept(expert)
            if found is None:
                found = next(quantized)
                self._keep(found)
                original = originals.popleft()
            else:
                original = self._source.part(expert)
            yield original, LaneWeights(found, original.vectors)

    def quantize_head(self, head: Linear, states: Value) -> None:
        """Quantizes the LM head by its inputs, which the walk has led to.

        The lookups of an embedding that is the head too were made with other integers: it cannot
        be known before the layers are, and the rows lie as near to the original.
        """
        if self._tensors.get(head.name) is not None:
            return
        statistics = Statistics(head.columns)
        for _, place in self.sequences.places():
            original, read = (states[lane][place] for lane in (ORIGINAL, QUANTIZED))
            statistics.add(as_read(read), original)
        format = format_named(self._scheme.others.get(head.name, self._scheme.head))
        metric = Metric(statistics, format.group_size)
        parts = []
        for start in range(0, head.rows, _HEAD_ROWS_AT_ONCE):
            stop = min(start + _HEAD_ROWS_AT_ONCE, head.rows)
            rows = self._source.rows(head, start, stop).dequantize()
            parts += quantize_calibrated([rows], metric, format, self.workers)
            self._advance((stop - start) * head.columns)
        self._tensors.put(head.name, stack_rows(parts))

    def _kept(self, part: Part) -> dict[str, QuantizedTensor] | None:
        """All matrices of a part, if they were found before."""
        names = [linear.name for linear in linears_of(part)]
        found = {name: self._tensors.get(name) for name in names}
        whole = {name: tensor for name, tensor in found.items() if tensor is not None}
        return whole if len(whole) == len(names) else None

    def _keep(self, found: Mapping[str, QuantizedTensor]) -> None:
        for name, tensor in found.items():
            self._tensors.put(name, tensor)
