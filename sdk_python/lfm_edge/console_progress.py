"""Long work on the command line: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from .display import console, printable

__all__ = ["ConsoleProgress"]

_LINE_SECONDS = 10.0
_COUNTED = 10_000  # below, numbers are shown in full
_SCALES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


class ConsoleProgress:
    """Shows stages of a known amount on standard error; to be used in a `with` block."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = TaskID(0)
        self._name, self._unit = "", ""
        self._total, self._done = 1, 0
        self._begun = self._shown = 0.0

    def __enter__(self) -> ConsoleProgress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def stage(self, name: str, total: int, unit: str) -> None:
        """A stage begins: `total` weights or bytes are to come."""
        self._name, self._unit, self._total, self._done = name, unit, total, 0
        self._begun = self._shown = time.monotonic()
        self._task = self._bars.add_task(f"{name:>9}", total=total, amount=self._amount())

    def advance(self, amount: int) -> None:
        """That many more are done."""
        self._done += amount
        self._bars.update(self._task, completed=self._done, amount=self._amount())
        now = time.monotonic()
        told = self._shown > self._begun  # short work needs no lines
        due = now - self._shown > _LINE_SECONDS or (told and self._done >= self._total)
        if due and not self._console.is_terminal:
            self._shown = now
            self._console.print(f"{self._name}: {self._amount()}{self._estimate(now)}")

    def note(self, text: str) -> None:
        """Prints a line that begins with `note:`, whatever else is shown."""
        self._console.print(f"note: {printable(' '.join(text.split()))}", soft_wrap=True)

    def _amount(self) -> str:
        if self._total < _COUNTED:
            return f"{self._done} of {self._total} {self._unit}"
        scale, letter = next((s, name) for s, name in _SCALES if self._total >= s)
        return f"{self._done / scale:.1f} of {self._total / scale:.1f} {letter} {self._unit}"

    def _estimate(self, now: float) -> str:
        if not self._done:
            return ""
        if self._done >= self._total:
            return f" in {now - self._begun:.0f} s"
        return f", {(now - self._begun) * (self._total / self._done - 1):.0f} s left"
