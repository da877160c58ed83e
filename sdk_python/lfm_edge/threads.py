"""How many threads to compute with."""

from __future__ import annotations

import os

import psutil

__all__ = ["default_threads", "usable_cores"]


def default_threads() -> int:
    """One thread per physical core that this process may use."""
    usable = usable_cores()
    return min(psutil.cpu_count(logical=False) or usable, usable)


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
