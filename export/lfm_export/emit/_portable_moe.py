"""A sparse feed-forward in ONNX Runtime's own operators: `QMoE`, or `MoE` for float weights.

`QMoE` takes the biased scores for the selection and the unbiased ones as weights, which is just
what the model wants. `MoE` knows only a softmax over its own selection: it is fed the logarithms
of the selected scores, whose softmax is their share, and a factor makes up for the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from lfm_ops.formats import Format
from lfm_ops.quantized import common_format

from ..architecture import Mlp, SparseMoe
from ..weights import Weights
from ._matmul_nbits import interleave_rows, pack
from ._portable_linear import INT8_ACTIVATIONS, MICROSOFT
from .external_data import Region
from .graph import GraphBuilder

__all__ = ["PortableMoe"]

_NOT_SELECTED = -1e4  # a logarithm far below that of any score
_LEAST_SCORE = 1e-30  # keeps the logarithm of a selected score above that
_NORM_EPS = 1e-6  # what the model adds to the sum of the selected scores


class PortableMoe:
    """One layer's router and experts under construction."""

    def __init__(
        self, graph: GraphBuilder, name: str, x: ir.Value, part: SparseMoe, weights: Weights
    ) -> None:
        """`x` is the normed input `[1, tokens, hidden]`."""
        self._graph, self._name, self._x, self._part = graph, name, x, part
        self._regions: dict[str, Region] = {}
        self._format: Format
        router = part.router
        matrix = graph.weight(router.weight.name, weights.vector(router.weight))
        flat = self._op("Reshape", x, graph.integers(-1, router.weight.shape[1]), name="rows")
        self._scores = self._sigmoid(self._op("Gemm", flat, matrix, name="router", transB=1))
        self._ranked = self._scores
        if router.bias is not None:
            bias = graph.weight(router.bias.name, weights.vector(router.bias))
            self._ranked = self._op("Add", self._scores, bias, name="router/biased")

    def expert(self, index: int, part: Mlp, weights: Weights) -> None:
        """Writes one expert: gate and up interleaved row by row, then down."""
        gate_up = interleave_rows(weights.matrix(part.gate), weights.matrix(part.up))
        down = weights.matrix(part.down)
        self._format = common_format([gate_up, down])
        for name, weight in (("gate_up", gate_up), ("down", down)):
            packed = weight.values if weight.scales is None else pack(weight)
            self._region(name, packed).write(index, packed[None])
            if weight.scales is not None:
                self._region(f"{name}.scales", weight.scales).write(index, weight.scales[None])

    def output(self) -> ir.Value:
        """Closes the layer and returns its output `[1, tokens, hidden]`."""
        if self._format.group_size == 0:
            return self._float_moe()
        out = self._op(
            "QMoE",
            self._x,
            self._ranked,
            self._initializer("gate_up"),
            self._initializer("gate_up.scales"),
            None,
            self._initializer("down"),
            self._initializer("down.scales"),
            *[None] * 7,
            self._scores,
            name="experts",
            **self._attributes(),
            normalize_routing_weights=int(self._part.router.norm_topk_prob),
            expert_weight_bits=self._format.bits,
            block_size=self._format.group_size,
            accuracy_level=INT8_ACTIVATIONS,
        )
        factor = self._part.router.routed_scaling_factor
        if factor == 1:
            return out
        return self._op("Mul", out, self._graph.scalar(factor), name="scaled")

    def _float_moe(self) -> ir.Value:
        graph, router = self._graph, self._part.router
        count = graph.integers(router.num_experts_per_tok)
        _, chosen = graph.node(
            "TopK", self._ranked, count, name=f"{self._name}/topk", outputs=2, axis=-1
        )
        selected = self._op("GatherElements", self._scores, chosen, name="selected", axis=1)
        clipped = self._op("Max", selected, graph.scalar(_LEAST_SCORE), name="clipped")
        logs = self._op("Log", clipped, name="logs")
        shape = self._op("Shape", self._scores, name="shape")
        fill = ir.tensor(np.array([_NOT_SELECTED], np.float32))
        background = self._op("ConstantOfShape", shape, name="background", value=fill)
        probs = self._op("ScatterElements", background, chosen, logs, name="probs", axis=1)
        out = self._op(
            "MoE",
            self._x,
            probs,
            self._initializer("gate_up"),
            None,
            self._initializer("down"),
            name="experts",
            **self._attributes(),
            normalize_routing_weights=1,
        )
        return self._op("Mul", out, self._share(selected), name="weighed")

    def _share(self, selected: ir.Value) -> ir.Value:
        """`[1, tokens, 1]`: what the scores of a token weigh, over their share of their sum."""
        graph, router = self._graph, self._part.router
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
            "k": self._part.router.num_experts_per_tok,
            "activation_type": "swiglu",
            "swiglu_fusion": 1,
            "activation_alpha": 1.0,
            "activation_beta": 0.0,
        }

    def _region(self, name: str, rows: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Region:
        if name not in self._regions:
            shape = (len(self._part.experts), *rows.shape)
            data = self._graph.data
            self._regions[name] = data.reserve(f"{self._name}/{name}", rows.dtype, shape)
        return self._regions[name]

    def _initializer(self, name: str) -> ir.Value:
        return self._graph.region(self._regions[name])

    def _op(self, op_type: str, *inputs: ir.Value | None, name: str, **attributes: Any) -> ir.Value:
        return self._graph.op(op_type, *inputs, name=f"{self._name}/{name}", **attributes)
