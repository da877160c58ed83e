"""The open-addressed tables of a device.bin, and what they hash by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["first_slot", "hash_of_bytes", "hash_of_pair", "open_addressed"]

_FACTOR = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio
_ALL = (1 << 64) - 1
_ROOM = 1.5
"""Slots for each entry."""


def hash_of_bytes(data: bytes) -> int:
    """64 bits of some bytes, read as little-endian numbers of 8, the last one filled with zeros."""
    code = len(data)
    for start in range(0, len(data), 8):
        code = _mixed(code ^ int.from_bytes(data[start : start + 8], "little"))
    return code


def hash_of_pair(left: int, right: int) -> int:
    """64 bits of two ids."""
    return _mixed(left << 32 | right)


def first_slot(code: int, slots: int) -> int:
    """Where the entry with the hash `code` is looked for first; then in the slots that follow."""
    return (code >> 32) * slots >> 32


def open_addressed(
    entries: Iterable[tuple[int, Sequence[int]]], empty: Sequence[int]
) -> tuple[npt.NDArray[np.uint32], int]:
    """A table of entries with their hashes, in the order of their coming; and the most probes."""
    entries = list(entries)
    slots = max(1, int(len(entries) * _ROOM))
    taken: list[Sequence[int] | None] = [None] * slots
    most = 1
    for code, entry in entries:
        slot = start = first_slot(code, slots)
        while taken[slot] is not None:
            slot = slot + 1 if slot + 1 < slots else 0
        taken[slot] = entry
        most = max(most, (slot - start) % slots + 1)
    return np.array([empty if entry is None else entry for entry in taken], np.uint32), most


def _mixed(code: int) -> int:
    code = code * _FACTOR & _ALL
    return (code ^ code >> 32) * _FACTOR & _ALL
