"""A graph under construction: nodes in order, constants shared, weights by their stored names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from lfm_edge.bundle import MAX_CONTEXT
from numpy.typing import NDArray

from .initializers import Initializers

__all__ = ["GraphBuilder"]

_IR_VERSION = 10
_ONNX_OPSET = 21


class GraphBuilder:
    """Collects inputs, outputs, initializers and nodes, then writes the model."""

    def __init__(self, stored: Initializers, domains: Sequence[str]) -> None:
        """`domains` are those of the operators used beside ONNX's own, each at version 1."""
        self._stored = stored
        self._opsets = {"": _ONNX_OPSET} | dict.fromkeys(domains, 1)
        self._inputs: list[ir.Value] = []
        self._outputs: list[ir.Value] = []
        self._initializers: dict[str, ir.Value] = {}
        self._nodes: list[ir.Node] = []
        self._shared: dict[str, ir.Value] = {}

    def input(self, name: str, dtype: ir.DataType, shape: Sequence[int | str]) -> ir.Value:
        """Declares an input of the graph."""
        value = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape))
        self._inputs.append(value)
        return value

    def output(
        self, value: ir.Value, name: str, dtype: ir.DataType, shape: Sequence[int | str]
    ) -> None:
        """Declares a node's output as one of the graph's, under `name`."""
        value.name, value.type, value.shape = name, ir.TensorType(dtype), ir.Shape(shape)
        self._outputs.append(value)

    def node(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        name: str,
        domain: str = "",
        outputs: int = 1,
        **attributes: Any,
    ) -> list[ir.Value]:
        """Adds a node and returns its outputs."""
        node = ir.node(op_type, inputs, attributes, domain=domain, num_outputs=outputs, name=name)
        for index, value in enumerate(node.outputs):
            value.name = f"{name}/output_{index}"
        self._nodes.append(node)
        return list(node.outputs)

    def op(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        name: str,
        domain: str = "",
        **attributes: Any,
    ) -> ir.Value:
        """Adds a node that has one output."""
        return self.node(op_type, *inputs, name=name, domain=domain, **attributes)[0]

    def once(self, name: str, make: Callable[[], ir.Value]) -> ir.Value:
        """A value that several nodes use, made when it is first asked for."""
        if name not in self._shared:
            self._shared[name] = make()
        return self._shared[name]

    def stored(self, name: str) -> ir.Value:
        """A tensor that was stored under `name`."""
        return self._initializers.get(name) or self._initializer(self._stored.tensor(name))

    def constant(self, name: str, values: NDArray[Any]) -> ir.Value:
        """A tensor of the graph's own, stored when it is first asked for."""
        if name not in self._stored:
            self._stored.add(name, values)
        return self.stored(name)

    def integers(self, *values: int) -> ir.Value:
        """A constant int64 vector, one for each distinct content."""
        name = f"constants/int64/{'_'.join(map(str, values))}"
        return self._initializers.get(name) or self._initializer(
            ir.tensor(np.array(values, np.int64), name=name)
        )

    def scalar(self, value: float) -> ir.Value:
        """A constant float32 scalar, one for each distinct value."""
        name = f"constants/float32/{value!r}"
        return self._initializers.get(name) or self._initializer(
            ir.tensor(np.float32(value), name=name)
        )

    def save(self, path: Path, producer: str, max_context: int) -> None:
        """Writes the model, which has tables of so many positions.

        The external file is complete by then.
        """
        graph = ir.Graph(
            self._inputs,
            self._outputs,
            nodes=self._nodes,
            initializers=tuple(self._initializers.values()),
            opset_imports=self._opsets,
            name="lfm",
        )
        model = ir.Model(
            graph,
            ir_version=_IR_VERSION,
            producer_name=producer,
            metadata_props={MAX_CONTEXT: str(max_context)},
        )
        ir.save(model, path)

    def _initializer(self, tensor: ir.TensorProtocol) -> ir.Value:
        name = tensor.name
        assert name is not None
        assert name not in self._initializers, name
        value = ir.Value(
            name=name,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(tensor.shape.numpy()),
            const_value=tensor,
        )
        self._initializers[name] = value
        return value
