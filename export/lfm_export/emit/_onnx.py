"""What both ONNX graphs share: their inputs and outputs, the state, the residual stream.

Inputs are `input_ids` `[1, S]`, `attention_mask` `[1, past + S]` (only its length counts) and the
state; outputs are the state and the logits of the last token, `[1, 1, vocab]`. Names are those
that ONNX Runtime GenAI looks for.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import onnx_ir as ir
from lfm_edge.bundle import Graph, StateTensor

from ..architecture import Architecture, Attention, Layer, Mlp, Norm, Rope, ShortConv
from ..weights import Consumer, Weights
from .external_data import ExternalData
from .graph import GraphBuilder

__all__ = ["MICROSOFT", "OnnxWalk"]

MICROSOFT = "com.microsoft"

StateType = Literal["float32", "float16", "int8"]
Shape = list[int | Literal["capacity"]]

_KINDS: dict[str, Literal["key", "value", "scale", "conv"]] = {
    "key": "key",
    "value": "value",
    "key_scale": "scale",
    "value_scale": "scale",
    "conv": "conv",
}
_ELEMENTS = {
    "float32": ir.DataType.FLOAT,
    "float16": ir.DataType.FLOAT16,
    "int8": ir.DataType.INT8,
}


class OnnxWalk(Consumer, abc.ABC):
    """A consumer of the walk that writes `model.onnx` and its external data."""

    target: ClassVar[str]
    domains: ClassVar[Sequence[str]] = (MICROSOFT,)
    file: ClassVar[str] = "model.onnx"

    _hidden: ir.Value

    def __init__(self, architecture: Architecture, max_context: int, data: ExternalData) -> None:
        self._last_layer = len(architecture.layers) - 1
        self._vocab_size = architecture.vocab_size
        self._max_context = max_context
        self._graph = GraphBuilder(data, self.domains)
        self._state: list[StateTensor] = []
        self._rope: dict[Rope, tuple[ir.Value, ir.Value]] = {}
        self._branch: ir.Value | None = None
        self._ids = self._graph.input("input_ids", ir.DataType.INT64, [1, "sequence_length"])
        self._mask = self._graph.input(
            "attention_mask", ir.DataType.INT64, [1, "total_sequence_length"]
        )

    def save(self, folder: Path, producer: str) -> Graph:
        """Writes the graph and says how it is called."""
        self._graph.save(folder / self.file, producer)
        return Graph(target=self.target, file=self.file, functions=["main"], state=self._state)

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
        """The dense feed-forward."""
        x = self._add_and_norm(layer.ffn_norm, weights)
        self._branch = self._mlp(x, layer.index, part, weights)

    def final_norm(self, part: Norm, weights: Weights) -> None:
        """The logits of the last token."""
        logits = self._lm_head(self._add_and_norm(part, weights))
        self._graph.output(logits, "logits", ir.DataType.FLOAT, [1, 1, self._vocab_size])

    @abc.abstractmethod
    def _add_and_norm(self, norm: Norm, weights: Weights) -> ir.Value:
        """Adds `_branch`, where there is one, to `_hidden` and norms the sum."""

    @abc.abstractmethod
    def _attention(
        self, x: ir.Value, index: int, part: Attention, weights: Weights
    ) -> ir.Value: ...

    @abc.abstractmethod
    def _short_conv(
        self, x: ir.Value, index: int, part: ShortConv, weights: Weights
    ) -> ir.Value: ...

    @abc.abstractmethod
    def _mlp(self, x: ir.Value, index: int, part: Mlp, weights: Weights) -> ir.Value: ...

    @abc.abstractmethod
    def _lm_head(self, x: ir.Value) -> ir.Value: ...

    def _past(self, index: int, name: str, shape: Shape, dtype: StateType = "float32") -> ir.Value:
        """Declares a state tensor; its input names are ONNX Runtime GenAI's."""
        kind = _KINDS[name]
        name = f"{index}.{name}"
        past = f"past.{name}" if kind == "conv" else f"past_key_values.{name}"
        self._state.append(
            StateTensor(
                name=name,
                kind=kind,
                layer=index,
                dtype=dtype,
                shape=shape,
                input=past,
                output=f"present.{name}",
            )
        )
        return self._graph.input(past, _ELEMENTS[dtype], shape)

    def _present(self, values: Sequence[ir.Value]) -> None:
        """Declares the outputs of the state tensors that were declared last, in their order."""
        for value, tensor in zip(values, self._state[-len(values) :], strict=True):
            assert tensor.output is not None
            self._graph.output(value, tensor.output, _ELEMENTS[tensor.dtype], tensor.shape)

    def _rope_tables(self, part: Attention) -> tuple[ir.Value, ir.Value]:
        if part.rope not in self._rope:
            cos, sin = part.rope.table(self._max_context)
            suffix = f".{len(self._rope)}" if self._rope else ""
            self._rope[part.rope] = (
                self._graph.weight(f"cos_cache{suffix}", cos),
                self._graph.weight(f"sin_cache{suffix}", sin),
            )
        return self._rope[part.rope]

    def _op(self, op_type: str, *inputs: ir.Value | None, name: str, **attributes: Any) -> ir.Value:
        return self._graph.op(op_type, *inputs, name=name, **attributes)
