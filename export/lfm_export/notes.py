"""The channel of remarks: what of a checkpoint is passed over or changed, a line each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lfm_edge.errors import shortened

__all__ = ["Note", "listed", "short", "unheard"]

Note = Callable[[str], None]
_MOST_SHOWN = 6


def listed(ids: Sequence[int]) -> str:
    """The first few of some token ids."""
    return ", ".join(map(str, ids[:_MOST_SHOWN])) + (", ..." if len(ids) > _MOST_SHOWN else "")


def unheard(text: str) -> None:
    """Where nobody asked."""


def short(note: Note) -> Note:
    """`note`, which hears one line, and no more of a long name or value than anybody reads."""
    return lambda text: note(shortened(" ".join(text.split())))
