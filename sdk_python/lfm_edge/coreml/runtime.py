"""A conversation with a Core ML program: tokens in chunks that its functions take, state carried.

What runs the functions is behind a small protocol: Core ML on a Mac (`apple`), or the evaluator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle, Function
from ..errors import BundleError
from ..runtime import (
    Conv,
    StateAccess,
    require_fixed_room,
    require_ports,
    require_roles,
    state_shape,
)
from ..weights import require_weights
from .evaluator import Evaluator, Mode
from .package import Package, TensorType

__all__ = ["Conversation", "CoreMLRuntime", "Engine", "EvaluatorEngine"]

Array = NDArray[Any]


class Conversation(Protocol):
    """The states of one conversation, kept by the engine that runs the functions on them."""

    def predict(self, function: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Runs a function on these states and returns its outputs.

        Raises:
            BundleError: it failed to run.
        """
        ...

    @property
    def states(self) -> Mapping[str, Array]:
        """The states by name."""
        ...


class Engine(Protocol):
    """Runs the functions of one package; safe to share between threads."""

    def begin(self) -> Conversation:
        """A conversation whose states are zero."""
        ...


class CoreMLRuntime:
    """The program of one Core ML bundle, ready to run.

    Args:
        bundle: an opened bundle of target `coreml`.
        package: its package.
        engine: what runs the package's functions.

    Raises:
        BundleError: the functions are not those that the manifest describes.
    """

    def __init__(self, bundle: Bundle, package: Package, engine: Engine) -> None:
        self.bundle = bundle
        self.vocab_size = bundle.manifest.model.vocab_size
        self.engine = engine
        self.decode, self.prefill = _functions(bundle)
        """The ports of both functions."""
        self.passed = [tensor for tensor in bundle.manifest.graph.state if tensor.input]
        """State that is no state of the program's, but an input and an output."""
        conv = [tensor for tensor in bundle.manifest.graph.state if tensor.kind == "conv"]
        # A conv state within the program stays there: sessions go back by reading all again.
        self.access = StateAccess(conv=all(tensor in self.passed for tensor in conv))
        require_roles(bundle, ("position", "valid"))
        _check_signature(bundle, package)
        require_fixed_room(bundle)
        require_weights(bundle, packed=False)

    def bind(self, capacity: int) -> CoreMLState:
        """The state of a new conversation; its room is the program's, whatever the capacity."""
        del capacity  # the session keeps to it
        return CoreMLState(self)


class CoreMLState:
    """What a Core ML program has read in one conversation.

    One token goes through `decode`; several go through `prefill`, filled up to the size that it
    takes.
    """

    def __init__(self, runtime: CoreMLRuntime) -> None:
        self._runtime = runtime
        self._passed: dict[str, Array] = {}
        self.clear()

    @property
    def tensors(self) -> Mapping[str, Array]:
        """The states, and the conv state where it is an input and output, by name."""
        return {**self._conversation.states, **self._passed}

    def clear(self) -> None:
        """Forgets everything."""
        self._conversation = self._runtime.engine.begin()
        self.set_conv({})

    def conv(self) -> Conv:
        """The conv state, where it is an input and output; a run makes new arrays of it."""
        return {**self._passed}

    def set_conv(self, conv: Conv) -> None:
        """Replaces this conv state; what `conv` lacks becomes empty."""
        self._passed = {
            tensor.name: conv.get(tensor.name, np.zeros(state_shape(tensor, 0), tensor.dtype))
            for tensor in self._runtime.passed
        }

    def run(self, ids: NDArray[np.int64], position: int, replayed: int = 0) -> NDArray[np.float32]:
        """Appends `ids` [S] at `position` and returns the last one's logits [vocab].

        Raises:
            BundleError: the program failed to run; the state is then undefined.
        """
        assert not replayed, "the program can only append"
        chunk = self._runtime.prefill.tokens or 1
        for start in range(0, len(ids), chunk):
            logits = self._run_chunk(ids[start : start + chunk], position + start)
        return logits

    def _run_chunk(self, ids: NDArray[np.int64], position: int) -> NDArray[np.float32]:
        runtime = self._runtime
        ports = runtime.decode if len(ids) == 1 else runtime.prefill
        padded = np.zeros((1, ports.tokens or 1), np.int32)
        padded[0, : len(ids)] = ids
        inputs: dict[str, Array] = {ports.input_ids: padded}
        for port, value in ((ports.position, position), (ports.valid, len(ids))):
            if port is not None:
                inputs[port] = np.array([value], np.int32)
        for tensor in runtime.passed:
            inputs[tensor.input or ""] = self._passed[tensor.name]
        outputs = self._conversation.predict(ports.name, inputs)
        for tensor in runtime.passed:
            self._passed[tensor.name] = np.asarray(outputs[tensor.output or ""])
        return np.asarray(outputs[ports.logits]).astype(np.float32).reshape(-1)


class EvaluatorEngine:
    """Runs a package's functions in NumPy."""

    def __init__(self, package: Package, mode: Mode = "fp16") -> None:
        self.evaluator = Evaluator(package, mode)

    def begin(self) -> Conversation:
        """A conversation whose states are zero."""
        return _EvaluatorConversation(self.evaluator)


class _EvaluatorConversation:
    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        # Every function declares the same states.
        self.states = evaluator.state(next(iter(evaluator.package.functions)))

    def predict(self, function: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return self._evaluator.run(function, inputs, self.states)


def _functions(bundle: Bundle) -> tuple[Function, Function]:
    """The functions of one token, and of several."""
    functions = sorted(bundle.manifest.graph.functions, key=lambda ports: ports.tokens or 0)
    if len(functions) != 2 or functions[0].tokens != 1 or functions[1].valid is None:
        raise BundleError(
            f"{bundle.folder}: a Core ML program has a function of one token, and one of a fixed "
            "number of which the first count; the manifest describes others"
        )
    return functions[0], functions[1]


def _check_signature(bundle: Bundle, package: Package) -> None:
    """Holds the functions to the manifest."""
    states: dict[str, TensorType] = {}
    inputs: dict[str, TensorType] = {}
    outputs: dict[str, TensorType] = {}
    for tensor in bundle.manifest.graph.state:
        if "capacity" in tensor.shape:
            raise BundleError(f"{bundle.folder}: state {tensor.name} has no fixed shape")
        fixed = TensorType(tensor.dtype, state_shape(tensor, 0))
        if tensor.input is None:
            states[tensor.name] = fixed
        elif tensor.output is None:
            raise BundleError(f"{bundle.folder}: state {tensor.name} has an input, but no output")
        else:
            inputs[tensor.input] = outputs[tensor.output] = fixed
    for ports in bundle.manifest.graph.functions:
        if ports.name not in package.functions:
            raise BundleError(f"{package.folder}: has no function {ports.name}")
        found = package.functions[ports.name]
        own = {ports.input_ids: TensorType("int32", (1, ports.tokens or 0))}
        own |= {p: TensorType("int32", (1,)) for p in (ports.position, ports.valid) if p}
        logits = found.outputs.get(ports.logits)
        as_float = logits and logits.dtype in {"float16", "float32"}
        dtype = logits.dtype if logits and as_float else "float32"
        given = {ports.logits: TensorType(dtype, (1, bundle.manifest.model.vocab_size))}
        for side, wanted, there in (
            ("inputs", inputs | own, found.inputs),
            ("states", states, found.states),
            ("outputs", outputs | given, found.outputs),
        ):
            require_ports(package.folder, f"{side} of {ports.name}", wanted, there)
