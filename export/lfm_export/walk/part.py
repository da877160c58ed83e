"""A part of a model that reads a sequence by itself, and what each of its matrices reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

from ..architecture import Attention, Linear, Mlp, ShortConv, Vector
from ..reference import Numerics, Reference

__all__ = ["Array", "LaneWeights", "Part", "inputs_of", "read_part"]

Array = NDArray[np.float32]
Part = Attention | ShortConv | Mlp

_NO_NOISE = np.random.default_rng(0)  # no run is disturbed


@dataclass(frozen=True)
class LaneWeights:
    """The tensors of one part in one lane, by name."""

    matrices: Mapping[str, QuantizedTensor]
    vectors: Mapping[str, Array]

    def matrix(self, linear: Linear) -> QuantizedTensor:
        """A linear layer's weight."""
        return self.matrices[linear.name]

    def vector(self, vector: Vector) -> Array:
        """A small tensor."""
        return self.vectors[vector.name]

    def optional(self, vector: Vector | None) -> Array | None:
        """One that the model may not have."""
        return None if vector is None else self.vector(vector)


def read_part(
    part: Part, weights: LaneWeights, numerics: Numerics, ids: NDArray[np.int64], rows: Array
) -> Array:
    """What a part makes of `rows` `[tokens, width]` of one sequence, whose state starts empty."""
    reference = Reference(weights, ids.tolist(), numerics, 0, _NO_NOISE)
    if isinstance(part, Attention):
        return reference.attention(rows, 0, part)
    if isinstance(part, ShortConv):
        return reference.short_conv(rows, 0, part)
    return reference.mlp(rows, 0, part)


def inputs_of(
    linear: Linear,
    part: Part,
    weights: LaneWeights,
    numerics: Numerics,
    ids: NDArray[np.int64],
    rows: Array,
) -> Array:
    """What one matrix of a part reads, where the part reads `rows` of one sequence."""
    target, found = weights.matrix(linear), list[Array]()

    def matmul(x: Array, weight: QuantizedTensor) -> Array:
        if weight is not target:
            return numerics.matmul(x, weight)
        found.append(x)
        return np.zeros((len(x), weight.shape[0]), np.float32)

    read_part(part, weights, replace(numerics, matmul=matmul), ids, rows)
    (inputs,) = found
    return inputs
