"""Sliding layers that keep the last positions alone, whatever a session holds.

Such a layer's cache has a fixed number of slots, and position p lies in slot p modulo this number:
a later one takes the place of one that no token sees any more. What was overwritten follows, as a
conv state does, from the tokens before a position: a layer of window w sees w - 1 tokens back, so
as many more are run again, and their keys and values written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .bundle import StateTensor

__all__ = ["BEYOND_WINDOW", "POSITIONS_AXIS", "Windows", "slots", "slots_for", "windows"]

BEYOND_WINDOW = 512
"""How far back a replay of the convolutions alone reaches; a run has no more tokens
(`replay.PREFILL_CHUNK`)."""
POSITIONS_AXIS = 2
"""Of a cache: the axis of positions."""
_BLOCK = 64  # slots are whole blocks of the operator's


@dataclass(frozen=True)
class Windows:
    """What the sliding layers of a graph keep together, where it is not everything."""

    reach: int
    """How far before the end of what was ever read a run may begin."""
    replay: int
    """How many tokens before a position give their keys and values there, and the conv state, run
    on top of anything, while caches that keep everything take nothing (`WindowState`)."""


def slots_for(window: int, seen: int) -> int:
    """How many positions a layer of that window keeps.

    Args:
        window: how many positions a token sees.
        seen: how many tokens the graph's convolutions see back, which a replay reads again.
    """
    return -(-(window + BEYOND_WINDOW + seen) // _BLOCK) * _BLOCK


def slots(tensor: StateTensor) -> int | None:
    """How many positions a cache keeps where these are the last alone; None where it keeps all.

    Raises:
        ValueError: they are too few for a run, or no whole blocks; says what is expected.
    """
    if tensor.kind == "conv" or tensor.window is None or "capacity" in tensor.shape:
        return None
    found = tensor.shape[POSITIONS_AXIS] if len(tensor.shape) > POSITIONS_AXIS else 0
    least = tensor.window - 1 + BEYOND_WINDOW
    if not isinstance(found, int) or found < least or found % _BLOCK:
        raise ValueError(
            f"keeps {found} positions, expected a multiple of {_BLOCK} that is at least {least}, "
            f"for a window of {tensor.window}"
        )
    return found


def windows(state: Sequence[StateTensor], seen: int) -> Windows | None:
    """What the sliding layers keep; None where all caches keep everything.

    Args:
        state: a graph's.
        seen: how many tokens its convolutions see back.

    Raises:
        ValueError: see `slots`.
    """
    kept = [(count, t.window or 0) for t in state if (count := slots(t)) and t.kind == "key"]
    if not kept:
        return None
    return Windows(
        reach=min(count - (window - 1) for count, window in kept),
        replay=seen + sum(window - 1 for _, window in kept),
    )
