"""The portable graph: operators of ONNX and `com.microsoft` only, one graph for prefill and decode.

ONNX Runtime needs no library to run it, and ONNX Runtime GenAI runs it as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from lfm_ops.quantized import stack_rows

from ..architecture import (
    Architecture,
    Attention,
    Embedding,
    Layer,
    Linear,
    Mlp,
    Norm,
    ShortConv,
    SparseMoe,
)
from ..weights import Weights
from ._onnx import MICROSOFT, OnnxWalk
from ._portable_linear import StoredMatrix
from ._portable_moe import PortableMoe
from .external_data import ExternalData

__all__ = ["OnnxPortableEmitter"]


class OnnxPortableEmitter(OnnxWalk):
    """Weights go to `MatMulNBits` and `QMoE`, state to `GroupQueryAttention` and its like."""

    target = "onnx-portable"

    _moe: PortableMoe
    _head: StoredMatrix

    def __init__(self, architecture: Architecture, max_context: int, data: ExternalData) -> None:
        super().__init__(architecture, max_context, data)
        self._total, self._last_position = self._lengths()

    def embedding(self, part: Embedding, weights: Weights) -> None:
        """Looks the tokens up; the head is stored and used at the end."""
        table = StoredMatrix.store(self._graph, part.tokens.name, weights.matrix(part.tokens))
        self._hidden = table.look_up(self._graph, self._ids, "embed_tokens")
        self._head = table
        if part.head is not None:
            head = weights.matrix(part.head)
            self._head = StoredMatrix.store(self._graph, part.head.name, head)

    def router(self, layer: Layer, part: SparseMoe, weights: Weights) -> None:
        """Begins a sparse feed-forward."""
        x = self._add_and_norm(layer.ffn_norm, weights)
        self._moe = PortableMoe(self._graph, f"layers.{layer.index}/moe", x, part, weights)

    def expert(self, index: int, part: Mlp, weights: Weights) -> None:
        """Writes one expert."""
        self._moe.expert(index, part, weights)

    def end_of_experts(self) -> None:
        """Closes the sparse feed-forward."""
        self._branch = self._moe.output()

    def _mlp(self, x: ir.Value, index: int, part: Mlp, weights: Weights) -> ir.Value:
        """Gate and up in one product."""
        name = f"layers.{index}/mlp"
        both = self._linear(x, (part.gate, part.up), weights, f"{name}/gate_up")
        gate, up = self._split(both, (part.gate.rows, part.up.rows), -1, f"{name}/split")
        gate = self._op("QuickGelu", gate, name=f"{name}/silu", domain=MICROSOFT, alpha=1.0)
        product = self._op("Mul", gate, up, name=f"{name}/product")
        return self._linear(product, (part.down,), weights, f"{name}/down")

    def _lm_head(self, x: ir.Value) -> ir.Value:
        return self._head.multiply(self._graph, x, "lm_head")

    def _attention(self, x: ir.Value, index: int, part: Attention, weights: Weights) -> ir.Value:
        name = f"layers.{index}/attention"
        projections = (part.q_proj, part.k_proj, part.v_proj)
        qkv = self._linear(x, projections, weights, f"{name}/qkv")
        q, k, v = self._split(qkv, [linear.rows for linear in projections], -1, f"{name}/split")
        q = self._norm_heads(q, part.q_norm, part.num_heads, weights, f"{name}/q_norm")
        k = self._norm_heads(k, part.k_norm, part.num_kv_heads, weights, f"{name}/k_norm")
        key = self._past(index, "key", [1, part.num_kv_heads, "capacity", part.head_dim])
        value = self._past(index, "value", [1, part.num_kv_heads, "capacity", part.head_dim])
        out, *present = self._graph.node(
            "GroupQueryAttention",
            *(q, k, v, key, value, self._last_position, self._total),
            *self._rope_tables(part),
            name=name,
            domain=MICROSOFT,
            outputs=3,
            num_heads=part.num_heads,
            kv_num_heads=part.num_kv_heads,
            scale=part.head_dim**-0.5,
            do_rotary=1,
        )
        self._present(present)
        return self._linear(out, (part.out_proj,), weights, f"{name}/out_proj")

    def _add_and_norm(self, norm: Norm, weights: Weights) -> ir.Value:
        name = norm.weight.name.removesuffix(".weight")
        if self._branch is None:
            return self._norm(self._hidden, norm, weights, name)
        gamma = self._graph.weight(norm.weight.name, weights.vector(norm.weight))
        normed, _, _, self._hidden = self._graph.node(
            "SkipSimplifiedLayerNormalization",
            *(self._hidden, self._branch, gamma),
            name=name,
            domain=MICROSOFT,
            outputs=4,
            epsilon=norm.eps,
        )
        return normed

    def _norm(self, x: ir.Value, norm: Norm, weights: Weights, name: str) -> ir.Value:
        gamma = self._graph.weight(norm.weight.name, weights.vector(norm.weight))
        return self._op(
            "SimplifiedLayerNormalization", x, gamma, name=name, axis=-1, epsilon=norm.eps
        )

    def _norm_heads(
        self, x: ir.Value, norm: Norm, heads: int, weights: Weights, name: str
    ) -> ir.Value:
        shape = self._graph.integers(1, -1, heads, norm.weight.shape[0])
        split = self._op("Reshape", x, shape, name=f"{name}/heads")
        normed = self._norm(split, norm, weights, name)
        return self._op("Reshape", normed, self._graph.integers(0, 0, -1), name=f"{name}/joined")

    def _short_conv(self, x: ir.Value, index: int, part: ShortConv, weights: Weights) -> ir.Value:
        """Channels come first between the projections: the convolution is fastest that way."""
        name, hidden = f"layers.{index}/conv", part.hidden_size
        projected = self._linear(x, (part.in_proj,), weights, f"{name}/in_proj")
        channels = self._op("Transpose", projected, name=f"{name}/channels", perm=[0, 2, 1])
        before, after, values = self._split(channels, [hidden] * 3, 1, f"{name}/split")
        gated = self._op("Mul", before, values, name=f"{name}/before")
        taps = self._graph.weight(part.taps.name, weights.vector(part.taps))
        bias = None
        if part.bias is not None:
            bias = self._graph.weight(part.bias.name, weights.vector(part.bias))
        past = self._past(index, "conv", [1, hidden, part.kernel_size - 1])
        convolved, *present = self._graph.node(
            "CausalConvWithState",
            *(gated, taps, bias, past),
            name=name,
            domain=MICROSOFT,
            outputs=2,
        )
        self._present(present)
        gated = self._op("Mul", after, convolved, name=f"{name}/after")
        tokens = self._op("Transpose", gated, name=f"{name}/tokens", perm=[0, 2, 1])
        return self._linear(tokens, (part.out_proj,), weights, f"{name}/out_proj")

    def _lengths(self) -> tuple[ir.Value, ir.Value]:
        """The total length, and the index of the last position, both int32."""
        length = self._op("Shape", self._mask, name="total/length", start=1, end=2)
        total = self._op("Cast", length, name="total", to=int(ir.DataType.INT32))
        one = self._graph.weight("constants/int32/1", np.array([1], np.int32))
        last = self._op("Sub", total, one, name="last_position")
        scalar = self._op("Squeeze", total, name="total/scalar")
        return scalar, last

    def _linear(
        self, x: ir.Value, linears: tuple[Linear, ...], weights: Weights, name: str
    ) -> ir.Value:
        matrix = stack_rows([weights.matrix(linear) for linear in linears])
        bias = weights.optional(linears[0].bias)
        return StoredMatrix.store(self._graph, f"{name}.weight", matrix).multiply(
            self._graph, x, name, bias
        )

    def _split(self, x: ir.Value, sizes: Sequence[int], axis: int, name: str) -> list[ir.Value]:
        parts = self._graph.integers(*sizes)
        return self._graph.node("Split", x, parts, name=name, outputs=len(sizes), axis=axis)
