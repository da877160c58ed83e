"""Swaps two folders in one step, where the system can."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

__all__ = ["exchange"]

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # of Linux's renameat2
_RENAME_SWAP = 2  # of macOS's renamex_np


def exchange(one: Path, other: Path) -> bool:
    """Gives each of two folders the other's name; nobody ever sees either name without a folder.

    Returns False, with nothing changed, where the system or the file system has no such step:
    Windows has none, nor do some network file systems.
    """
    names = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "linux":
            # man 2 renameat2
            rename = ctypes.CDLL(None).renameat2
            failed: int = rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
        elif sys.platform == "darwin":
            failed = ctypes.CDLL(None).renamex_np(*names, _RENAME_SWAP)  # man 2 renamex_np
        else:
            return False
    except AttributeError:  # a C library without it
        return False
    return not failed
