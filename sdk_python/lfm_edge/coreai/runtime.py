"""A Core AI bundle's function, run by Apple's own interpreter.

The interpreter is there to prove a bundle, not to be fast: it takes one token at a time.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle, Function, StateTensor
from ..errors import BundleError, one_line_errors
from ..extras import missing_dependency
from ..runtime import (
    Conv,
    StateAccess,
    require_fixed_room,
    require_ports,
    require_roles,
    state_shape,
)
from ..weights import require_weights

try:
    from coreai.authoring import AIModelAsset
    from coreai.runtime import NDArray as Value
except ModuleNotFoundError:
    raise missing_dependency("coreai") from None

__all__ = ["CoreAIRuntime"]

_PROGRAM = "main.mlirb"

T = TypeVar("T")
_Type = tuple[str, tuple[int | None, ...]]


class CoreAIRuntime:
    """One bundle's program, compiled and loaded; safe to share between threads.

    Core AI is asynchronous: its calls run on an event loop of the runtime's own.

    Raises:
        BundleError: the program does not load, or its signature is not the manifest's.
        MissingDependencyError: `coreai-core` is not installed (when this module is imported).
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.access = StateAccess(conv=True)
        self.graph = bundle.manifest.graph
        self.ports = _the_function(bundle)
        require_roles(bundle, ["position"])
        _check_state(bundle)
        require_fixed_room(bundle)
        require_weights(bundle, packed=False)
        self.vocab_size = bundle.manifest.model.vocab_size
        self.context = bundle.manifest.model.max_context
        if f"{self.graph.file}/{_PROGRAM}" not in bundle.manifest.files:
            raise BundleError(f"{bundle.graph_path}: no {_PROGRAM}, so this is no Core AI program")
        # Apple's loader ends the whole process when it meets a damaged file.
        bundle.check_hashes()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="coreai", daemon=True).start()
        what = f"{bundle.graph_path}: does not load"
        with one_line_errors(what):
            executable = AIModelAsset.load(bundle.graph_path).executable()
            model = self._wait(executable.__aenter__())
        weakref.finalize(self, _close, self._loop, executable)
        with one_line_errors(what):
            self._function = model.load_function(self.ports.name)
        self._check_signature(bundle)

    def bind(self, capacity: int) -> CoreAIState:
        """The state of a new conversation; its room is the program's, whatever the capacity.

        Raises:
            BundleError: there is no memory for it.
        """
        del capacity  # the session keeps to it
        try:
            return CoreAIState(self)
        except MemoryError:
            raise BundleError(
                f"no memory for the state of {self.context:,} tokens; export with a smaller "
                "--context"
            ) from None

    def call(self, inputs: dict[str, Value], states: dict[str, Value]) -> NDArray[np.float32]:
        """Runs the function, which changes `states`, and returns the logits [vocab]."""
        with one_line_errors(f"{self.graph.file}: failed to run"):
            outputs = self._wait(self._function({**inputs}, states))
        logits: NDArray[np.float32] = cast(Value, outputs[self.ports.logits]).numpy()[0].copy()
        return logits

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _check_signature(self, bundle: Bundle) -> None:
        signature, ports = self._function.desc, self.ports
        assert ports.position is not None
        inputs: dict[str, _Type] = {
            ports.input_ids: ("int32", (1, 1)),
            ports.position: ("int32", (1,)),
        }
        states: dict[str, _Type] = {
            tensor.name: (tensor.dtype, state_shape(tensor, self.context))
            for tensor in self.graph.state
        }
        for side, wanted, names, describe in (
            ("inputs", inputs, signature.input_names, signature.input_descriptor),
            (
                "outputs",
                {ports.logits: ("float32", (1, self.vocab_size))},
                signature.output_names,
                signature.output_descriptor,
            ),
            ("states", states, signature.state_names, signature.state_descriptor),
        ):
            found = {name: (describe(name).dtype, tuple(describe(name).shape)) for name in names}
            require_ports(bundle.graph_path, f"{side} of {ports.name}", wanted, found)


class CoreAIState:
    """The states of one conversation; Core AI changes them in place."""

    def __init__(self, runtime: CoreAIRuntime) -> None:
        self._runtime = runtime
        self.values: dict[str, Value] = {}
        """Core AI's own arrays, by name."""
        self.clear()

    @property
    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """Copies of the states, by name."""
        return {name: value.numpy().copy() for name, value in self.values.items()}

    def conv(self) -> Conv:
        """A copy of the conv state."""
        return {t.name: self.values[t.name].numpy().copy() for t in self._convolutions()}

    def set_conv(self, conv: Conv) -> None:
        """Replaces the conv state; what `conv` lacks becomes empty."""
        for tensor in self._convolutions():
            found = conv.get(tensor.name)
            self.values[tensor.name] = self._zeros(tensor) if found is None else Value(found.copy())

    def _convolutions(self) -> list[StateTensor]:
        return [tensor for tensor in self._runtime.graph.state if tensor.kind == "conv"]

    def run(self, ids: NDArray[np.int64], position: int, replayed: int = 0) -> NDArray[np.float32]:
        """Appends `ids` [S] at `position`, one by one, and returns the last one's logits [vocab].

        Raises:
            BundleError: the program failed to run; the state is then undefined.
        """
        ports = self._runtime.ports
        assert ports.position is not None
        assert not replayed, "the program can only append"
        for place, token in enumerate(ids.tolist(), position):
            inputs = {
                ports.input_ids: Value(np.array([[token]], np.int32)),
                ports.position: Value(np.array([place], np.int32)),
            }
            logits = self._runtime.call(inputs, self.values)
        return logits

    def clear(self) -> None:
        """Forgets everything, in new arrays: a run that was interrupted may go on in the old."""
        self.values = {tensor.name: self._zeros(tensor) for tensor in self._runtime.graph.state}

    def _zeros(self, tensor: StateTensor) -> Value:
        return Value(np.zeros(state_shape(tensor, self._runtime.context), tensor.dtype))


def _the_function(bundle: Bundle) -> Function:
    """The ports of the program's one function, which takes one token."""
    functions = bundle.manifest.graph.functions
    if len(functions) != 1 or functions[0].position is None or functions[0].tokens != 1:
        raise BundleError(
            f"{bundle.folder}: a Core AI program has one function, which takes one token and its "
            "position; the manifest describes another"
        )
    return functions[0]


def _check_state(bundle: Bundle) -> None:
    """Holds the state to the program's: it keeps each tensor itself, of a fixed shape."""
    for tensor in bundle.manifest.graph.state:
        if tensor.input is not None or tensor.output is not None or "capacity" in tensor.shape:
            raise BundleError(
                f"{bundle.folder}: state {tensor.name} has a port or grows, but a Core AI program "
                "keeps its state by name, of a fixed shape"
            )


def _close(loop: asyncio.AbstractEventLoop, executable: AbstractAsyncContextManager[Any]) -> None:
    """Removes what was compiled, and ends the loop's thread."""
    asyncio.run_coroutine_threadsafe(_leave(executable), loop).result()
    loop.call_soon_threadsafe(loop.stop)


async def _leave(executable: AbstractAsyncContextManager[Any]) -> None:
    await executable.__aexit__(None, None, None)
