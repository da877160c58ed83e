"""The portable graph: operators of ONNX and `com.microsoft` only, one graph for prefill and decode.

Inputs are `input_ids` `[1, S]`, `attention_mask` `[1, past + S]` (only its length counts) and the
state; outputs are the state and the logits of the last token, `[1, 1, vocab]`. Names are those
that ONNX Runtime GenAI looks for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from lfm_edge.bundle import Graph, StateTensor
from lfm_ops.reference import rope_table

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
from ._matmul_nbits import stack_rows
from ._portable_linear import MICROSOFT, StoredMatrix
from ._portable_moe import PortableMoe
from .external_data import ExternalData
from .graph import GraphBuilder

__all__ = ["OnnxPortableEmitter"]

_FLOAT, _INT64 = ir.DataType.FLOAT, ir.DataType.INT64


class OnnxPortableEmitter:
    """A consumer of the walk that writes `model.onnx` and its external data."""

    target = "onnx-portable"
    file = "model.onnx"

    _moe: PortableMoe
    _hidden: ir.Value
    _head: StoredMatrix

    def __init__(self, architecture: Architecture, max_context: int, data: ExternalData) -> None:
        self._last_layer = len(architecture.layers) - 1
        self._max_context = max_context
        self._graph = GraphBuilder(data, [MICROSOFT])
        self._state: list[StateTensor] = []
        self._rope: dict[tuple[int, float], tuple[ir.Value, ir.Value]] = {}
        self._branch: ir.Value | None = None
        self._ids = self._graph.input("input_ids", _INT64, [1, "sequence_length"])
        mask = self._graph.input("attention_mask", _INT64, [1, "total_sequence_length"])
        self._total, self._last_position = self._lengths(mask)

    def save(self, folder: Path, producer: str) -> Graph:
        """Writes the graph and says how it is called."""
        self._graph.save(folder / self.file, producer)
        return Graph(target=self.target, file=self.file, functions=["main"], state=self._state)

    def embedding(self, part: Embedding, weights: Weights) -> None:
        """Looks the tokens up; the head is stored and used at the end."""
        table = StoredMatrix.store(self._graph, part.tokens.name, weights.matrix(part.tokens))
        self._hidden = table.look_up(self._graph, self._ids, "embed_tokens")
        self._head = table
        if part.head is not None:
            head = weights.matrix(part.head)
            self._head = StoredMatrix.store(self._graph, part.head.name, head)

    def operator(self, layer: Layer, weights: Weights) -> None:
        """Attention or convolution; behind the last one only the last token is still needed."""
        x = self._add_and_norm(layer.operator_norm, weights)
        if isinstance(layer.operator, Attention):
            self._branch = self._attention(x, layer.index, layer.operator, weights)
        else:
            self._branch = self._short_conv(x, layer.index, layer.operator, weights)
        if layer.index == self._last_layer:
            last = self._graph.integers(-1)
            self._hidden = self._op("Gather", self._hidden, last, name="last/hidden", axis=1)
            self._branch = self._op("Gather", self._branch, last, name="last/branch", axis=1)

    def mlp(self, layer: Layer, part: Mlp, weights: Weights) -> None:
        """The dense feed-forward, gate and up in one product."""
        x = self._add_and_norm(layer.ffn_norm, weights)
        name = f"layers.{layer.index}/mlp"
        both = self._linear(x, (part.gate, part.up), weights, f"{name}/gate_up")
        gate, up = self._split(both, (part.gate.rows, part.up.rows), -1, f"{name}/split")
        gate = self._op("QuickGelu", gate, name=f"{name}/silu", domain=MICROSOFT, alpha=1.0)
        product = self._op("Mul", gate, up, name=f"{name}/product")
        self._branch = self._linear(product, (part.down,), weights, f"{name}/down")

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

    def final_norm(self, part: Norm, weights: Weights) -> None:
        """The logits of the last token."""
        x = self._add_and_norm(part, weights)
        logits = self._head.multiply(self._graph, x, "lm_head")
        self._graph.output(logits, "logits", _FLOAT, [1, 1, self._head.rows])

    def _attention(self, x: ir.Value, index: int, part: Attention, weights: Weights) -> ir.Value:
        name = f"layers.{index}/attention"
        projections = (part.q_proj, part.k_proj, part.v_proj)
        qkv = self._linear(x, projections, weights, f"{name}/qkv")
        q, k, v = self._split(qkv, [linear.rows for linear in projections], -1, f"{name}/split")
        q = self._norm_heads(q, part.q_norm, part, weights, f"{name}/q_norm")
        k = self._norm_heads(k, part.k_norm, part, weights, f"{name}/k_norm")
        shape: list[int | Literal["capacity"]] = [1, part.num_kv_heads, "capacity", part.head_dim]
        past = [self._past(index, kind, shape) for kind in ("key", "value")]
        out, *present = self._graph.node(
            "GroupQueryAttention",
            *(q, k, v, *past, self._last_position, self._total),
            *self._rope_tables(part),
            name=name,
            domain=MICROSOFT,
            outputs=3,
            num_heads=part.num_heads,
            kv_num_heads=part.num_kv_heads,
            scale=part.head_dim**-0.5,
            do_rotary=1,
        )
        for value, tensor in zip(present, self._state[-2:], strict=True):
            self._present(value, tensor)
        return self._linear(out, (part.out_proj,), weights, f"{name}/out_proj")

    def _norm_heads(
        self, x: ir.Value, norm: Norm, part: Attention, weights: Weights, name: str
    ) -> ir.Value:
        heads = self._graph.integers(1, -1, part.num_heads, part.head_dim)
        if norm is part.k_norm:
            heads = self._graph.integers(1, -1, part.num_kv_heads, part.head_dim)
        split = self._op("Reshape", x, heads, name=f"{name}/heads")
        normed = self._norm(split, norm, weights, name)
        return self._op("Reshape", normed, self._graph.integers(0, 0, -1), name=f"{name}/joined")

    def _rope_tables(self, part: Attention) -> tuple[ir.Value, ir.Value]:
        key = (part.head_dim, part.rope_theta)
        if key not in self._rope:
            cos, sin = rope_table(self._max_context, *key)
            suffix = "" if not self._rope else f".{len(self._rope)}"
            self._rope[key] = (
                self._graph.weight(f"cos_cache{suffix}", cos),
                self._graph.weight(f"sin_cache{suffix}", sin),
            )
        return self._rope[key]

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
        convolved, present = self._graph.node(
            "CausalConvWithState",
            *(gated, taps, bias, past),
            name=name,
            domain=MICROSOFT,
            outputs=2,
        )
        self._present(present, self._state[-1])
        gated = self._op("Mul", after, convolved, name=f"{name}/after")
        tokens = self._op("Transpose", gated, name=f"{name}/tokens", perm=[0, 2, 1])
        return self._linear(tokens, (part.out_proj,), weights, f"{name}/out_proj")

    def _past(
        self,
        index: int,
        kind: Literal["key", "value", "conv"],
        shape: list[int | Literal["capacity"]],
    ) -> ir.Value:
        """Declares a state tensor; its input names are ONNX Runtime GenAI's."""
        name = f"{index}.{kind}"
        past = f"past.{name}" if kind == "conv" else f"past_key_values.{name}"
        self._state.append(
            StateTensor(
                name=name,
                kind=kind,
                layer=index,
                dtype="float32",
                shape=shape,
                input=past,
                output=f"present.{name}",
            )
        )
        return self._graph.input(past, _FLOAT, shape)

    def _present(self, value: ir.Value, tensor: StateTensor) -> None:
        self._graph.output(value, tensor.output, _FLOAT, tensor.shape)

    def _lengths(self, mask: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The total length, and the index of the last position, both int32."""
        length = self._op("Shape", mask, name="total/length", start=1, end=2)
        total = self._op("Cast", length, name="total", to=int(ir.DataType.INT32))
        one = self._graph.weight("constants/int32/1", np.array([1], np.int32))
        last = self._op("Sub", total, one, name="last_position")
        scalar = self._op("Squeeze", total, name="total/scalar")
        return scalar, last

    def _add_and_norm(self, norm: Norm, weights: Weights) -> ir.Value:
        """Adds the branch to the residual stream and norms it, in one operator."""
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

    def _linear(
        self, x: ir.Value, linears: tuple[Linear, ...], weights: Weights, name: str
    ) -> ir.Value:
        """The outputs of one or several linear layers of the same input, side by side."""
        matrix = stack_rows([weights.matrix(linear) for linear in linears])
        bias = weights.optional(linears[0].bias)
        return StoredMatrix.store(self._graph, f"{name}.weight", matrix).multiply(
            self._graph, x, name, bias
        )

    def _split(
        self, x: ir.Value, sizes: tuple[int, ...] | list[int], axis: int, name: str
    ) -> list[ir.Value]:
        parts = self._graph.integers(*sizes)
        return self._graph.node("Split", x, parts, name=name, outputs=len(sizes), axis=axis)

    def _op(self, op_type: str, *inputs: ir.Value | None, name: str, **attributes: Any) -> ir.Value:
        return self._graph.op(op_type, *inputs, name=name, **attributes)
