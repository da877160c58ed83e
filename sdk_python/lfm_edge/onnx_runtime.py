"""ONNX bundles: one ONNX Runtime session, and the state tensors bound to it in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnxruntime as ort
from lfm_ops.library import library_path
from numpy.typing import NDArray
from onnxruntime.capi import (
    onnxruntime_pybind11_state as ort_native,
)

from .bundle import Bundle, StateTensor
from .errors import BundleError
from .runtime import state_bytes, state_shape

__all__ = ["BoundState", "OnnxRuntime"]

WITH_OUR_OPS = "onnx"
_ONNX_TYPES = {"float32": "tensor(float)", "float16": "tensor(float16)", "int8": "tensor(int8)"}
# ONNX Runtime's exceptions have no common base of their own.
_ORT_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(e for e in vars(ort_native).values() if isinstance(e, type) and issubclass(e, Exception)),
)


class OnnxRuntime:
    """The graph of one ONNX bundle, ready to run; safe to share between threads.

    Args:
        bundle: an opened bundle.
        threads: threads of one run; by default one per physical core.

    Raises:
        BundleError: the graph does not load, or its signature is not the manifest's.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        self.graph = bundle.manifest.graph
        self.vocab_size = bundle.manifest.model.vocab_size
        what, options = f"{bundle.graph_path}: does not load", _options(threads)
        library = _library(what) if self.graph.target == WITH_OUR_OPS else None
        with _one_line_errors(what):
            if library:
                options.register_custom_ops_library(library)
            self.session = ort.InferenceSession(
                str(bundle.graph_path), options, providers=["CPUExecutionProvider"]
            )
        self._check_signature(bundle)

    def bind(self, capacity: int) -> BoundState:
        """The state of a new conversation that holds at most `capacity` tokens.

        Raises:
            BundleError: there is no memory for it.
        """
        try:
            return BoundState(self, capacity)
        except (MemoryError, ValueError):  # NumPy raises either, depending on the size
            size = sum(state_bytes(tensor, capacity) for tensor in self.graph.state)
            raise BundleError(
                f"no memory for the {size:,} bytes of state of {capacity:,} tokens; "
                "take a smaller context"
            ) from None

    def _check_signature(self, bundle: Bundle) -> None:
        state = self.graph.state
        types = {tensor.name: _ONNX_TYPES[tensor.dtype] for tensor in state}
        inputs = {"input_ids": "tensor(int64)", "attention_mask": "tensor(int64)"}
        inputs |= {_ports(tensor)[0]: types[tensor.name] for tensor in state}
        outputs = {"logits": "tensor(float)"}
        outputs |= {_ports(tensor)[1]: types[tensor.name] for tensor in state}
        for side, wanted, nodes in (
            ("inputs", inputs, self.session.get_inputs()),
            ("outputs", outputs, self.session.get_outputs()),
        ):
            found = {node.name: node.type for node in nodes}
            if odd := sorted(dict(wanted.items() ^ found.items())):
                name = odd[0]
                raise BundleError(
                    f"{bundle.graph_path}: the {side} are not those of the manifest: {name} is "
                    f"{found.get(name, 'missing')}, expected {wanted.get(name, 'none')}"
                )


class BoundState:
    """The state tensors of one conversation; not safe to use from two threads at once.

    Each tensor's `output` is bound to the buffer of its `input`, so that a run updates the state
    in place and copies nothing. The buffers are zero pages until tokens are written to them: a
    large capacity costs memory only as it fills.
    """

    def __init__(self, runtime: OnnxRuntime, capacity: int) -> None:
        self.tensors: Mapping[str, NDArray[Any]] = {
            tensor.name: np.zeros(state_shape(tensor, capacity), tensor.dtype)
            for tensor in runtime.graph.state
        }
        self.binding = runtime.session.io_binding()
        self._runtime = runtime
        self._ones = np.ones((1, capacity), np.int64)
        self._logits: NDArray[np.float32] = np.empty((1, 1, runtime.vocab_size), np.float32)
        for tensor in runtime.graph.state:
            value = ort.OrtValue.ortvalue_from_numpy(self.tensors[tensor.name])
            past, present = _ports(tensor)
            self.binding.bind_ortvalue_input(past, value)
            self.binding.bind_ortvalue_output(present, value)
        self.binding.bind_ortvalue_output("logits", ort.OrtValue.ortvalue_from_numpy(self._logits))

    def run(self, ids: NDArray[np.int64], position: int) -> NDArray[np.float32]:
        """Appends `ids` [S] at `position` and returns the last one's logits [vocab].

        Raises:
            BundleError: the graph failed to run; the state is then undefined.
        """
        tokens, mask = ids[None], self._ones[:, : position + len(ids)]
        with _one_line_errors(f"{self._runtime.graph.file}: failed to run"):
            self.binding.bind_cpu_input("input_ids", tokens)
            self.binding.bind_cpu_input("attention_mask", mask)
            self._runtime.session.run_with_iobinding(self.binding)
        return self._logits.reshape(-1).copy()

    def clear(self) -> None:
        """Forgets everything.

        Only the conv state is zeroed: attention never reads keys beyond the position.
        """
        for tensor in self._runtime.graph.state:
            if tensor.kind == "conv":
                self.tensors[tensor.name].fill(0)


def _ports(tensor: StateTensor) -> tuple[str, str]:
    """The graph's input and output of a state tensor."""
    if tensor.input is None or tensor.output is None:
        raise BundleError(f"state {tensor.name}: an ONNX graph needs its input and output")
    return tensor.input, tensor.output


def _options(threads: int | None) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 4  # errors reach the user as exceptions, not as log lines
    # A memory pattern is kept for every input shape, and each position is a new one.
    options.enable_mem_pattern = False
    return options


def _library(what: str) -> str:
    """The library of our operators."""
    try:
        return str(library_path())
    except FileNotFoundError as error:
        raise BundleError(f"{what}: {error}") from None


@contextmanager
def _one_line_errors(what: str) -> Iterator[None]:
    """For calls of ONNX Runtime alone: an error of ours is a bug, and shall look like one."""
    try:
        yield
    except _ORT_ERRORS as error:
        raise BundleError(f"{what}: {_first_line(error)}") from None


def _first_line(error: Any) -> str:
    return next(
        (line.strip() for line in str(error).splitlines() if line.strip()), "no reason given"
    )
