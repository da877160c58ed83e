"""The record of what an agent did: one line of JSON for each call.

A call that runs is in the file from its beginning, by a line that says it was cut off; the line of
its end takes that one's place. So a call is recorded even where the program is killed in the middle
of it, and one that cannot be recorded does not run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

__all__ = ["AuditLog", "Decision"]

Decision = Literal["asked", "allowed", "refused", "invalid"]
"""`asked`: the user was, and agreed; `allowed`: by the list of tools that run without; `refused`:
the user was asked, and did not agree; `invalid`: the call fits no tool, so nobody was asked."""

_CUT_OFF = "the program ended during this call"


class AuditLog:
    """Appends to a file that its owner alone can read; a line is in it once `write` returns.

    Several programs may write to one file. Close it, or use it in a `with`.

    Args:
        path: the file; what it holds already stays.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = str(path)
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._file = os.open(path, flags, 0o600)
        if hasattr(os, "fchmod"):  # the file may have been there already; Windows has none
            os.fchmod(self._file, 0o600)
        self._begun: tuple[int, bytes] | None = None
        """The line of a call that runs, and where it stands."""

    def begin(
        self,
        *,
        server: str | None,
        tool: str | None,
        arguments: Mapping[str, Any] | str,
        decision: Decision,
    ) -> None:
        """Writes a call that is about to run, which the next `write` completes.

        Args:
            server: whose tool it is.
            tool: its name.
            arguments: what it is called with.
            decision: why it runs.

        Raises:
            OSError: the file cannot be written.
        """
        line = _line(server, tool, arguments, decision, None, error=_CUT_OFF)
        with self._locked() as end:
            self._put(end, line)
            self._begun = end, line

    def write(
        self,
        *,
        server: str | None,
        tool: str | None,
        arguments: Mapping[str, Any] | str,
        decision: Decision,
        seconds: float,
        result: str | None = None,
        error: str | None = None,
    ) -> None:
        """Writes a call that is over.

        Args:
            server: whose tool it is; None for a Python function, or where there is no such tool.
            tool: its name; None where the model's text names none.
            arguments: JSON values; or the model's text, where no call could be read from it.
            decision: why it ran, or did not.
            seconds: how long it ran.
            result: what it gave, if it succeeded.
            error: why it failed, or did not run.
        """
        line = _line(server, tool, arguments, decision, seconds, result, error)
        begun, self._begun = self._begun, None
        with self._locked() as end:
            if begun is not None and begun[0] + len(begun[1]) == end:
                self._put(begun[0], line, over=begun[1])
            else:  # another program has written meanwhile: both lines stay
                self._put(end, line)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Keeps other programs from the file, and gives its length."""
        if fcntl is not None:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield os.fstat(self._file).st_size
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from None
        finally:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _put(self, start: int, line: bytes, over: bytes = b"") -> None:
        """Writes a line in the place of another, in one step; all of it, or nothing."""
        with suppress(OSError):  # a terminal or a pipe has no places
            os.lseek(self._file, start, os.SEEK_SET)
        line = line[:-1].ljust(len(over) - 1) + b"\n"
        try:
            left = line
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            with suppress(OSError):
                os.lseek(self._file, start, os.SEEK_SET)
                os.write(self._file, over)
                os.ftruncate(self._file, start + len(over))
            raise

    def __enter__(self) -> AuditLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _line(
    server: str | None,
    tool: str | None,
    arguments: Mapping[str, Any] | str,
    decision: Decision,
    seconds: float | None,
    result: str | None = None,
    error: str | None = None,
) -> bytes:
    values = {
        "time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
        "server": server,
        "tool": tool,
        "arguments": arguments,
        "decision": decision,
        "seconds": None if seconds is None else round(seconds, 6),
        **({"result": result} if error is None else {"error": error}),
    }
    return json.dumps(values).encode("ascii") + b"\n"
