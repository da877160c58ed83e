"""What workers do in tests: they can import this, but not a module of tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from unittest import mock

from lfm_edge.errors import LfmError
from lfm_edge.progress import Quiet
from lfm_export.calibrate import part
from lfm_export.evaluate import shards
from lfm_export.evaluate.score import Columns
from lfm_export.quantize import Scheme
from lfm_export.walk import Sequences, WalkFolder
from lfm_export.workers import Workers
from lfm_ops.quantized import QuantizedTensor

__all__ = ["Noting", "die", "quantize_or_die", "refuse", "score_or_die"]


class Noting(Quiet):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, amount: int) -> None:
        self.done += amount


def once(marker: Path) -> bool:
    """Whether no other process has asked before."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def score_or_die(marker: Path, reading: shards.Reading, sequences: Sequences) -> list[Columns]:
    """Kills the first worker in the middle of its walk."""
    if once(marker):

        def killed(_: WalkFolder, operations: int, weights: int, lanes: int) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        mock.patch.object(WalkFolder, "advance", killed).start()
    return shards.score_shard(reading, sequences)


def quantize_or_die(
    marker: Path, scheme: Scheme, read: part.PartRead, workers: Workers | None = None
) -> dict[str, QuantizedTensor]:
    """Kills the first worker, but not the process that has workers."""
    if workers is None and once(marker):
        os.kill(os.getpid(), signal.SIGKILL)
    return part.quantize_part(scheme, read, workers)


def refuse(odd: int, piece: int) -> int:
    if piece == odd:
        raise LfmError("this piece is odd")
    return piece


def die(_: int, piece: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return piece
