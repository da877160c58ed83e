"""The channel of remarks: what of a checkpoint is passed over or changed, a line each."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Note", "unheard"]

Note = Callable[[str], None]


def unheard(text: str) -> None:
    """Where nobody asked."""
