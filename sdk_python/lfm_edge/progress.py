"""How long work tells that it is getting on; `console_progress` shows it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "Quiet"]


class Progress(Protocol):
    """Hears how far a long piece of work is."""

    def stage(self, name: str, total: int, unit: str) -> None:
        """A stage begins: `total` of a unit, such as weights or bytes, are to come."""

    def advance(self, amount: int) -> None:
        """That many more are done."""

    def note(self, text: str) -> None:
        """Something is passed over or changed; one line that says what."""


class Quiet:
    """A progress that nobody watches."""

    def stage(self, name: str, total: int, unit: str) -> None:
        """Ignores it."""

    def advance(self, amount: int) -> None:
        """Ignores it."""

    def note(self, text: str) -> None:
        """Ignores it."""
