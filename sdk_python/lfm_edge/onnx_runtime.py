"""ONNX bundles: one ONNX Runtime session, and the state tensors bound to it in place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import onnxruntime as ort
import psutil
from lfm_ops.library import library_path
from numpy.typing import NDArray
from onnxruntime.capi import (
    onnxruntime_pybind11_state as ort_native,
)

from .bundle import INPUT_ROLES, MAX_CONTEXT, Bundle, Function, InputRole, StateTensor
from .errors import BundleError, one_line_errors
from .runtime import (
    Conv,
    StateAccess,
    require_ports,
    require_roles,
    require_room,
    state_bytes,
    state_shape,
)
from .targets import ONNX
from .weights import require_weights
from .windows import POSITIONS_AXIS, slots, windows

__all__ = ["BoundState", "OnnxRuntime"]

_ONNX_TYPES = {
    "float32": "tensor(float)",
    "float16": "tensor(float16)",
    "int8": "tensor(int8)",
    "int64": "tensor(int64)",
}
_Port = tuple[str, tuple[int | None, ...]]
"""A port's dtype and shape; None is any size."""
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
        self.bundle = bundle
        self.graph = bundle.manifest.graph
        self.ports = _the_function(bundle)
        require_roles(bundle, [role for role in INPUT_ROLES if role not in {"position", "valid"}])
        _check_state(bundle)
        self.access = _access(self.ports, self.graph.state)
        self.vocab_size = bundle.manifest.model.vocab_size
        ours = self.graph.target == ONNX
        require_weights(bundle, packed=ours)
        what, options = f"{bundle.graph_path}: does not load", _options(threads)
        library = _library(what) if ours else None
        with one_line_errors(what, _ORT_ERRORS):
            if library:
                options.register_custom_ops_library(library)
            self.session = ort.InferenceSession(
                str(bundle.graph_path), options, providers=["CPUExecutionProvider"]
            )
        self._check_signature(bundle)
        known = self.session.get_modelmeta().custom_metadata_map.get(MAX_CONTEXT)
        if known is not None:
            require_room(bundle, int(known) if re.fullmatch("[0-9]{1,18}", known) else 0)

    def bind(self, capacity: int) -> BoundState:
        """The state of a new conversation that holds at most `capacity` tokens.

        Raises:
            BundleError: there is no memory for it, or would be none once it is full.
        """
        size = sum(state_bytes(tensor, capacity) for tensor in self.graph.state)
        try:
            if size > psutil.virtual_memory().available:
                raise MemoryError
            return BoundState(self, capacity)
        except (MemoryError, ValueError):  # NumPy raises either, depending on the size
            raise BundleError(
                f"no memory for the {size:,} bytes of state of {capacity:,} tokens and "
                f"{self.vocab_size:,} logits; take a smaller context"
            ) from None

    def _check_signature(self, bundle: Bundle) -> None:
        ports, state, any_number = self.ports, self.graph.state, None
        assert ports.attention_mask is not None
        rows = 1 if ports.logits_at is None else any_number
        inputs: dict[str, _Port] = {
            ports.input_ids: ("int64", (1, any_number)),
            ports.attention_mask: ("int64", (1, any_number)),
            **dict.fromkeys(_counts(ports), ("int64", (1,))),
        }
        outputs: dict[str, _Port] = {ports.logits: ("float32", (1, rows, self.vocab_size))}
        if ports.logits_at is not None:
            inputs[ports.logits_at] = ("int64", (any_number,))
        for tensor in state:
            past, present = _ports(tensor)
            shape = tuple(any_number if size == "capacity" else size for size in tensor.shape)
            inputs[past] = outputs[present] = (tensor.dtype, shape)
            if tensor.columns is not None:
                outputs[tensor.columns] = ("float32", (*shape[:-1], any_number))
        where, taken, given = (
            bundle.graph_path,
            self.session.get_inputs(),
            self.session.get_outputs(),
        )
        for side, wanted, nodes in (("inputs", inputs, taken), ("outputs", outputs, given)):
            found = {node.name: _found(node, wanted.get(node.name)) for node in nodes}
            expected = {name: _text(*port) for name, port in wanted.items()}
            require_ports(where, side, expected, found)
        for role, nodes in (("input", taken), ("output", given), ("columns", given)):
            _check_order(where, role, state, [node.name for node in nodes])


class BoundState:
    """The state tensors of one conversation; not safe to use from two threads at once.

    Each tensor's `output` is bound to the buffer of its `input`, so that a run updates the state
    in place and copies nothing. The buffers are zero pages until tokens are written to them: a
    large capacity costs memory only as it fills.
    """

    waited = 0.0

    def __init__(self, runtime: OnnxRuntime, capacity: int) -> None:
        self.tensors: Mapping[str, NDArray[Any]] = {
            tensor.name: np.zeros(state_shape(tensor, capacity), tensor.dtype)
            for tensor in runtime.graph.state
        }
        self._runtime = runtime
        self._ones = np.ones((1, capacity), np.int64)
        self._logits: NDArray[np.float32] = np.empty((1, 1, runtime.vocab_size), np.float32)
        self._rows: NDArray[np.float32] = np.empty((0, runtime.vocab_size), np.float32)
        self._values = {
            name: ort.OrtValue.ortvalue_from_numpy(tensor) for name, tensor in self.tensors.items()
        }
        self.binding = self._bound()
        logits = ort.OrtValue.ortvalue_from_numpy(self._logits)
        self.binding.bind_ortvalue_output(runtime.ports.logits, logits)

    def run(self, ids: NDArray[np.int64], position: int, replayed: int = 0) -> NDArray[np.float32]:
        """Appends `ids` [S] at `position` and returns the last one's logits [vocab].

        The first `replayed` of them stand in the cache already, and are not appended.

        Raises:
            BundleError: the graph failed to run; the state is then undefined.
        """
        return self._replay(ids, position, replayed, replayed)

    def run_anew(self, ids: NDArray[np.int64], position: int, replayed: int) -> NDArray[np.float32]:
        """As `run`, but caches that keep the last positions alone take the replayed tokens, too.

        Raises:
            BundleError: the graph failed to run; the state is then undefined.
        """
        return self._replay(ids, position, replayed, 0)

    def _replay(
        self, ids: NDArray[np.int64], position: int, replayed: int, in_windows: int
    ) -> NDArray[np.float32]:
        ports, wanted = self._runtime.ports, dict[InputRole, int]()
        if ports.replayed is not None:
            wanted["replayed"] = replayed
        if ports.replayed_windows is not None:
            wanted["replayed_windows"] = in_windows
        self._run(self.binding, ids, position, wanted)
        return self._logits.reshape(-1).copy()

    def run_ahead(self, ids: NDArray[np.int64], position: int) -> tuple[NDArray[np.float32], Conv]:
        """Appends `ids` [S] at `position`; every token's logits [S, vocab], and the conv columns.

        Raises:
            BundleError: the graph failed to run; the state is then undefined.
        """
        binding, count, columns = self._ahead, len(ids), dict[str, NDArray[np.float32]]()
        if len(self._rows) < count:
            self._rows = np.empty((count, self._runtime.vocab_size), np.float32)
        outputs = {self._runtime.ports.logits: self._rows[None, :count]}
        for tensor in self._runtime.graph.state:
            if tensor.columns is not None:
                *outer, width = self.tensors[tensor.name].shape
                columns[tensor.name] = np.empty((*outer, width + count - 1), np.float32)
                outputs[tensor.columns] = columns[tensor.name]
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, np.float32, list(array.shape), array.ctypes.data)
        self._run(binding, ids, position, {"conv_columns": width + count - 1}, np.arange(count))
        return self._rows[:count], columns

    def _run(
        self,
        binding: ort.IOBinding,
        ids: NDArray[np.int64],
        position: int,
        counts: Mapping[InputRole, int],
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        ports = self._runtime.ports
        with one_line_errors(f"{self._runtime.graph.file}: failed to run", _ORT_ERRORS):
            binding.bind_cpu_input(ports.input_ids, ids[None])
            binding.bind_cpu_input(ports.attention_mask, self._ones[:, : position + len(ids)])
            for role, count in counts.items():
                binding.bind_cpu_input(getattr(ports, role), np.array([count], np.int64))
            if rows is not None:
                binding.bind_cpu_input(ports.logits_at, rows)
            self._runtime.session.run_with_iobinding(binding)

    @cached_property
    def _ahead(self) -> ort.IOBinding:
        """A binding for other outputs: what `binding` has bound costs a plain run nothing."""
        return self._bound()

    def _bound(self) -> ort.IOBinding:
        """A binding of the state, in place; of the last token's logits, and no columns."""
        binding, ports = self._runtime.session.io_binding(), self._runtime.ports
        for tensor in self._runtime.graph.state:
            past, present = _ports(tensor)
            binding.bind_ortvalue_input(past, self._values[tensor.name])
            binding.bind_ortvalue_output(present, self._values[tensor.name])
        for port in _counts(ports):
            binding.bind_cpu_input(port, np.zeros(1, np.int64))
        if ports.logits_at is not None:
            binding.bind_cpu_input(ports.logits_at, np.full(1, -1, np.int64))
        return binding

    def clear(self) -> None:
        """Forgets everything.

        Only the conv state is zeroed: attention never reads keys beyond the position.
        """
        self.set_conv({})

    def conv(self) -> Conv:
        """A copy of the conv state."""
        return {name: self.tensors[name].copy() for name in self._conv_names()}

    def set_conv(self, conv: Conv) -> None:
        """Replaces the conv state; what `conv` lacks becomes empty."""
        for name in self._conv_names():
            self.tensors[name][...] = conv.get(name, 0)

    def _conv_names(self) -> list[str]:
        return [tensor.name for tensor in self._runtime.graph.state if tensor.kind == "conv"]


def _access(ports: Function, state: Sequence[StateTensor]) -> StateAccess:
    """What a session may do with this graph's state."""
    conv = [tensor.shape[-1] for tensor in state if tensor.kind == "conv"]
    # Each convolution of kernel k sees k - 1 tokens back, and its state holds as many.
    seen = sum(size for size in conv if size != "capacity")
    axes = {
        t.name: t.shape.index("capacity") if "capacity" in t.shape else POSITIONS_AXIS
        for t in state
        if t.kind != "conv"
    }
    columns = all(tensor.columns is not None for tensor in state if tensor.kind == "conv")
    replays = ports.replayed is not None or ports.replayed_windows is not None
    return StateAccess(
        seen if replays else None,
        conv=True,
        # The graph gives all convolutions the same number of columns.
        ahead=ports.logits_at is not None and columns and len(set(conv)) == 1,
        axes=axes,
        windows=windows(state, seen),
    )


def _check_state(bundle: Bundle) -> None:
    """Holds each tensor to its kind: a cache grows, unless it keeps a window's last positions."""
    graph = bundle.manifest.graph
    anew = graph.target == ONNX and graph.functions[0].replayed_windows is not None
    for tensor in graph.state:
        try:
            keeps_last = anew and slots(tensor) is not None
        except ValueError as error:
            raise BundleError(f"{bundle.folder}: state {tensor.name}: {error}") from None
        wanted = 0 if tensor.kind == "conv" or keeps_last else 1
        axes = tensor.shape.count("capacity")
        if axes != wanted:
            raise BundleError(
                f"{bundle.folder}: state {tensor.name}: {axes} axes grow with the capacity, "
                f"expected {wanted} of kind {tensor.kind}"
            )
    grows = any("capacity" in tensor.shape for tensor in graph.state)
    if anew and grows and graph.functions[0].replayed is None:
        raise BundleError(
            f"{bundle.folder}: {graph.functions[0].name} has a port for replayed_windows and none "
            "for replayed, without which caches that grow cannot be told"
        )


def _found(node: ort.NodeArg, wanted: _Port | None) -> str:
    """A port of the graph in words; sizes that it leaves open are those that are wanted."""
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    if wanted and len(wanted[1]) == len(shape):
        shape = tuple(b if a is None else a for a, b in zip(shape, wanted[1], strict=True))
    return _text(node.type, shape)


def _text(dtype: str, shape: Sequence[int | None]) -> str:
    sizes = ", ".join("any" if size is None else str(size) for size in shape)
    return f"{_ONNX_TYPES.get(dtype, dtype)} [{sizes}]"


def _check_order(where: object, role: str, state: Sequence[StateTensor], found: list[str]) -> None:
    """Holds the state's ports to the graph's order, so that no two of one shape are exchanged.

    Raises:
        BundleError: they stand in another; names the first.
    """
    wanted = [port for tensor in state if (port := getattr(tensor, role)) is not None]
    for port, there in zip(wanted, [name for name in found if name in {*wanted}], strict=True):
        if port != there:
            raise BundleError(
                f"{where}: state: the manifest has {role} {port} where the graph's order has "
                f"{there}; a tensor's ports were exchanged with those of another"
            )


def _the_function(bundle: Bundle) -> Function:
    """The ports of an ONNX graph, which has one function, of any number of tokens."""
    functions = bundle.manifest.graph.functions
    if len(functions) != 1 or functions[0].attention_mask is None or functions[0].tokens:
        raise BundleError(
            f"{bundle.folder}: an ONNX graph has one function, which takes an attention_mask and "
            "any number of tokens; the manifest describes another"
        )
    return functions[0]


def _counts(ports: Function) -> list[str]:
    """The inputs `[1]` by which tokens can be replayed and conv columns asked for."""
    found = (ports.replayed, ports.replayed_windows, ports.conv_columns)
    return [port for port in found if port is not None]


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
