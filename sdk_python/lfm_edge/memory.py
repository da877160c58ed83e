"""How much memory a process takes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

import psutil

if sys.platform != "win32":
    import resource

__all__ = ["Memory", "linux_memory", "own_memory"]


class Memory(NamedTuple):
    """The memory of one process, in bytes."""

    peak_rss_bytes: int
    """The most that was ever resident: file pages, libraries and the interpreter included."""
    private_bytes: int
    """What the process alone wrote and nothing can drop; not the clean pages of mapped files.

    Outside Linux it is the unique set size (USS), which may count such pages too.
    """


def own_memory() -> Memory:
    """The memory of this process."""
    if sys.platform == "linux":
        return linux_memory(os.getpid())
    process = psutil.Process()
    private = int(process.memory_full_info().uss)
    if sys.platform == "win32":
        return Memory(int(process.memory_info().peak_wset), private)
    return Memory(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, private)


def linux_memory(pid: int) -> Memory:
    """The memory of a process, told by Linux."""
    # Not getrusage: its peak survives exec, so it may be that of whoever started the process.
    process = Path("/proc", str(pid))
    return Memory(
        _bytes(process / "status", "VmHWM"), _bytes(process / "smaps_rollup", "Private_Dirty")
    )


def _bytes(file: Path, name: str) -> int:
    line = next(line for line in file.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) << 10
