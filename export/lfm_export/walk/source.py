"""A checkpoint's own weights in float32, a part at a time."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

from ..architecture import Architecture, Linear, Vector, tensors_of
from ..checkpoint import Checkpoint
from ..quantize import METHODS, UnfitWeightError, check_fit
from .part import LaneWeights

__all__ = ["SourceWeights", "checkpoint_identity"]


class SourceWeights:
    """Reads tensors when they are asked for, and keeps none."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def rows(self, linear: Linear, start: int, stop: int, method: str = "f32") -> QuantizedTensor:
        """Some rows of a matrix, by `method`.

        Raises:
            CheckpointError: they cannot be read, or hold no finite numbers.
        """
        values = self._checkpoint.read(linear.name, start, stop)
        try:
            return METHODS[method](values)
        except UnfitWeightError as error:
            raise self._checkpoint.unfit(linear.name, start + error.row, error.value) from None

    def vector(self, vector: Vector) -> NDArray[np.float32]:
        """A small tensor. Raises what `rows` raises."""
        values = self._checkpoint.read(vector.name)
        try:
            check_fit(values)
        except UnfitWeightError as error:
            raise self._checkpoint.unfit(vector.name, error.row, error.value) from None
        return values

    def part(self, part: object) -> LaneWeights:
        """All tensors of a part. Raises what `rows` raises."""
        tensors = list(tensors_of(part))
        return LaneWeights(
            {t.name: self.rows(t, 0, t.rows) for t in tensors if isinstance(t, Linear)},
            {t.name: self.vector(t) for t in tensors if isinstance(t, Vector)},
        )


def checkpoint_identity(checkpoint: Checkpoint, architecture: Architecture) -> str:
    """Tells one checkpoint from another by its configuration and a row of every matrix.

    The first expert of a layer stands for the others.
    """
    sha = hashlib.sha256(json.dumps(dict(checkpoint.config), sort_keys=True, default=str).encode())
    for tensor in tensors_of(architecture):
        if ".experts." not in tensor.name or ".experts.0." in tensor.name:
            sha.update(tensor.name.encode() + checkpoint.read(tensor.name, 0, 1).tobytes())
    return sha.hexdigest()
