"""A weight matrix as ONNX Runtime's own operators take it: stored once, multiplied or looked up."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from lfm_ops.formats import Format
from lfm_ops.quantized import QuantizedTensor
from lfm_ops.reference import Array

from ._matmul_nbits import pack
from .graph import GraphBuilder

__all__ = ["MICROSOFT", "StoredMatrix"]

MICROSOFT = "com.microsoft"
INT8_ACTIVATIONS = 4  # `accuracy_level`: activations are rounded to int8 per group


@dataclass(frozen=True)
class StoredMatrix:
    """A matrix `[rows, columns]` in the graph's initializers."""

    format: Format
    rows: int
    columns: int
    data: ir.Value
    scales: ir.Value | None
    """Float32 `[rows, groups]`, cast from float16 when the session is made."""

    @classmethod
    def store(cls, graph: GraphBuilder, name: str, weight: QuantizedTensor) -> StoredMatrix:
        """Writes the weight under `name`; float weights as they are, integers packed."""
        rows, columns = weight.shape
        if weight.scales is None:
            return cls(weight.format, rows, columns, graph.weight(name, weight.values), None)
        packed = pack(weight).reshape(rows, columns // weight.format.group_size, -1)
        half = graph.weight(f"{name}.scales", weight.scales)
        scales = graph.op("Cast", half, name=f"{name}.scales/float", to=int(ir.DataType.FLOAT))
        return cls(weight.format, rows, columns, graph.weight(name, packed), scales)

    def multiply(
        self, graph: GraphBuilder, x: ir.Value, name: str, bias: Array | None = None
    ) -> ir.Value:
        """`x W^T + bias` for `x` `[1, tokens, columns]`."""
        offset = None if bias is None else graph.weight(f"{name}.bias", bias)
        if self.scales is None:
            return self._multiply_float(graph, x, name, offset)
        return graph.op(
            "MatMulNBits",
            *(x, self.data, self.scales, None, None, offset),
            name=name,
            domain=MICROSOFT,
            K=self.columns,
            N=self.rows,
            bits=self.format.bits,
            block_size=self.format.group_size,
            accuracy_level=INT8_ACTIVATIONS,
        )

    def look_up(self, graph: GraphBuilder, ids: ir.Value, name: str) -> ir.Value:
        """The rows of `ids` `[1, tokens]`, as float32 `[1, tokens, columns]`.

        The packed data keep their three axes, a group on the last: so one initializer serves
        here and in `multiply`, and none is reshaped, which would copy it at load.
        """
        if self.scales is None:
            return graph.op("Gather", self.data, ids, name=name, axis=0)
        column = graph.op("Unsqueeze", self.scales, graph.integers(2), name=f"{name}/scales")
        groups = graph.op(
            "GatherBlockQuantized",
            self.data,
            ids,
            column,
            name=f"{name}/groups",
            domain=MICROSOFT,
            bits=self.format.bits,
            block_size=self.format.group_size,
            gather_axis=0,
            quantize_axis=2,
        )
        shape = graph.integers(1, -1, self.columns)
        return graph.op("Reshape", groups, shape, name=name)

    def _multiply_float(
        self, graph: GraphBuilder, x: ir.Value, name: str, bias: ir.Value | None
    ) -> ir.Value:
        """Gemm takes the matrix as it lies, so that a tied head is stored once."""
        flat = graph.op("Reshape", x, graph.integers(-1, self.columns), name=f"{name}/rows")
        operands = (flat, self.data) if bias is None else (flat, self.data, bias)
        out = graph.op("Gemm", *operands, name=name, transB=1)
        return graph.op("Reshape", out, graph.integers(1, -1, self.rows), name=f"{name}/tokens")
