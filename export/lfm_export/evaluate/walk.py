"""The walk that evaluates: the model as it is beside the bundle's weights, both exact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import numpy as np
from lfm_edge.bundle import Bundle
from lfm_edge.progress import Progress
from lfm_ops.quantized import QuantizedTensor
from lfm_ops.reference import matmul_float32
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..architecture import Architecture, Linear, SparseMoe, Vector
from ..checkpoint import Checkpoint
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
    size_of,
)
from .runtime import RuntimeLogits
from .score import Columns, Readers, score
from .stored import StoredWeights, readable

__all__ = ["lanes_of", "walk_and_score"]

_EXACT = Numerics(matmul_float32, "f32", 0.0)
Lane = SourceWeights | StoredWeights


def lanes_of(bundle: Bundle, checkpoint: Checkpoint, architecture: Architecture) -> list[Lane]:
    """The source and, where its weights can be read, the bundle."""
    lanes: list[Lane] = [SourceWeights(checkpoint)]
    if readable(bundle):
        lanes.append(StoredWeights(bundle, architecture))
    return lanes


def walk_and_score(
    architecture: Architecture | None,
    sequences: Sequences,
    lanes: Sequence[Lane],
    runtime: RuntimeLogits | None,
    folder: WalkFolder,
    progress: Progress,
) -> list[Columns]:
    """The scores of every sequence, by the lanes where there is a source, and by the runtime.

    Raises:
        InvalidRequestError: logits are no numbers.
        CheckpointError: the checkpoint is damaged.
        BundleError: the bundle is no export of it, or fails to run.
    """
    with ExitStack() as stack:
        readers = Readers(runtime=runtime)
        if architecture is not None:
            # One thread for NumPy's products, so that sums keep their order.
            stack.enter_context(threadpool_limits(1, "blas"))
            walk = EvaluateWalk(architecture, sequences, folder, lanes, progress)
            left = len(lanes) * _matrices(architecture) - folder.weights
            progress.stage("walk", max(left, 1), "weights")
            readers = Readers(walk.run(), walk.table, architecture.embedding, runtime)
        progress.stage("score", sequences.tokens, "tokens")
        return score(sequences, readers, folder, progress.advance)


def _matrices(architecture: Architecture) -> int:
    """Weights of the matrices that a lane multiplies by, the head left out."""
    tokens = architecture.embedding.tokens
    return tokens.rows * tokens.columns + size_of(architecture.layers)


class EvaluateWalk(Walk):
    """The source in lane 0 and, where its weights can be read, the bundle in lane 1."""

    def __init__(
        self,
        architecture: Architecture,
        sequences: Sequences,
        folder: WalkFolder,
        lanes: Sequence[Lane],
        progress: Progress,
    ) -> None:
        super().__init__(architecture, sequences, folder, [_EXACT] * len(lanes), progress.advance)
        self._lanes = lanes

    def table(self, lane: int, linear: Linear, start: int, stop: int) -> QuantizedTensor:
        """Some rows of the token embedding or LM head."""
        return self._lanes[lane].rows(linear, start, stop)

    def vector(self, lane: int, vector: Vector) -> NDArray[np.float32]:
        """A small tensor."""
        return self._lanes[lane].vector(vector)

    def part(self, part: Part, x: Value) -> Iterator[LaneWeights]:
        """As they are stored, one lane at a time."""
        del x
        return (lane.part(part) for lane in self._lanes)

    def experts(self, part: SparseMoe, x: Value, routes: Routes) -> Iterator[Sequence[LaneWeights]]:
        """As they are stored."""
        del routes
        return self.workers.run(lambda x, expert: tuple(self.part(expert, x)), x, part.experts)
