"""What workers do in tests: they can import this, but not a module of tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from unittest import mock

from lfm_edge.errors import LfmError
from lfm_export.evaluate import shards
from lfm_export.evaluate.score import Columns
from lfm_export.walk import WalkFolder

__all__ = ["die", "refuse", "score_or_die"]


def once(marker: Path) -> bool:
    """Whether no other process has asked before."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def score_or_die(marker: Path, shard: shards.Shard) -> list[Columns]:
    """Kills the first worker in the middle of its walk."""
    if once(marker):

        def killed(_: WalkFolder, operations: int, weights: int) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        mock.patch.object(WalkFolder, "advance", killed).start()
    return shards.score_shard(shard)


def refuse(piece: int) -> int:
    if piece == 1:
        raise LfmError("this piece is odd")
    return piece


def die(_: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0
