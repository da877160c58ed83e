"""Sessions kept for the prompts to come: whoever asks gets the one that has read most of his.

A session that goes on where its last prompt ended is handed out as it is. One whose prompt parts
from the new one earlier is another conversation's, or an earlier version of this one: it stays, and
the new prompt goes on from a copy of what they share. So it is with one that is in use.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .replay import MOST_CHECKPOINTS
from .runtime import Runtime, state_bytes
from .session import Session
from .token_ids import common

if TYPE_CHECKING:
    from .model import Model

__all__ = ["PromptCache"]


_TAIL = 8
"""Tokens at a prompt's end that may be others once an answer follows them."""


@dataclass(eq=False)
class _Entry:
    session: Session
    prompt: Sequence[int] = field(default_factory=list)
    """What it was last leased for; while it is in use, what it holds in the end begins so."""
    in_use: bool = False
    last_use: int = 0


class PromptCache:
    """Sessions of one model, found by what they hold; safe to share between threads.

    The least recently used go where the others do not fit the budget. Sessions in use stay, and
    count; what does not fit when they come back goes.

    Args:
        model: reads the prompts.
        budget: bytes of state that the sessions may have. A session counts in full from its
            beginning, although the system gives it memory only as it fills.
        context: tokens that each session holds; see `Model.session`.

    Raises:
        InvalidRequestError: `context` is out of range.
    """

    def __init__(self, model: Model, budget: int, context: int | None = None) -> None:
        self.budget = budget
        """Bytes of state that the sessions may have."""
        self.context = model.session(context).capacity
        """Tokens that a session holds."""
        self.session_bytes = _bytes(model.runtime, self.context)
        """Bytes of state of one session."""
        self._model = model
        self._access = model.runtime.access
        self._entries: list[_Entry] = []
        self._clock = 0
        self._lock = threading.Lock()

    @property
    def sessions(self) -> int:
        """How many sessions there are, in use or not."""
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """Bytes of their state."""
        return len(self._entries) * self.session_bytes

    @contextmanager
    def lease(self, ids: Sequence[int]) -> Iterator[Session]:
        """The session from which `ids` are read soonest, for one user: within a `with`.

        Args:
            ids: the prompt; `Session.resume` then says what is left of it.

        Raises:
            BundleError: there is no memory for one more session.
        """
        with self._lock:
            entry = self._choose(list(ids))
            self._clock += 1
            entry.prompt, entry.in_use, entry.last_use = list(ids), True, self._clock
        try:
            yield entry.session
        finally:
            with self._lock:
                entry.in_use = False
                self._shrink(self.budget)

    def clear(self) -> None:
        """Forgets all sessions that are not in use."""
        with self._lock:
            self._shrink(0)

    def _choose(self, ids: list[int]) -> _Entry:
        shared = [(self._shared(entry, ids), entry) for entry in self._entries]
        kept, best = max(shared, key=lambda pair: (pair[0], pair[1].last_use), default=(0, None))
        # No more than a rewind reads again: such a beginning saves nothing.
        if best is None or kept <= (self._access.replay or 0):
            return self._another()
        if not best.in_use and kept >= min(len(best.prompt), best.session.position) - _TAIL:
            return best
        if self._access.axes is None or not self._make_room(best):
            return self._another() if best.in_use else best
        entry = _Entry(best.session.fork_beginning(kept) if best.in_use else best.session.fork())
        self._entries.append(entry)
        return entry

    def _shared(self, entry: _Entry, ids: list[int]) -> int:
        """How many of `ids` need not be read with this entry."""
        if not entry.in_use:
            return entry.session.reachable(ids)
        if self._access.replay is None or self._access.axes is None:
            return 0
        # Its user reads on meanwhile. The beginning of his prompt stays as it is.
        lasting = min(common(entry.prompt, ids), len(entry.prompt) - 1, len(ids) - 1)
        lasting = min(lasting, entry.session.reachable(ids))
        # A copy has none of what sliding layers keep, and reads more again than another target's.
        windows = self._access.windows
        return 0 if windows is not None and lasting <= windows.replay else lasting

    def _another(self) -> _Entry:
        """An entry of no use to the prompt: a new one, or else the least recently used."""
        idle = [entry for entry in self._entries if not entry.in_use]
        if idle and self.bytes + self.session_bytes > self.budget:
            return min(idle, key=lambda entry: entry.last_use)
        entry = _Entry(self._model.session(self.context))
        self._entries.append(entry)
        return entry

    def _make_room(self, keep: _Entry) -> bool:
        """Whether one more session fits, if need be in the place of another but `keep`."""
        room = self.budget - self.session_bytes
        self._shrink(room, keep)
        return self.bytes <= room

    def _shrink(self, budget: int, keep: _Entry | None = None) -> None:
        idle = [entry for entry in self._entries if not entry.in_use and entry is not keep]
        for entry in sorted(idle, key=lambda entry: entry.last_use):
            if self.bytes <= budget:
                return
            self._entries.remove(entry)


def _bytes(runtime: Runtime, capacity: int) -> int:
    """Bytes of a session's state, with the most conv states that it keeps to go back to."""
    state = runtime.bundle.manifest.graph.state
    size = sum(state_bytes(tensor, capacity) for tensor in state)
    if runtime.access.conv and runtime.access.replay is None:
        size += MOST_CHECKPOINTS * sum(state_bytes(t, capacity) for t in state if t.kind == "conv")
    return size
