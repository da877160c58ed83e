"""Which matrices lie together in an ONNX graph, and under which names; targets say how they lie."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

from lfm_ops.formats import Format
from lfm_ops.quantized import QuantizedTensor, stack_rows
from numpy.typing import NDArray

from ...architecture import Attention, Embedding, Layer, Mlp, ShortConv, SparseMoe
from ...weights import Part, Weights
from .initializers import Initializers

__all__ = ["StoredMatrix", "StoredWeights", "Values"]

Values = NDArray[Any]


@dataclass(frozen=True)
class StoredMatrix:
    """A matrix in the graph, or a stack of them, one for each expert."""

    name: str
    """Of the initializer."""
    rows: int
    columns: int
    format: Format


class StoredWeights(abc.ABC):
    """Stores the tensors of each part as operations will ask for them."""

    def __init__(self, initializers: Initializers) -> None:
        self._initializers = initializers
        self._stored: dict[str, StoredMatrix] = {}

    def stored(self, first: str) -> StoredMatrix:
        """What was stored for the linear layer of that name, and for those that lie with it."""
        return self._stored[first]

    def put(self, part: Part, weights: Weights) -> None:
        """Stores the tensors of one part."""
        for name, values in weights.vectors.items():
            self._initializers.add(name, values)
        description = part.description
        if isinstance(description, Embedding):
            for name, table in weights.matrices.items():
                self._add(name, name, table)
        elif isinstance(description, Attention):
            qkv = (description.q_proj, description.k_proj, description.v_proj)
            stacked = stack_rows([weights.matrix(linear) for linear in qkv])
            self._add(qkv[0].name, f"{_prefix(part)}/attention/qkv.weight", stacked)
            for name, linear in (
                ("gate_proj", description.gate_proj),
                ("out_proj", description.out_proj),
            ):
                if linear is not None:
                    stored = f"{_prefix(part)}/attention/{name}.weight"
                    self._add(linear.name, stored, weights.matrix(linear))
        elif isinstance(description, ShortConv):
            for linear in (description.in_proj, description.out_proj):
                name = linear.name.rsplit(".", 2)[-2]
                self._add(linear.name, f"{_prefix(part)}/conv/{name}", weights.matrix(linear))
        elif isinstance(description, Mlp):
            self._put_mlp(part, description, weights)

    def _put_mlp(self, part: Part, mlp: Mlp, weights: Weights) -> None:
        gate, up, down = (weights.matrix(linear) for linear in (mlp.gate, mlp.up, mlp.down))
        for first, kind, matrix in (
            (mlp.gate.name, "gate_up", self.join(gate, up, part.expert is not None)),
            (mlp.down.name, "down", down),
        ):
            if part.expert is None:
                self._add(first, f"{_prefix(part)}/mlp/{kind}", matrix)
                continue
            name = f"{_prefix(part)}/moe/{kind}"
            self._stored[first] = _described(name, matrix)
            count = _num_experts(part.layer)
            for suffix, values in self.tensors(matrix, expert=True).items():
                self._initializers.put(name + suffix, count, part.expert, values)

    def _add(self, first: str, name: str, matrix: QuantizedTensor) -> None:
        self._stored[first] = _described(name, matrix)
        for suffix, values in self.tensors(matrix, expert=False).items():
            self._initializers.add(name + suffix, values)

    @abc.abstractmethod
    def join(self, gate: QuantizedTensor, up: QuantizedTensor, expert: bool) -> QuantizedTensor:
        """Gate and up of a dense feed-forward, or of an expert, as one matrix."""

    @abc.abstractmethod
    def tensors(self, matrix: QuantizedTensor, expert: bool) -> dict[str, Values]:
        """The tensors that hold a matrix, or one of a stack, by what follows its name."""


def _prefix(part: Part) -> str:
    assert part.layer is not None
    return f"layers.{part.layer.index}"


def _num_experts(layer: Layer | None) -> int:
    assert layer is not None
    assert isinstance(layer.feed_forward, SparseMoe)
    return len(layer.feed_forward.experts)


def _described(name: str, matrix: QuantizedTensor) -> StoredMatrix:
    rows, columns = matrix.shape
    return StoredMatrix(name, rows, columns, matrix.format)
