"""A sparse feed-forward in ONNX Runtime's own operators: `QMoE`, or `MoE` for float weights.

`QMoE` takes the biased scores for the selection and the unbiased ones as weights, which is just
what the model wants. `MoE` knows only a softmax over its own selection: it is fed the logarithms
of the selected scores, whose softmax is their share, and a factor makes up for the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from ...architecture import Router
from ..matrices import packed_bits
from ..onnx_graph.builder import GraphBuilder
from ..onnx_graph.weights import StoredMatrix
from .linear import INT8_ACTIVATIONS, MICROSOFT
from .weights import SCALES

__all__ = ["sparse_moe"]

_NOT_SELECTED = -1e4  # a logarithm far below that of any score
_LEAST_SCORE = 1e-30  # keeps the logarithm of a selected score above that
_NORM_EPS = 1e-6  # what the model adds to the sum of the selected scores


def sparse_moe(
    graph: GraphBuilder,
    name: str,
    x: ir.Value,
    router: Router,
    gate_up: StoredMatrix,
    down: StoredMatrix,
) -> ir.Value:
    """The feed-forward of the normed input `[1, tokens, hidden]`; both are stacks of one format."""
    return _Moe(graph, name, router, gate_up, down).output(x)


class _Moe:
    """One layer's router and experts."""

    def __init__(
        self,
        graph: GraphBuilder,
        name: str,
        router: Router,
        gate_up: StoredMatrix,
        down: StoredMatrix,
    ) -> None:
        self._graph, self._name, self._router = graph, name, router
        self._gate_up, self._down = gate_up, down

    def output(self, x: ir.Value) -> ir.Value:
        """`[1, tokens, hidden]`."""
        graph, router = self._graph, self._router
        matrix = graph.stored(router.weight.name)
        flat = self._op("Reshape", x, graph.integers(-1, router.weight.shape[1]), name="rows")
        scores = self._sigmoid(self._op("Gemm", flat, matrix, name="router", transB=1))
        ranked = scores
        if router.bias is not None:
            bias = graph.stored(router.bias.name)
            ranked = self._op("Add", scores, bias, name="router/biased")
        if self._down.format.group_size == 0:
            return self._float_moe(x, scores, ranked)
        return self._quantized_moe(x, scores, ranked)

    def _quantized_moe(self, x: ir.Value, scores: ir.Value, ranked: ir.Value) -> ir.Value:
        graph = self._graph
        out = self._op(
            "QMoE",
            x,
            ranked,
            graph.stored(self._gate_up.name),
            graph.stored(f"{self._gate_up.name}{SCALES}"),
            None,
            graph.stored(self._down.name),
            graph.stored(f"{self._down.name}{SCALES}"),
            *[None] * 7,
            scores,
            name="experts",
            **self._attributes(),
            normalize_routing_weights=int(self._router.norm_topk_prob),
            expert_weight_bits=packed_bits(self._down.format),
            block_size=self._down.format.group_size,
            accuracy_level=INT8_ACTIVATIONS,
        )
        factor = self._router.routed_scaling_factor
        if factor == 1:
            return out
        return self._op("Mul", out, graph.scalar(factor), name="scaled")

    def _float_moe(self, x: ir.Value, scores: ir.Value, ranked: ir.Value) -> ir.Value:
        graph, router = self._graph, self._router
        count = graph.integers(router.num_experts_per_tok)
        _, chosen = graph.node("TopK", ranked, count, name=f"{self._name}/topk", outputs=2, axis=-1)
        selected = self._op("GatherElements", scores, chosen, name="selected", axis=1)
        clipped = self._op("Max", selected, graph.scalar(_LEAST_SCORE), name="clipped")
        logs = self._op("Log", clipped, name="logs")
        shape = self._op("Shape", scores, name="shape")
        fill = ir.tensor(np.array([_NOT_SELECTED], np.float32))
        background = self._op("ConstantOfShape", shape, name="background", value=fill)
        probs = self._op("ScatterElements", background, chosen, logs, name="probs", axis=1)
        out = self._op(
            "MoE",
            x,
            probs,
            graph.stored(self._gate_up.name),
            None,
            graph.stored(self._down.name),
            name="experts",
            **self._attributes(),
            normalize_routing_weights=1,
        )
        return self._op("Mul", out, self._share(selected), name="weighed")

    def _share(self, selected: ir.Value) -> ir.Value:
        """`[1, tokens, 1]`: what the scores of a token weigh, over their share of their sum."""
        graph, router = self._graph, self._router
        total = self._op("ReduceSum", selected, graph.integers(1), name="total", keepdims=1)
        if router.norm_topk_prob:
            padded = self._op("Add", total, graph.scalar(_NORM_EPS), name="total/padded")
            total = self._op("Div", total, padded, name="share")
        scaled = self._op("Mul", total, graph.scalar(router.routed_scaling_factor), name="factor")
        return self._op("Reshape", scaled, graph.integers(1, -1, 1), name="factor/tokens")

    def _sigmoid(self, x: ir.Value) -> ir.Value:
        """Spelled out: ONNX Runtime's `Sigmoid` is exact to 6e-8 of one, not of a small score."""
        power = self._op("Exp", self._op("Neg", x, name="neg"), name="exp")
        one = self._graph.scalar(1.0)
        return self._op("Reciprocal", self._op("Add", power, one, name="sum"), name="scores")

    def _attributes(self) -> dict[str, int | float | str]:
        return {
            "domain": MICROSOFT,
            "k": self._router.num_experts_per_tok,
            "activation_type": "swiglu",
            "swiglu_fusion": 1,
            "activation_alpha": 1.0,
            "activation_beta": 0.0,
        }

    def _op(self, op_type: str, *inputs: ir.Value | None, name: str, **attributes: Any) -> ir.Value:
        return self._graph.op(op_type, *inputs, name=f"{self._name}/{name}", **attributes)
