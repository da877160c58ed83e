"""Products with a stored matrix, and look-ups in it, by ONNX Runtime's own operators."""

from __future__ import annotations

import onnx_ir as ir

from ..matrices import packed_bits
from ..onnx_graph.builder import GraphBuilder
from ..onnx_graph.weights import StoredMatrix
from .weights import SCALES

__all__ = ["INT8_ACTIVATIONS", "MICROSOFT", "look_up", "multiply"]

MICROSOFT = "com.microsoft"
INT8_ACTIVATIONS = 4  # `accuracy_level`: activations are rounded to int8 per group


def multiply(
    graph: GraphBuilder,
    matrix: StoredMatrix,
    x: ir.Value,
    name: str,
    bias: ir.Value | None = None,
) -> ir.Value:
    """`x W^T + bias` for `x` `[1, tokens, columns]`."""
    if matrix.format.group_size == 0:
        return _multiply_float(graph, matrix, x, name, bias)
    return graph.op(
        "MatMulNBits",
        *(x, graph.stored(matrix.name), _scales(graph, matrix), None, None, bias),
        name=name,
        domain=MICROSOFT,
        K=matrix.columns,
        N=matrix.rows,
        bits=packed_bits(matrix.format),
        block_size=matrix.format.group_size,
        accuracy_level=INT8_ACTIVATIONS,
    )


def look_up(graph: GraphBuilder, matrix: StoredMatrix, ids: ir.Value, name: str) -> ir.Value:
    """The rows of `ids` `[1, tokens]`, as float32 `[1, tokens, columns]`."""
    data = graph.stored(matrix.name)
    if matrix.format.group_size == 0:
        return graph.op("Gather", data, ids, name=name, axis=0)
    scales = _scales(graph, matrix)
    column = graph.op("Unsqueeze", scales, graph.integers(2), name=f"{name}/scales")
    groups = graph.op(
        "GatherBlockQuantized",
        *(data, ids, column),
        name=f"{name}/groups",
        domain=MICROSOFT,
        bits=packed_bits(matrix.format),
        block_size=matrix.format.group_size,
        gather_axis=0,
        quantize_axis=2,
    )
    return graph.op("Reshape", groups, graph.integers(1, -1, matrix.columns), name=name)


def _scales(graph: GraphBuilder, matrix: StoredMatrix) -> ir.Value:
    """Float32 `[rows, groups]`, cast from float16 when the session is made."""
    half, name = graph.stored(f"{matrix.name}{SCALES}"), f"{matrix.name}{SCALES}/float"
    return graph.once(name, lambda: graph.op("Cast", half, name=name, to=int(ir.DataType.FLOAT)))


def _multiply_float(
    graph: GraphBuilder, matrix: StoredMatrix, x: ir.Value, name: str, bias: ir.Value | None
) -> ir.Value:
    """Gemm takes the matrix as it lies, so that a tied head is stored once."""
    flat = graph.op("Reshape", x, graph.integers(-1, matrix.columns), name=f"{name}/rows")
    data = graph.stored(matrix.name)
    operands = (flat, data) if bias is None else (flat, data, bias)
    out = graph.op("Gemm", *operands, name=name, transB=1)
    return graph.op("Reshape", out, graph.integers(1, -1, matrix.rows), name=f"{name}/tokens")
