"""What some families' attention has beside its operator: gates of heads, biases of projections."""

from __future__ import annotations

import onnx_ir as ir

from ...architecture import Attention
from .builder import GraphBuilder

__all__ = ["gated", "qkv_bias"]


def qkv_bias(graph: GraphBuilder, part: Attention, name: str) -> ir.Value | None:
    """The biases of queries, keys and values, one after the other; they are joined at load."""
    linears = (part.q_proj, part.k_proj, part.v_proj)
    biases = [graph.stored(linear.bias.name) for linear in linears if linear.bias is not None]
    return graph.op("Concat", *biases, name=name, axis=0) if biases else None


def gated(
    graph: GraphBuilder, heads: ir.Value, gates: ir.Value, part: Attention, name: str
) -> ir.Value:
    """Every head's output times the sigmoid of its gate.

    Args:
        graph: takes the nodes.
        heads: `[1, tokens, num_heads * head_dim]`.
        gates: before the sigmoid, `[1, tokens, num_heads]`.
        part: the layer's attention.
        name: begins the names of the nodes.
    """
    shares = graph.op("Sigmoid", gates, name=f"{name}/sigmoid")
    each = graph.integers(0, 0, part.num_heads, 1)
    shares = graph.op("Reshape", shares, each, name=f"{name}/shares")
    apart = graph.integers(0, 0, part.num_heads, part.head_dim)
    heads = graph.op("Reshape", heads, apart, name=f"{name}/heads")
    product = graph.op("Mul", heads, shares, name=f"{name}/product")
    return graph.op("Reshape", product, graph.integers(0, 0, -1), name=f"{name}/joined")
