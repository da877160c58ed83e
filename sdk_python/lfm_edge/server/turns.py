"""A runtime whose runs take turns, so that a long prompt lets others pass between its chunks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from ..runtime import Runtime, State

__all__ = ["Turns", "taking_turns"]


class Turns:
    """A lock that goes to who has waited longest."""

    def __init__(self) -> None:
        self._waiting: deque[threading.Lock] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits for the turn, and has it."""
        mine = threading.Lock()
        with self._lock:
            if self._waiting:
                mine.acquire()
            self._waiting.append(mine)
        mine.acquire()  # released by who had the turn before
        try:
            yield
        finally:
            with self._lock:
                self._waiting.popleft()
                if self._waiting:
                    self._waiting[0].release()


def taking_turns(runtime: Runtime) -> Runtime:
    """The same runtime, whose sessions run one at a time, in the order in which they asked."""
    return cast(Runtime, _TakingTurns(runtime))


class _TakingTurns:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self._turns = runtime, Turns()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def bind(self, capacity: int) -> State:
        return cast(State, _State(self._runtime.bind(capacity), self._turns))


class _State:
    """A state of which each way to run it waits for its turn."""

    def __init__(self, state: State, turns: Turns) -> None:
        self._state, self._turns = state, turns
        self.waited = 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._state, name)
        if not name.startswith("run"):
            return found

        def run(*arguments: Any) -> Any:
            begun = time.perf_counter()
            with self._turns.turn():
                self.waited += time.perf_counter() - begun
                return found(*arguments)

        return run
