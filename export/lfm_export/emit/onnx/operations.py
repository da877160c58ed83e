"""Every operation of a model as one node of ours."""

from __future__ import annotations

import onnx_ir as ir

from ...architecture import Attention, Embedding, Linear, Mlp, Norm, ShortConv, SparseMoe, Vector
from ...decoder import Operations
from ..onnx_graph.attention import gated, qkv_bias
from ..onnx_graph.builder import GraphBuilder
from ..onnx_graph.residual import Residual
from ..onnx_graph.signature import Shape, Signature, StateType
from ..onnx_graph.weights import StoredMatrix
from .weights import PackedWeights

__all__ = ["DOMAIN", "OnnxOperations"]

DOMAIN = "ai.lfm"


class OnnxOperations(Operations[Residual, ir.Value]):
    """One node for a norm, for attention, for a convolution, for either feed-forward."""

    def __init__(
        self, graph: GraphBuilder, signature: Signature, weights: PackedWeights, kv: StateType
    ) -> None:
        self._graph, self._signature = graph, signature
        self._weights, self._kv = weights, kv

    def embed(self, part: Embedding) -> Residual:
        """Looks the tokens up."""
        table = self._weights.stored(part.tokens.name)
        ids, stored = self._signature.input_ids, self._graph.stored(table.name)
        return Residual(
            self._lfm("QuantizedEmbedding", ids, stored, name="embed_tokens", **_matrix(table))
        )

    def norm(self, stream: Residual, part: Norm) -> ir.Value:
        """The norm, and the addition before it, in one node."""
        normed, *total = self._graph.node(
            "AddRmsNorm",
            *(stream.value, self._vector(part.weight), stream.branch),
            name=part.weight.name.removesuffix(".weight"),
            domain=DOMAIN,
            outputs=1 if stream.branch is None else 2,
            hidden_size=part.weight.shape[0],
            epsilon=part.eps,
        )
        if total:
            stream.added(total[0])
        return normed

    def norm_branch(self, branch: ir.Value, part: Norm) -> ir.Value:
        """The norm alone."""
        return self.norm(Residual(branch), part)

    def add(self, stream: Residual, branch: ir.Value) -> Residual:
        """Left to the next norm."""
        return stream.plus(branch)

    def last_token(self, stream: Residual) -> Residual:
        """The rows of both terms that the graph is asked for, commonly the last one."""
        return stream.at(self._signature.logits_at(), self._graph)

    def attention(self, x: ir.Value, layer: int, part: Attention) -> ir.Value:
        """Projections, and one node for all that lies between them."""
        name, heads = f"layers.{layer}/attention", part.num_kv_heads
        qkv = self._linear(x, part.q_proj, f"{name}/qkv")
        qkv = self._plus(qkv, qkv_bias(self._graph, part, f"{name}/qkv/biases"), f"{name}/qkv/sum")
        norms = [self._vector(norm.weight) for norm in (part.q_norm, part.k_norm)]
        positions = self._signature.positions(part.window)
        shape: Shape = [1, heads, positions, part.head_dim]
        window = part.window or None
        past = [
            self._signature.past(layer, kind, shape, self._kv, window) for kind in ("key", "value")
        ]
        scales: list[ir.Value | None] = [None, None]
        if self._kv == "int8":
            scales = [
                self._signature.past(layer, kind, shape[:3], window=window)
                for kind in ("key_scale", "value_scale")
            ]
        tables, mask = self._signature.rope_tables(part), self._signature.attention_mask
        replayed = self._signature.count(
            "replayed" if positions == "capacity" else "replayed_windows"
        )
        out, *present = self._graph.node(
            "CachedAttention",
            *(qkv, *norms, *tables, mask, *past, *scales, replayed),
            name=name,
            domain=DOMAIN,
            outputs=5 if self._kv == "int8" else 3,
            num_heads=part.num_heads,
            num_kv_heads=heads,
            head_dim=part.head_dim,
            rotary_dim=part.head_dim,
            window=part.window,
            scale=part.head_dim**-0.5,
            epsilon=part.q_norm.eps,
        )
        self._signature.present(present)
        if part.gate_proj is not None:
            gates = self._linear(x, part.gate_proj, f"{name}/gate_proj")
            out = gated(self._graph, out, gates, part, f"{name}/gate")
        out = self._linear(out, part.out_proj, f"{name}/out_proj")
        return self._plus(out, self._optional(part.out_proj.bias), f"{name}/out_proj/sum")

    def short_conv(self, x: ir.Value, layer: int, part: ShortConv) -> ir.Value:
        """The whole operator."""
        name = f"layers.{layer}/conv"
        in_proj, out_proj = (
            self._weights.stored(linear.name) for linear in (part.in_proj, part.out_proj)
        )
        out, present, columns = self._graph.node(
            "GatedShortConv",
            x,
            self._graph.stored(in_proj.name),
            self._optional(part.in_proj.bias),
            self._vector(part.taps),
            self._optional(part.bias),
            self._graph.stored(out_proj.name),
            self._optional(part.out_proj.bias),
            self._signature.past(layer, "conv", [1, part.hidden_size, part.kernel_size - 1]),
            self._signature.count("conv_columns"),
            name=name,
            domain=DOMAIN,
            outputs=3,
            hidden_size=part.hidden_size,
            kernel_size=part.kernel_size,
            in_proj_format=in_proj.format.name,
            out_proj_format=out_proj.format.name,
        )
        self._signature.present([present])
        self._signature.columns(columns, part.hidden_size)
        return out

    def mlp(self, x: ir.Value, layer: int, part: Mlp) -> ir.Value:
        """The whole feed-forward."""
        gate_up, down = (self._weights.stored(m.name) for m in (part.gate, part.down))
        return self._lfm(
            "GatedMlp",
            *(x, self._graph.stored(gate_up.name), self._graph.stored(down.name)),
            name=f"layers.{layer}/mlp",
            hidden_size=part.gate.columns,
            intermediate_size=part.gate.rows,
            gate_up_format=gate_up.format.name,
            down_format=down.format.name,
        )

    def sparse_moe(self, x: ir.Value, layer: int, part: SparseMoe) -> ir.Value:
        """The whole feed-forward, router included."""
        router, first = part.router, part.experts[0]
        gate_up, down = (self._weights.stored(m.name) for m in (first.gate, first.down))
        return self._lfm(
            "SparseMoe",
            *(x, self._vector(router.weight), self._optional(router.bias)),
            *(self._graph.stored(gate_up.name), self._graph.stored(down.name)),
            name=f"layers.{layer}/moe",
            hidden_size=first.gate.columns,
            intermediate_size=first.gate.rows,
            num_experts=router.num_experts,
            num_experts_per_tok=router.num_experts_per_tok,
            norm_topk_prob=int(router.norm_topk_prob),
            routed_scaling_factor=router.routed_scaling_factor,
            gate_up_format=gate_up.format.name,
            down_format=down.format.name,
        )

    def lm_head(self, x: ir.Value, part: Embedding) -> ir.Value:
        """The logits, by the embedding's matrix where they share it."""
        return self._linear(x, part.head or part.tokens, "lm_head")

    def _linear(self, x: ir.Value, first: Linear, name: str) -> ir.Value:
        """The outputs of one or several linear layers of the same input, side by side."""
        matrix = self._weights.stored(first.name)
        stored = self._graph.stored(matrix.name)
        return self._lfm("QuantizedLinear", x, stored, name=name, **_matrix(matrix))

    def _plus(self, x: ir.Value, bias: ir.Value | None, name: str) -> ir.Value:
        return x if bias is None else self._graph.op("Add", x, bias, name=name)

    def _vector(self, vector: Vector) -> ir.Value:
        return self._graph.stored(vector.name)

    def _optional(self, vector: Vector | None) -> ir.Value | None:
        return None if vector is None else self._vector(vector)

    def _lfm(
        self, op_type: str, *inputs: ir.Value | None, name: str, **attributes: int | float | str
    ) -> ir.Value:
        return self._graph.op(op_type, *inputs, name=name, domain=DOMAIN, **attributes)


def _matrix(matrix: StoredMatrix) -> dict[str, int | str]:
    return {"rows": matrix.rows, "columns": matrix.columns, "format": matrix.format.name}
