"""A conversation with a Core ML program: tokens in chunks that its functions take, state carried.

What runs the functions is behind a small protocol: Core ML on a Mac (`apple`), or the evaluator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..errors import BundleError
from .evaluator import Evaluator, Mode
from .package import Function, Package, TensorType

__all__ = ["Conversation", "CoreMLRuntime", "Engine", "EvaluatorEngine"]

Array = NDArray[Any]

DECODE, PREFILL = "decode", "prefill"
PAST_CONV, PRESENT_CONV = "past_conv", "present_conv"


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
        self.vocab_size = bundle.manifest.model.vocab_size
        self.engine = engine
        self.conv_shape = _check_signature(bundle, package)
        self.chunk = package.functions[PREFILL].inputs["input_ids"].shape[1]
        """The most tokens of one run."""

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
        self.clear()

    @property
    def tensors(self) -> Mapping[str, Array]:
        """The states, and the conv state where it is an input and output, by name."""
        own = {} if self._conv is None else {"conv": self._conv}
        return {**self._conversation.states, **own}

    def clear(self) -> None:
        """Forgets everything."""
        self._conversation = self._runtime.engine.begin()
        shape = self._runtime.conv_shape
        self._conv: Array | None = None if shape is None else np.zeros(shape, np.float16)

    def run(self, ids: NDArray[np.int64], position: int) -> NDArray[np.float32]:
        """Appends `ids` [S] at `position` and returns the last one's logits [vocab].

        Raises:
            BundleError: the program failed to run; the state is then undefined.
        """
        chunk = self._runtime.chunk
        for start in range(0, len(ids), chunk):
            logits = self._run_chunk(ids[start : start + chunk], position + start)
        return logits

    def _run_chunk(self, ids: NDArray[np.int64], position: int) -> NDArray[np.float32]:
        function = DECODE if len(ids) == 1 else PREFILL
        size = 1 if function == DECODE else self._runtime.chunk
        padded = np.zeros((1, size), np.int32)
        padded[0, : len(ids)] = ids
        inputs: dict[str, Array] = {
            "input_ids": padded,
            "position": np.array([position], np.int32),
        }
        if function == PREFILL:
            inputs["valid"] = np.array([len(ids)], np.int32)
        if self._conv is not None:
            inputs[PAST_CONV] = self._conv
        outputs = self._conversation.predict(function, inputs)
        if self._conv is not None:
            self._conv = np.asarray(outputs[PRESENT_CONV])
        return np.asarray(outputs["logits"]).astype(np.float32).reshape(-1)


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
        self.states = evaluator.state(DECODE)

    def predict(self, function: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return self._evaluator.run(function, inputs, self.states)


def _check_signature(bundle: Bundle, package: Package) -> tuple[int, ...] | None:
    """Holds the functions to the manifest; returns the shape of a conv state that is an input."""
    states: dict[str, TensorType] = {}
    passed: dict[str, TensorType] = {}
    for tensor in bundle.manifest.graph.state:
        if "capacity" in tensor.shape:
            raise BundleError(f"{bundle.folder}: state {tensor.name} has no fixed shape")
        fixed = TensorType(tensor.dtype, tuple(int(size) for size in tensor.shape))
        (states if tensor.input is None else passed)[tensor.input or tensor.name] = fixed
    for name in (DECODE, PREFILL):
        if name not in package.functions:
            raise BundleError(f"{package.folder}: has no function {name}")
        function = package.functions[name]
        _check_function(package, function, states, passed, bundle.manifest.model.vocab_size)
    return passed[PAST_CONV].shape if PAST_CONV in passed else None


def _check_function(
    package: Package,
    function: Function,
    states: Mapping[str, TensorType],
    passed: Mapping[str, TensorType],
    vocab_size: int,
) -> None:
    tokens = function.inputs.get("input_ids", TensorType("int32", (1, 0)))
    is_decode = function.name == DECODE
    sized = tokens.shape[:1] == (1,) and len(tokens.shape) == 2 and tokens.shape[1] >= 1
    size = tokens.shape[1] if sized and not is_decode else 1
    scalar = TensorType("int32", (1,))
    inputs = {"input_ids": TensorType("int32", (1, size)), "position": scalar, **passed}
    if not is_decode:
        inputs["valid"] = scalar
    logits = function.outputs.get("logits")
    as_float = logits and logits.dtype in {"float16", "float32"}
    outputs = {
        "logits": TensorType(logits.dtype if logits and as_float else "float32", (1, vocab_size)),
        **({PRESENT_CONV: passed[PAST_CONV]} if PAST_CONV in passed else {}),
    }
    for side, wanted, found in (
        ("inputs", inputs, function.inputs),
        ("states", states, function.states),
        ("outputs", outputs, function.outputs),
    ):
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                raise BundleError(
                    f"{package.folder}: the {side} of {function.name} are not those of the "
                    f"manifest: {name} is {found.get(name, 'missing')}, expected "
                    f"{wanted.get(name, 'none')}"
                )
