"""What runs a bundle: the protocol that sessions rely on; `targets` says who keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .bundle import StateTensor

__all__ = ["Runtime", "State", "state_bytes", "state_shape"]


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


def state_shape(tensor: StateTensor, capacity: int) -> tuple[int, ...]:
    """The shape of one state tensor in a session of that capacity."""
    return tuple(capacity if size == "capacity" else size for size in tensor.shape)


def state_bytes(tensor: StateTensor, capacity: int) -> int:
    """Bytes of one state tensor in a session of that capacity."""
    return math.prod(state_shape(tensor, capacity)) * np.dtype(tensor.dtype).itemsize
