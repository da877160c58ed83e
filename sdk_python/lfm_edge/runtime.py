"""What runs a bundle: the protocol that sessions rely on; `targets` says who keeps it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .bundle import INPUT_ROLES, MANIFEST, Bundle, InputRole, StateTensor
from .errors import BundleError
from .windows import Windows

__all__ = [
    "AheadState",
    "Conv",
    "Runtime",
    "State",
    "StateAccess",
    "WindowState",
    "require_fixed_room",
    "require_ports",
    "require_roles",
    "require_room",
    "state_bytes",
    "state_shape",
]

Conv = Mapping[str, NDArray[Any]]
"""The conv state at some position: copies of its tensors, by name, that nobody changes."""


@dataclass(frozen=True)
class StateAccess:
    """What can be done with a state besides running on from it."""

    replay: int | None = None
    """How many tokens before a position give the conv state there, run on top of an empty one with
    nothing appended (`State.run`); None where a run can only append."""
    conv: bool = False
    """Whether the conv state can be read and written."""
    ahead: bool = False
    """Whether a run can give every token's logits and conv state (`AheadState`)."""
    axes: Mapping[str, int] | None = None
    """Of each cache, the axis of positions; None where `State.tensors` are not the very memory that
    a run changes."""
    windows: Windows | None = None
    """What sliding layers keep, where it is not everything (`WindowState`)."""


class State(Protocol):
    """What the model has read in one conversation; belongs to one thread at a time."""

    @property
    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """Its tensors by their names in the manifest."""
        ...

    def run(self, ids: NDArray[np.int64], position: int, replayed: int = 0) -> NDArray[np.float32]:
        """Appends `ids` [S] at `position` and returns the last one's logits [vocab].

        Args:
            ids: the tokens.
            position: how many tokens stand before them.
            replayed: how many of `ids`, from the first, stand in the cache already and are not
                appended; 0 where `StateAccess.replay` is None.

        Raises:
            BundleError: the graph failed to run; the state is then undefined.
        """
        ...

    def clear(self) -> None:
        """Forgets everything."""
        ...

    def conv(self) -> Conv:
        """A copy of the conv state; only where `StateAccess.conv`."""
        ...

    def set_conv(self, conv: Conv) -> None:
        """Replaces the conv state; what `conv` lacks becomes empty.

        Only where `StateAccess.conv`.
        """
        ...


class AheadState(State, Protocol):
    """A state that can read tokens which may turn out to be others; where `StateAccess.ahead`."""

    waited: float
    """Seconds that its runs have waited for those of other sessions; 0 where none does."""

    def run_ahead(self, ids: NDArray[np.int64], position: int) -> tuple[NDArray[np.float32], Conv]:
        """Appends `ids` [S] at `position`.

        Returns:
            The logits after each of them [S, vocab], and the conv columns: of each conv tensor of
            width K, the columns i to i + K are its state after `ids[:i + 1]`. Both hold until the
            next run.

        Raises:
            BundleError: the graph failed to run; the state is then undefined.
        """
        ...


class WindowState(State, Protocol):
    """A state whose sliding layers keep the last positions alone; where `StateAccess.windows`."""

    def run_anew(self, ids: NDArray[np.int64], position: int, replayed: int) -> NDArray[np.float32]:
        """As `run`, but these layers' caches take the replayed tokens, too.

        Raises:
            BundleError: the graph failed to run; the state is then undefined.
        """
        ...


class Runtime(Protocol):
    """The graph of one bundle, ready to run; safe to share between threads."""

    bundle: Bundle
    vocab_size: int
    access: StateAccess

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


def require_roles(bundle: Bundle, roles: Collection[InputRole]) -> None:
    """Holds the manifest to the roles that graphs of its target have.

    Args:
        bundle: the bundle.
        roles: those of `Function` that a port may have besides `input_ids` and `logits`.

    Raises:
        BundleError: the manifest names a port of another role.
    """
    graph = bundle.manifest.graph
    for ports in graph.functions:
        for role in INPUT_ROLES:
            if getattr(ports, role) is not None and role not in roles:
                raise BundleError(
                    f"{bundle.folder}: {ports.name} has a port {getattr(ports, role)!r} for "
                    f"{role}, which graphs of target {graph.target} do not take"
                )
    for tensor in graph.state:
        if tensor.columns is not None and "conv_columns" not in roles:
            raise BundleError(
                f"{bundle.folder}: state {tensor.name} has columns {tensor.columns!r}, which "
                f"graphs of target {graph.target} do not give"
            )


def require_room(bundle: Bundle, positions: int) -> None:
    """Holds the manifest's context to the room that the graph has.

    Args:
        bundle: the bundle.
        positions: for so many tokens.

    Raises:
        BundleError: the manifest promises more: an answer would break off where they end.
    """
    promised = bundle.manifest.model.max_context
    if promised > positions:
        raise BundleError(
            f"{bundle.graph_path}: has room for {positions:,} tokens, but {MANIFEST} says "
            f"max_context {promised:,}; export the bundle again with that --context"
        )


def require_fixed_room(bundle: Bundle) -> None:
    """As `require_room`, of a program that keeps caches `[..., positions, head_dim]`."""
    for tensor in bundle.manifest.graph.state:
        if tensor.kind in {"key", "value"}:
            sizes = [size for size in tensor.shape[-2:-1] if size != "capacity"]
            require_room(bundle, *sizes or [0])


def require_ports(
    where: object, side: str, wanted: Mapping[str, object], found: Mapping[str, object]
) -> None:
    """Holds one side of a graph, such as its inputs, to what the manifest says of it.

    Args:
        where: the graph, for the message.
        side: what is compared.
        wanted: the type of each port by its name, as the manifest says.
        found: the same of the graph.

    Raises:
        BundleError: a port is missing, too many or of another type; names the first.
    """
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise BundleError(
                f"{where}: the {side} are not those of the manifest: {name} is "
                f"{found.get(name, 'missing')}, expected {wanted.get(name, 'none')}"
            )
