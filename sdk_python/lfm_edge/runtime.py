"""What runs a bundle's graph: the protocol that sessions rely on, and the choice by target."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle, StateTensor
from .errors import InvalidRequestError, UnsupportedBundleError

__all__ = ["COREML", "Runtime", "State", "open_runtime", "state_bytes", "state_shape"]

COREML = "coreml"
COREAI = "coreai"
ONNX = ("onnx", "onnx-portable")


class State(Protocol):
    """What the model has read in one conversation; belongs to one thread at a time."""

    @property
    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """Its tensors by their names in the manifest."""
        ...

    def run(self, ids: NDArray[np.int64], position: int) -> NDArray[np.float32]:
        """Appends `ids` [S] at `position` and returns the last one's logits [vocab].

        Raises:
            BundleError: the graph failed to run; the state is then undefined.
        """
        ...

    def clear(self) -> None:
        """Forgets everything."""
        ...


class Runtime(Protocol):
    """The graph of one bundle, ready to run; safe to share between threads."""

    vocab_size: int

    def bind(self, capacity: int) -> State:
        """The state of a new conversation that holds at most `capacity` tokens.

        Raises:
            BundleError: there is no memory for it.
        """
        ...


def open_runtime(bundle: Bundle, threads: int | None = None) -> Runtime:
    """What runs this bundle on this machine.

    Args:
        bundle: an opened bundle.
        threads: threads of one run, where the runtime lets us choose; by default one per physical
            core.

    Raises:
        UnsupportedBundleError: the bundle's target is none that this version runs on this machine.
        BundleError: the graph does not load, or its signature is not the manifest's.
        InvalidRequestError: `threads` is below 1.
        MissingDependencyError: a package that the target needs is not installed.
    """
    if threads is not None and threads < 1:
        raise InvalidRequestError(f"threads: got {threads}, expected 1 or more")
    target = bundle.manifest.graph.target
    # What the other targets need is not loaded: it may be missing, and takes its time.
    if target in ONNX:
        from .onnx_runtime import OnnxRuntime  # noqa: PLC0415

        return OnnxRuntime(bundle, threads)
    if target == COREML:
        from .coreml.apple import open_on_mac  # noqa: PLC0415

        return open_on_mac(bundle)
    if target == COREAI:
        from .coreai.runtime import CoreAIRuntime  # noqa: PLC0415

        return CoreAIRuntime(bundle)
    raise UnsupportedBundleError(
        f"{bundle.folder}: target {target}, but this version of lfm-edge runs "
        f"{', '.join((*ONNX, COREML, COREAI))}"
    )


def state_shape(tensor: StateTensor, capacity: int) -> tuple[int, ...]:
    """The shape of one state tensor in a session of that capacity."""
    return tuple(capacity if size == "capacity" else size for size in tensor.shape)


def state_bytes(tensor: StateTensor, capacity: int) -> int:
    """Bytes of one state tensor in a session of that capacity."""
    return math.prod(state_shape(tensor, capacity)) * np.dtype(tensor.dtype).itemsize
