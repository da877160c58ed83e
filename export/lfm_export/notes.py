"""The channel of remarks: what of a checkpoint is passed over or changed, a line each."""

from __future__ import annotations

from collections.abc import Callable

from lfm_edge.errors import shortened

__all__ = ["Note", "short", "unheard"]

Note = Callable[[str], None]


def unheard(text: str) -> None:
    """Where nobody asked."""


def short(note: Note) -> Note:
    """`note`, which hears no more of a very long name or value than anybody reads."""
    return lambda text: note(shortened(text))
