"""How the generators choose: mostly the usual, now and then each of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["ABSENT", "Choices", "present"]

ABSENT: Any = type("Absent", (), {"__repr__": lambda _: "ABSENT"})()
"""Stands for a field that a file does not have; null is None."""


def present(values: dict[str, Any]) -> dict[str, Any]:
    """The fields that are there."""
    return {name: value for name, value in values.items() if value is not ABSENT}


class Choices:
    """Reads choices off a tape of random bytes; where it ends, the first of all is chosen.

    A tape rather than a strategy a choice: hypothesis makes most of its examples by repeating
    parts of others, which leaves too little of 500. It shrinks a tape as well, byte by byte.

    `refusable` names every drawn feature for which a checkpoint may be refused: only such a draw
    may end in an error.
    """

    def __init__(self, tape: bytes, refusable: list[str]) -> None:
        self._tape = tape
        self._place = 0
        self.refusable = refusable

    def number(self, least: int, most: int) -> int:
        """A whole number."""
        pair = self._tape[self._place : self._place + 2]
        self._place += 2
        return least + (int.from_bytes(pair, "big") * (most + 1 - least) >> 16)

    def one(self, *values: Any) -> Any:
        """One of the values, all alike."""
        return values[self.number(0, len(values) - 1)]

    def rarely(self, percent: float) -> bool:
        """True in so many cases of a hundred."""
        return self.number(0, 9999) >= 10000 - 100 * percent

    def usual(self, value: Any, *others: Any, percent: float = 30) -> Any:
        """`value`, or in so many cases of a hundred one of the others."""
        return self.one(*others) if self.rarely(percent) else value

    def several(self, values: Sequence[Any], least: int, most: int) -> list[Any]:
        """So many of the values, repeats allowed."""
        return [self.one(*values) for _ in range(self.number(least, most))]

    def may_refuse(self, feature: str) -> None:
        """The draw has a feature that we refuse."""
        self.refusable.append(feature)
