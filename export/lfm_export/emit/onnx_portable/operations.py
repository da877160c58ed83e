"""Every operation of a model in operators of ONNX and `com.microsoft`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ...architecture import Attention, Embedding, Linear, Mlp, Norm, ShortConv, SparseMoe, Vector
from ...decoder import Operations
from ..onnx_graph.attention import gated, qkv_bias
from ..onnx_graph.builder import GraphBuilder
from ..onnx_graph.residual import Residual
from ..onnx_graph.signature import Shape, Signature
from .linear import MICROSOFT, look_up, multiply
from .moe import sparse_moe
from .weights import PortableWeights

__all__ = ["MICROSOFT", "PortableOperations"]


class PortableOperations(Operations[Residual, ir.Value]):
    """Weights go to `MatMulNBits` and `QMoE`, state to `GroupQueryAttention` and its like."""

    def __init__(self, graph: GraphBuilder, signature: Signature, weights: PortableWeights) -> None:
        self._graph, self._signature, self._weights = graph, signature, weights
        self._total, self._last_position = self._lengths()

    def embed(self, part: Embedding) -> Residual:
        """Looks the tokens up."""
        table = self._weights.stored(part.tokens.name)
        return Residual(look_up(self._graph, table, self._signature.input_ids, "embed_tokens"))

    def norm(self, stream: Residual, part: Norm) -> ir.Value:
        """The norm, and the addition before it where there is one, in one node."""
        name = part.weight.name.removesuffix(".weight")
        if stream.branch is None:
            return self._norm(stream.value, part, name)
        normed, _, _, total = self._graph.node(
            "SkipSimplifiedLayerNormalization",
            *(stream.value, stream.branch, self._vector(part.weight)),
            name=name,
            domain=MICROSOFT,
            outputs=4,
            epsilon=part.eps,
        )
        stream.added(total)
        return normed

    def norm_branch(self, branch: ir.Value, part: Norm) -> ir.Value:
        """The norm alone."""
        return self._norm(branch, part, part.weight.name.removesuffix(".weight"))

    def add(self, stream: Residual, branch: ir.Value) -> Residual:
        """Left to the next norm."""
        return stream.plus(branch)

    def last_token(self, stream: Residual) -> Residual:
        """The last row of both terms."""
        return stream.at(self._graph.integers(-1), self._graph)

    def mlp(self, x: ir.Value, layer: int, part: Mlp) -> ir.Value:
        """Gate and up in one product."""
        name = f"layers.{layer}/mlp"
        both = self._linear(x, part.gate, f"{name}/gate_up")
        gate, up = self._split(both, (part.gate.rows, part.up.rows), -1, f"{name}/split")
        gate = self._op("QuickGelu", gate, name=f"{name}/silu", domain=MICROSOFT, alpha=1.0)
        product = self._op("Mul", gate, up, name=f"{name}/product")
        return self._linear(product, part.down, f"{name}/down")

    def sparse_moe(self, x: ir.Value, layer: int, part: SparseMoe) -> ir.Value:
        """`QMoE`, or `MoE` for float weights."""
        first = part.experts[0]
        gate_up, down = (self._weights.stored(m.name) for m in (first.gate, first.down))
        return sparse_moe(self._graph, f"layers.{layer}/moe", x, part.router, gate_up, down)

    def lm_head(self, x: ir.Value, part: Embedding) -> ir.Value:
        """The logits, by the embedding's matrix where they share it."""
        return self._linear(x, part.head or part.tokens, "lm_head")

    def attention(self, x: ir.Value, layer: int, part: Attention) -> ir.Value:
        """Projections and norms apart, the rest in one node."""
        name = f"layers.{layer}/attention"
        projections = (part.q_proj, part.k_proj, part.v_proj)
        matrix = self._weights.stored(part.q_proj.name)
        bias = qkv_bias(self._graph, part, f"{name}/qkv/biases")
        qkv = multiply(self._graph, matrix, x, f"{name}/qkv", bias)
        q, k, v = self._split(qkv, [linear.rows for linear in projections], -1, f"{name}/split")
        q = self._norm_heads(q, part.q_norm, part.num_heads, f"{name}/q_norm")
        k = self._norm_heads(k, part.k_norm, part.num_kv_heads, f"{name}/k_norm")
        shape: Shape = [1, part.num_kv_heads, "capacity", part.head_dim]
        past = [
            self._signature.past(layer, kind, shape, window=part.window or None)
            for kind in ("key", "value")
        ]
        out, *present = self._graph.node(
            "GroupQueryAttention",
            *(q, k, v, *past, self._last_position, self._total),
            *self._signature.rope_tables(part),
            name=name,
            domain=MICROSOFT,
            outputs=3,
            num_heads=part.num_heads,
            kv_num_heads=part.num_kv_heads,
            scale=part.head_dim**-0.5,
            do_rotary=1,
            local_window_size=part.window or -1,
        )
        self._signature.present(present)
        if part.gate_proj is not None:
            gates = self._linear(x, part.gate_proj, f"{name}/gate_proj")
            out = gated(self._graph, out, gates, part, f"{name}/gate")
        return self._linear(out, part.out_proj, f"{name}/out_proj")

    def short_conv(self, x: ir.Value, layer: int, part: ShortConv) -> ir.Value:
        """Channels come first between the projections: the convolution is fastest that way."""
        name, hidden = f"layers.{layer}/conv", part.hidden_size
        projected = self._linear(x, part.in_proj, f"{name}/in_proj")
        channels = self._op("Transpose", projected, name=f"{name}/channels", perm=[0, 2, 1])
        before, after, values = self._split(channels, [hidden] * 3, 1, f"{name}/split")
        gated = self._op("Mul", before, values, name=f"{name}/before")
        taps, bias = self._vector(part.taps), self._optional(part.bias)
        past = self._signature.past(layer, "conv", [1, hidden, part.kernel_size - 1])
        convolved, *present = self._graph.node(
            "CausalConvWithState",
            *(gated, taps, bias, past),
            name=name,
            domain=MICROSOFT,
            outputs=2,
        )
        self._signature.present(present)
        gated = self._op("Mul", after, convolved, name=f"{name}/after")
        tokens = self._op("Transpose", gated, name=f"{name}/tokens", perm=[0, 2, 1])
        return self._linear(tokens, part.out_proj, f"{name}/out_proj")

    def _norm(self, x: ir.Value, norm: Norm, name: str) -> ir.Value:
        gamma = self._vector(norm.weight)
        return self._op(
            "SimplifiedLayerNormalization", x, gamma, name=name, axis=-1, epsilon=norm.eps
        )

    def _norm_heads(self, x: ir.Value, norm: Norm, heads: int, name: str) -> ir.Value:
        shape = self._graph.integers(1, -1, heads, norm.weight.shape[0])
        split = self._op("Reshape", x, shape, name=f"{name}/heads")
        normed = self._norm(split, norm, name)
        return self._op("Reshape", normed, self._graph.integers(0, 0, -1), name=f"{name}/joined")

    def _lengths(self) -> tuple[ir.Value, ir.Value]:
        """The total length, and the index of the last position, both int32."""
        mask = self._signature.attention_mask
        length = self._op("Shape", mask, name="total/length", start=1, end=2)
        total = self._op("Cast", length, name="total", to=int(ir.DataType.INT32))
        one = self._graph.constant("constants/int32/1", np.array([1], np.int32))
        last = self._op("Sub", total, one, name="last_position")
        scalar = self._op("Squeeze", total, name="total/scalar")
        return scalar, last

    def _linear(self, x: ir.Value, first: Linear, name: str) -> ir.Value:
        """The outputs of one or several linear layers of the same input, side by side."""
        matrix = self._weights.stored(first.name)
        return multiply(self._graph, matrix, x, name, self._optional(first.bias))

    def _split(self, x: ir.Value, sizes: Sequence[int], axis: int, name: str) -> list[ir.Value]:
        parts = self._graph.integers(*sizes)
        return self._graph.node("Split", x, parts, name=name, outputs=len(sizes), axis=axis)

    def _vector(self, vector: Vector) -> ir.Value:
        return self._graph.stored(vector.name)

    def _optional(self, vector: Vector | None) -> ir.Value | None:
        return None if vector is None else self._vector(vector)

    def _op(self, op_type: str, *inputs: ir.Value | None, name: str, **attributes: Any) -> ir.Value:
        return self._graph.op(op_type, *inputs, name=name, **attributes)
