"""Ctrl-C at a chosen instruction of the SDK."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import lfm_edge

__all__ = ["interrupt_at"]

PACKAGE = str(Path(lfm_edge.__file__).parent)


def interrupt_at(count: int, work: Callable[[], object]) -> bool:
    """Runs `work` and raises KeyboardInterrupt before its `count`-th instruction of ours.

    Returns whether it had so many.
    """
    left = count

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        if event in {"opcode", "return"}:
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    earlier = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        assert left == 0
        return True
    finally:
        sys.settrace(earlier)
    return False
