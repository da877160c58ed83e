"""Weights in the packed layout of `lfm_ops.layout`, which the operators read in place."""

from __future__ import annotations

from lfm_ops import layout
from lfm_ops.quantized import QuantizedTensor

from ..onnx_graph.weights import StoredWeights, Values

__all__ = ["PackedWeights"]


class PackedWeights(StoredWeights):
    """A matrix is one tensor of bytes."""

    def join(self, gate: QuantizedTensor, up: QuantizedTensor, expert: bool) -> QuantizedTensor:
        """Blocks of 32 rows in turn."""
        del expert
        return layout.interleave_blocks(gate, up)

    def tensors(self, matrix: QuantizedTensor, expert: bool) -> dict[str, Values]:
        """Tiles, scales included."""
        del expert
        return {"": layout.pack(matrix)}
