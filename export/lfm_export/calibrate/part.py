"""One part of a model, quantized by what it reads in both lanes of a walk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from lfm_ops.formats import format_named
from lfm_ops.quantized import QuantizedTensor
from lfm_ops.reference import matmul_float32, matmul_int8, round_to_int8
from numpy.typing import NDArray

from ..architecture import Linear
from ..errors import ExportError
from ..quantize import METHODS, Scheme
from ..recipe import linears_of
from ..reference import Numerics
from ..walk import LaneWeights, Part, Value, inputs_of
from ..workers import Here, Workers
from .metric import Metric
from .rounding import quantize_calibrated
from .statistics import Statistics

__all__ = [
    "LANES",
    "ORIGINAL",
    "QUANTIZED",
    "Block",
    "PartRead",
    "as_read",
    "expert_weights",
    "quantize_part",
    "tokens_of",
]

Array = NDArray[np.float32]

ORIGINAL, QUANTIZED = 0, 1
LANES = (Numerics(matmul_float32, "f32", 0.0), Numerics(matmul_int8, "f16", 0.0))
"""The model as it is, and as it becomes, multiplied as the kernels do."""

_TOKENS_AT_ONCE = 2048
_SMALL = 0.01
"""The weight of tokens that were not sent to a rare expert, beside the mean of those that were."""
_OTHERS = 2
"""Of these, at most so many times its inputs."""


@dataclass(frozen=True)
class Block:
    """Some tokens that are read at once."""

    ids: NDArray[np.int64]
    rows: Value
    """Their inputs in both lanes."""
    weights: Array | None = None
    """How much each counts."""


@dataclass(frozen=True)
class PartRead:
    """A part, and all that it reads."""

    part: Part
    original: LaneWeights
    blocks: Sequence[Block]


def quantize_part(
    scheme: Scheme, read: PartRead, workers: Workers | None = None
) -> dict[str, QuantizedTensor]:
    """All matrices but the last read the part's input, the last what the others make of it.

    Args:
        scheme: the methods.
        read: the part.
        workers: share the rows of its matrices, where it is not a worker itself that has the part.

    Raises:
        ExportError: it reads numbers that are not finite.
    """
    part, original, workers = read.part, read.original, workers or Here()
    *first, last = linears_of(part)
    inputs = Statistics(first[0].columns)
    for block in read.blocks:
        inputs.add(as_read(block.rows[QUANTIZED]), block.rows[ORIGINAL], block.weights)
    done = _round(first, original, inputs, scheme, workers)
    begun = LaneWeights(done | {last.name: original.matrix(last)}, original.vectors)
    inner = Statistics(last.columns)
    made = workers.run(_inner_inputs, (last, part, original, begun), read.blocks)
    for block, (exact, rows) in zip(read.blocks, made, strict=True):
        inner.add(as_read(rows), exact, block.weights)
    return done | _round([last], original, inner, scheme, workers)


def _inner_inputs(
    reading: tuple[Linear, Part, LaneWeights, LaneWeights], block: Block
) -> tuple[Array, Array]:
    """What a part's last matrix reads in both lanes."""
    last, part, *lanes = reading
    original, quantized = (
        inputs_of(last, part, weights, LANES[lane], block.ids, block.rows[lane])
        for lane, weights in zip((ORIGINAL, QUANTIZED), lanes, strict=True)
    )
    return original, quantized


def _round(
    linears: Sequence[Linear],
    original: LaneWeights,
    statistics: Statistics,
    scheme: Scheme,
    workers: Workers,
) -> dict[str, QuantizedTensor]:
    """Matrices that read the same and have one format; by themselves where nothing was read."""
    method = scheme.others.get(linears[0].name, scheme.linear)
    format = format_named(method)
    names = [linear.name for linear in linears]
    weights = [original.matrix(linear).dequantize() for linear in linears]
    if not format.group_size or not statistics.tokens or not statistics.second.any():
        return dict(zip(names, map(METHODS[method], weights), strict=True))
    if not np.isfinite(statistics.second).all() or not np.isfinite(statistics.cross).all():
        raise ExportError(
            f"{names[0]}: reads numbers that are not finite over the calibration text: "
            "the model's weights are too large for float32"
        )
    metric = Metric(statistics, format.group_size)
    found = quantize_calibrated(weights, metric, format, workers)
    return dict(zip(names, found, strict=True))


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


def tokens_of(x: Value, weights: Array) -> list[Block]:
    """Those that count by `weights` `[tokens]`."""
    tokens = np.flatnonzero(weights)
    rows, counts = [lane[tokens] for lane in x], weights[tokens]
    starts = range(0, len(tokens), _TOKENS_AT_ONCE)
    return [
        Block(tokens[some], tuple(lane[some] for lane in rows), counts[some])
        for some in (slice(start, start + _TOKENS_AT_ONCE) for start in starts)
    ]


def as_read(x: Array) -> Array:
    """Activations as the kernels round them for weights that are integers."""
    return round_to_int8(x)
