"""Weights as ONNX Runtime's own operators take them: integers in bytes, and scales apart."""

from __future__ import annotations

from lfm_ops.quantized import QuantizedTensor, stack_rows

from ..matrices import interleave_rows, pack
from ..onnx_graph.weights import StoredWeights, Values

__all__ = ["SCALES", "PortableWeights"]

SCALES = ".scales"


class PortableWeights(StoredWeights):
    """`MatMulNBits` takes gate and up one after the other, `QMoE` row by row in turn."""

    def join(self, gate: QuantizedTensor, up: QuantizedTensor, expert: bool) -> QuantizedTensor:
        """Rows in turn within an expert."""
        return interleave_rows(gate, up) if expert else stack_rows([gate, up])

    def tensors(self, matrix: QuantizedTensor, expert: bool) -> dict[str, Values]:
        """Integers and scales `[rows, groups]`, or float weights.

        Integers of an expert are `[rows, bytes]`, others `[rows, groups, bytes]`: so one
        initializer serves products and look-ups; reshaped, it would be copied at load.
        """
        if matrix.scales is None:
            return {"": matrix.values}
        integers = pack(matrix)
        if not expert:
            integers = integers.reshape(*matrix.scales.shape, -1)
        return {"": integers, SCALES: matrix.scales}
