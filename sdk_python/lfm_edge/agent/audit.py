"""The record of what an agent did: one line of JSON for each call."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

__all__ = ["AuditLog", "Decision"]

Decision = Literal["asked", "allowed", "refused", "invalid"]
"""`asked`: the user was, and agreed; `allowed`: by the list of tools that run without; `refused`:
the user was asked, and did not agree; `invalid`: the call fits no tool, so nobody was asked."""


class AuditLog:
    """Appends to a file that its owner alone can read; a line is in it once `write` returns.

    Close it, or use it in a `with`.

    Args:
        path: the file; what it holds already stays.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self._file = open(path, "a", encoding="ascii", opener=_private)  # noqa: SIM115

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
        line = {
            "time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
            "server": server,
            "tool": tool,
            "arguments": arguments,
            "decision": decision,
            "seconds": round(seconds, 6),
            **({"result": result} if error is None else {"error": error}),
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> AuditLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    if hasattr(os, "fchmod"):  # the file may have been there already; Windows has none
        os.fchmod(descriptor, 0o600)
    return descriptor
