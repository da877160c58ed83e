"""The inputs and outputs that both ONNX graphs have, by one set of names.

Inputs are `input_ids` `[1, S]`, `attention_mask` `[1, past + S]` (only its length counts) and the
state; outputs are the state and the logits of the last token, `[1, 1, vocab]`, or of those that the
input `logits_at` names. Names are those that ONNX Runtime GenAI looks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import onnx_ir as ir
from lfm_edge.bundle import Function, Graph, InputRole, StateTensor
from lfm_edge.windows import slots_for
from msgspec.structs import replace

from ...architecture import Architecture, Attention, Rope
from .builder import GraphBuilder

__all__ = ["GRAPH_FILE", "WEIGHTS_FILE", "Shape", "Signature", "StateType"]

GRAPH_FILE = "model.onnx"
WEIGHTS_FILE = f"{GRAPH_FILE}.data"

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
_MAIN = Function("main", "input_ids", "logits", attention_mask="attention_mask")


class Signature:
    """Declares a graph's ports as operations ask for them, and says at last what they are."""

    def __init__(self, graph: GraphBuilder, architecture: Architecture, max_context: int) -> None:
        self._graph, self._max_context = graph, max_context
        self._seen = architecture.seen_by_convolutions()
        self._state: list[StateTensor] = []
        self._counts: dict[InputRole, ir.Value] = {}
        self._rows: str | None = None
        self._rope: dict[Rope, tuple[ir.Value, ir.Value]] = {}
        self.input_ids = graph.input("input_ids", ir.DataType.INT64, [1, "sequence_length"])
        self.attention_mask = graph.input(
            "attention_mask", ir.DataType.INT64, [1, "total_sequence_length"]
        )

    def past(
        self,
        layer: int,
        name: str,
        shape: Shape,
        dtype: StateType = "float32",
        window: int | None = None,
    ) -> ir.Value:
        """Declares a state tensor; its input names are ONNX Runtime GenAI's.

        `window` is how many positions attention looks back on, where that is not all.
        """
        kind = _KINDS[name]
        name = f"{layer}.{name}"
        past = f"past.{name}" if kind == "conv" else f"past_key_values.{name}"
        self._state.append(
            StateTensor(
                name=name,
                kind=kind,
                layer=layer,
                dtype=dtype,
                shape=shape,
                input=past,
                output=f"present.{name}",
                window=window,
            )
        )
        return self._graph.input(past, _ELEMENTS[dtype], shape)

    def present(self, values: Sequence[ir.Value]) -> None:
        """Declares the outputs of the state tensors that were declared last, in their order."""
        for value, tensor in zip(values, self._state[-len(values) :], strict=True):
            assert tensor.output is not None
            self._graph.output(value, tensor.output, _ELEMENTS[tensor.dtype], tensor.shape)

    def positions(self, window: int) -> int | Literal["capacity"]:
        """How many positions a layer's cache has: all, or the last where a window needs no more."""
        kept = slots_for(window, self._seen)
        return kept if window and kept < self._max_context else "capacity"

    def count(self, role: InputRole) -> ir.Value:
        """An input `[1]` that says how many tokens or columns; see `lfm_edge.bundle.Function`."""
        if role not in self._counts:
            self._counts[role] = self._graph.input(role, ir.DataType.INT64, [1])
        return self._counts[role]

    def logits_at(self) -> ir.Value:
        """An input `[N]`: the tokens whose logits are wanted."""
        self._rows = "logits_at"
        return self._graph.input("logits_at", ir.DataType.INT64, [self._rows])

    def columns(self, value: ir.Value, hidden_size: int) -> None:
        """Declares the columns `[1, hidden, conv_columns]` of the conv state declared last."""
        tensor = self._state[-1]
        name = f"conv_columns.{tensor.layer}"
        self._state[-1] = replace(tensor, columns=name)
        shape: list[int | str] = [1, hidden_size, "conv_columns"]
        self._graph.output(value, name, ir.DataType.FLOAT, shape)

    def logits(self, value: ir.Value, vocab_size: int) -> None:
        """Declares the logits of the last token, or of those that are asked for."""
        self._graph.output(value, "logits", ir.DataType.FLOAT, [1, self._rows or 1, vocab_size])

    def rope_tables(self, part: Attention) -> tuple[ir.Value, ir.Value]:
        """Cosines and sines of every position, one pair for all layers that rotate alike."""
        if part.rope not in self._rope:
            cos, sin = part.rope.table(self._max_context)
            suffix = f".{len(self._rope)}" if self._rope else ""
            self._rope[part.rope] = (
                self._graph.constant(f"cos_cache{suffix}", cos),
                self._graph.constant(f"sin_cache{suffix}", sin),
            )
        return self._rope[part.rope]

    def describe(self, target: str) -> Graph:
        """How the graph is called."""
        roles = {role: value.name for role, value in self._counts.items()}
        main = replace(_MAIN, logits_at=self._rows, **roles)
        return Graph(target=target, file=GRAPH_FILE, functions=[main], state=self._state)
