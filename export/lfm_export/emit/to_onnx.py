"""The fast graph: a layer is a few of our own operators (domain `ai.lfm`, see docs/ops.md).

Beside what both ONNX graphs have, inputs are `replayed` `[1]`, how many leading tokens of the run
stand in the cache already, and `conv_columns` `[1]`, how many conv columns are asked for; outputs
are these, `conv_columns.{layer}` `[1, hidden, conv_columns]`.

Weights lie in the packed layout of `lfm_ops.layout`, are mapped from the file and read in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from lfm_ops import layout
from lfm_ops.quantized import QuantizedTensor, stack_rows
from numpy.typing import NDArray

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
    Vector,
)
from ..weights import Weights
from ._onnx import OnnxWalk, StateType
from .external_data import ExternalData, Region

__all__ = ["OnnxEmitter"]

DOMAIN = "ai.lfm"


class OnnxEmitter(OnnxWalk):
    """One operator for attention, for a convolution, for either feed-forward."""

    target = "onnx"
    domains = (DOMAIN,)

    _layer: Layer
    _regions: dict[str, Region]
    _moe_input: ir.Value
    _moe_vectors: list[ir.Value | None]
    _formats: dict[str, str]

    def __init__(
        self,
        architecture: Architecture,
        max_context: int,
        data: ExternalData,
        kv: StateType = "float16",
    ) -> None:
        super().__init__(architecture, max_context, data)
        self._kv: StateType = kv
        self._replayed = self._graph.input("replayed", ir.DataType.INT64, [1])
        self._conv_columns = self._graph.input("conv_columns", ir.DataType.INT64, [1])

    def embedding(self, part: Embedding, weights: Weights) -> None:
        """Looks the tokens up; the head is used at the end."""
        self._head, table = part.tokens, weights.matrix(part.tokens)
        self._head_format = table.format
        self._head_weight = self._graph.weight(part.tokens.name, layout.pack(table))
        self._hidden = self._lfm(
            "QuantizedEmbedding",
            *(self._ids, self._head_weight),
            name="embed_tokens",
            **_matrix(table),
        )
        if part.head is not None:
            self._head, head = part.head, weights.matrix(part.head)
            self._head_format = head.format
            self._head_weight = self._graph.weight(part.head.name, layout.pack(head))

    def router(self, layer: Layer, part: SparseMoe, weights: Weights) -> None:
        """Begins a sparse feed-forward."""
        self._layer, self._regions = layer, {}
        self._moe_input = self._add_and_norm(layer.ffn_norm, weights)
        self._moe_vectors = [
            self._vector(part.router.weight, weights),
            self._vector(part.router.bias, weights),
        ]

    def expert(self, index: int, part: Mlp, weights: Weights) -> None:
        """Writes one expert."""
        gate_up, down = _pack_mlp(part, weights)
        self._formats = _mlp_formats(part, weights)
        for name, packed in (("gate_up", gate_up), ("down", down)):
            self._region(name, packed.size).write(index, packed[None])

    def end_of_experts(self) -> None:
        """Closes the sparse feed-forward."""
        part = self._layer.feed_forward
        assert isinstance(part, SparseMoe)
        router, first = part.router, part.experts[0]
        self._branch = self._lfm(
            "SparseMoe",
            self._moe_input,
            *self._moe_vectors,
            *(self._graph.region(self._regions[name]) for name in ("gate_up", "down")),
            name=f"layers.{self._layer.index}/moe",
            hidden_size=first.gate.columns,
            intermediate_size=first.gate.rows,
            num_experts=router.num_experts,
            num_experts_per_tok=router.num_experts_per_tok,
            norm_topk_prob=int(router.norm_topk_prob),
            routed_scaling_factor=router.routed_scaling_factor,
            **self._formats,
        )

    def _mlp(self, x: ir.Value, index: int, part: Mlp, weights: Weights) -> ir.Value:
        name = f"layers.{index}/mlp"
        gate_up, down = _pack_mlp(part, weights)
        return self._lfm(
            "GatedMlp",
            x,
            self._graph.weight(f"{name}/gate_up", gate_up),
            self._graph.weight(f"{name}/down", down),
            name=name,
            hidden_size=part.gate.columns,
            intermediate_size=part.gate.rows,
            **_mlp_formats(part, weights),
        )

    def _add_and_norm(self, norm: Norm, weights: Weights) -> ir.Value:
        normed, *hidden = self._graph.node(
            "AddRmsNorm",
            *(self._hidden, self._vector(norm.weight, weights), self._branch),
            name=norm.weight.name.removesuffix(".weight"),
            domain=DOMAIN,
            outputs=1 if self._branch is None else 2,
            hidden_size=norm.weight.shape[0],
            epsilon=norm.eps,
        )
        self._hidden = hidden[0] if hidden else self._hidden
        return normed

    def _lm_head(self, x: ir.Value) -> ir.Value:
        return self._lfm(
            "QuantizedLinear",
            *(x, self._head_weight),
            name="lm_head",
            rows=self._head.rows,
            columns=self._head.columns,
            format=self._head_format.name,
        )

    def _attention(self, x: ir.Value, index: int, part: Attention, weights: Weights) -> ir.Value:
        name, heads = f"layers.{index}/attention", part.num_kv_heads
        projections = (part.q_proj, part.k_proj, part.v_proj)
        qkv = self._linear(x, projections, weights, f"{name}/qkv")
        norms = [self._vector(norm.weight, weights) for norm in (part.q_norm, part.k_norm)]
        past = [
            self._past(index, kind, [1, heads, "capacity", part.head_dim], self._kv)
            for kind in ("key", "value")
        ]
        scales: list[ir.Value | None] = [None, None]
        if self._kv == "int8":
            scales = [
                self._past(index, kind, [1, heads, "capacity"])
                for kind in ("key_scale", "value_scale")
            ]
        out, *present = self._graph.node(
            "CachedAttention",
            *(qkv, *norms, *self._rope_tables(part), self._mask, *past, *scales, self._replayed),
            name=name,
            domain=DOMAIN,
            outputs=5 if self._kv == "int8" else 3,
            num_heads=part.num_heads,
            num_kv_heads=heads,
            head_dim=part.head_dim,
            rotary_dim=part.head_dim,
            window=0,
            scale=part.head_dim**-0.5,
            epsilon=part.q_norm.eps,
        )
        self._present(present)
        return self._linear(out, (part.out_proj,), weights, f"{name}/out_proj")

    def _short_conv(self, x: ir.Value, index: int, part: ShortConv, weights: Weights) -> ir.Value:
        name = f"layers.{index}/conv"
        in_proj, out_proj = (weights.matrix(linear) for linear in (part.in_proj, part.out_proj))
        out, present, columns = self._graph.node(
            "GatedShortConv",
            x,
            self._graph.weight(f"{name}/in_proj", layout.pack(in_proj)),
            self._vector(part.in_proj.bias, weights),
            self._vector(part.taps, weights),
            self._vector(part.bias, weights),
            self._graph.weight(f"{name}/out_proj", layout.pack(out_proj)),
            self._vector(part.out_proj.bias, weights),
            self._past(index, "conv", [1, part.hidden_size, part.kernel_size - 1]),
            self._conv_columns,
            name=name,
            domain=DOMAIN,
            outputs=3,
            hidden_size=part.hidden_size,
            kernel_size=part.kernel_size,
            in_proj_format=in_proj.format.name,
            out_proj_format=out_proj.format.name,
        )
        self._present([present])
        shape: list[int | str] = [1, part.hidden_size, "conv_columns"]
        self._graph.output(columns, f"conv_columns.{index}", ir.DataType.FLOAT, shape)
        return out

    def _linear(
        self, x: ir.Value, linears: tuple[Linear, ...], weights: Weights, name: str
    ) -> ir.Value:
        """The outputs of one or several linear layers of the same input, side by side."""
        matrix = stack_rows([weights.matrix(linear) for linear in linears])
        packed = self._graph.weight(f"{name}.weight", layout.pack(matrix))
        return self._lfm("QuantizedLinear", x, packed, name=name, **_matrix(matrix))

    def _vector(self, vector: Vector | None, weights: Weights) -> ir.Value | None:
        if vector is None:
            return None
        return self._graph.weight(vector.name, weights.vector(vector))

    def _region(self, name: str, size: int) -> Region:
        if name not in self._regions:
            part = self._layer.feed_forward
            assert isinstance(part, SparseMoe)
            self._regions[name] = self._graph.data.reserve(
                f"layers.{self._layer.index}/moe/{name}", np.uint8, (len(part.experts), size)
            )
        return self._regions[name]

    def _lfm(
        self, op_type: str, *inputs: ir.Value | None, name: str, **attributes: Any
    ) -> ir.Value:
        return self._graph.op(op_type, *inputs, name=name, domain=DOMAIN, **attributes)


def _matrix(weight: QuantizedTensor) -> dict[str, Any]:
    rows, columns = weight.shape
    return {"rows": rows, "columns": columns, "format": weight.format.name}


def _mlp_formats(part: Mlp, weights: Weights) -> dict[str, str]:
    gate_up, down = (weights.matrix(linear).format.name for linear in (part.gate, part.down))
    return {"gate_up_format": gate_up, "down_format": down}


def _pack_mlp(part: Mlp, weights: Weights) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    gate, up, down = (weights.matrix(linear) for linear in (part.gate, part.up, part.down))
    return layout.pack(layout.interleave_blocks(gate, up)), layout.pack(down)
