"""Runs a function of a saved Core ML package in NumPy, so that any machine can check it.

It is slow and plain. Two modes:
- `fp16`: every result is rounded to the type that the program declares for it, as Core ML would
  store it; sums within an operation are float32.
- `exact`: what the program declares as float16 stays float32, so that a result shows what the
  program means rather than how it rounds.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError
from .operations import OPERATIONS
from .package import Function, Operation, Package, Reference, TensorType
from .weights import Blockwise, Stored, whole

__all__ = ["Evaluator", "Mode"]

Array = NDArray[Any]
Mode = Literal["fp16", "exact"]

_BLOCKWISE = "constexpr_blockwise_shift_scale"
# These name a state or make a weight rather than compute: the evaluator does them itself.
_OF_STATE = {"read_state": {"input"}, "write_state": {"input", "data"}}
_OWN = {**_OF_STATE, _BLOCKWISE: {"data", "scale"}}


class Evaluator:
    """The functions of one package, ready to run.

    Args:
        package: the program and its weights.
        mode: how floats are rounded; see above.

    Raises:
        BundleError: a function has an operation, or an operation an argument, that the evaluator
            does not know; the message names both.
    """

    def __init__(self, package: Package, mode: Mode = "fp16") -> None:
        self.package = package
        self._mode = mode
        for function in package.functions.values():
            for operation in function.operations:
                _check_known(function, operation)
        self._last_uses = {name: _last_uses(f) for name, f in package.functions.items()}

    def state(self, function: str) -> dict[str, Array]:
        """The states of a function, zeroed."""
        states = self.package.functions[function].states
        return {name: np.zeros(t.shape, self._dtype(t)) for name, t in states.items()}

    def run(
        self, function: str, inputs: Mapping[str, Array], state: dict[str, Array]
    ) -> dict[str, Array]:
        """Runs a function.

        Args:
            function: its name.
            inputs: a value for each of its inputs.
            state: its states by name, which the run replaces.

        Returns:
            Its outputs by name.

        Raises:
            BundleError: an operation fails, or gives another shape than the program declares.
        """
        program = self.package.functions[function]
        values: dict[str, Any] = {
            name: self._fitted(inputs[name], declared, f"{function}: input {name}")
            for name, declared in program.inputs.items()
        }
        with np.errstate(all="ignore"):
            for index, operation in enumerate(program.operations):
                self._step(function, operation, values, state)
                for name in self._last_uses[function].get(index, ()):
                    del values[name]
        return {name: values[name] for name in program.outputs}

    def _step(
        self, function: str, operation: Operation, values: dict[str, Any], state: dict[str, Array]
    ) -> None:
        label = _label(function, operation)
        try:
            results = self._compute(operation, values, state)
            for (name, declared), result in zip(operation.outputs.items(), results, strict=True):
                values[name] = self._fitted(result, declared, label)
        except (ValueError, IndexError, TypeError, KeyError, MemoryError) as error:
            raise BundleError(f"{label}: {error}") from None

    def _compute(
        self, operation: Operation, values: Mapping[str, Any], state: dict[str, Array]
    ) -> tuple[Any, ...]:
        arguments: dict[str, Any] = {
            name: tuple(_value(operand, values) for operand in given)
            if isinstance(given, tuple)
            else _value(given, values)
            for name, given in operation.inputs.items()
        }
        if operation.kind == "read_state":
            return (state[arguments["input"]],)
        if operation.kind == "write_state":
            state[arguments["input"]] = arguments["data"]
            return ()
        if operation.kind == _BLOCKWISE:
            return (Blockwise(**arguments, rounded=self._mode == "fp16"),)
        known = OPERATIONS[operation.kind]
        if not known.by_rows:
            arguments = {
                name: tuple(map(_whole, given)) if isinstance(given, tuple) else _whole(given)
                for name, given in arguments.items()
            }
        results = known.compute(**arguments)
        return results if isinstance(results, tuple) else (results,)

    def _fitted(self, value: Any, declared: TensorType, what: str) -> Any:
        """The value in its declared type; weights that are not in memory stay as they are."""
        if tuple(value.shape) != declared.shape:
            raise BundleError(f"{what}: got {list(value.shape)}, expected {declared}")
        if isinstance(value, Stored | Blockwise):
            return value
        return np.asarray(value, self._dtype(declared))  # a reduction may give a NumPy scalar

    def _dtype(self, declared: TensorType) -> str:
        if declared.dtype == "float16" and self._mode == "exact":
            return "float32"
        return "int8" if declared.dtype == "int4" else declared.dtype


def _value(operand: Any, values: Mapping[str, Any]) -> Any:
    return values[operand.name] if isinstance(operand, Reference) else operand


def _whole(value: Any) -> Any:
    return whole(value) if isinstance(value, Stored | Blockwise) else value


def _label(function: str, operation: Operation) -> str:
    return f"function {function}: {operation.kind} ({', '.join(operation.outputs)})"


def _check_known(function: Function, operation: Operation) -> None:
    label = _label(function.name, operation)
    if operation.kind in _OWN:
        known = needed = _OWN[operation.kind]
    elif operation.kind in OPERATIONS:
        arguments = OPERATIONS[operation.kind].arguments
        known = set(arguments)
        needed = {name for name, a in arguments.items() if a.default is inspect.Parameter.empty}
    else:
        raise BundleError(f"{label}: the evaluator does not know this operation")
    if odd := sorted(operation.inputs.keys() - known):
        raise BundleError(f"{label}: the evaluator does not know its argument {odd[0]}")
    if missing := sorted(needed - operation.inputs.keys()):
        raise BundleError(f"{label}: its argument {missing[0]} is missing")
    if operation.kind in _OF_STATE and _state_name(operation) not in function.states:
        raise BundleError(f"{label}: its input is no state")


def _state_name(operation: Operation) -> str | None:
    name = operation.inputs["input"]
    return name if isinstance(name, str) else None


def _last_uses(function: Function) -> dict[int, list[str]]:
    """For each operation by its index: the values that nothing after it needs."""
    last: dict[str, int] = {}
    for index, operation in enumerate(function.operations):
        for given in operation.inputs.values():
            operands = given if isinstance(given, tuple) else (given,)
            last |= {o.name: index for o in operands if isinstance(o, Reference)}
        last |= dict.fromkeys(operation.outputs, index)
    ends: dict[int, list[str]] = {}
    for name, index in last.items():
        if name not in function.outputs:
            ends.setdefault(index, []).append(name)
    return ends
