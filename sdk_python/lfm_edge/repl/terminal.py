"""Lines of a person or of a pipe, and Ctrl-C that ends an answer rather than the program."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

__all__ = ["history_file", "interruptible", "stoppable", "turns"]

_LONGEST_HISTORY = 1000


def turns() -> Iterator[str]:
    """Lines of a person at a terminal, with the history of earlier runs, or those of a pipe."""
    if not sys.stdin.isatty():
        yield from iter(sys.stdin.readline, "")
        return
    import readline  # noqa: PLC0415 (gives `input` its history; touches the terminal)

    with suppress(OSError):
        readline.read_history_file(history_file())
    try:
        while True:
            try:
                yield input("> ")
            except EOFError:
                print()
                return
    finally:
        _keep_history(readline)


def history_file() -> Path:
    """Where lines that were typed are kept, as the XDG base directory specification has it."""
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return folder / "lfm-edge" / "history"


def _keep_history(readline: ModuleType) -> None:
    """Writes the history for its owner alone; where that cannot be, there is none."""
    with suppress(OSError, RuntimeError):  # a user may have no home
        path = history_file()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(0o600)
        path.chmod(0o600)
        readline.set_history_length(_LONGEST_HISTORY)
        readline.write_history_file(path)


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets; where no person sits, Ctrl-C ends the program as ever."""
    stop = threading.Event()
    if not sys.stdin.isatty():
        yield stop
        return
    earlier = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, earlier)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within `stoppable`, a wait for the user that Ctrl-C ends by KeyboardInterrupt."""
    if not sys.stdin.isatty():
        yield
        return
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)
