"""An evaluation cut into shards, which workers of a cluster read apart.

A shard is some sequences in a row, and a walk of its own: sequences do not know of each other. Cuts
depend on the sequences alone, so the figures do not on how many workers there are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from lfm_edge.bundle import Bundle
from lfm_edge.errors import BundleError
from lfm_edge.progress import Progress, Quiet

from ..checkpoint import Checkpoint
from ..cluster import Cluster
from ..errors import CheckpointError, ExportError
from ..loading import architecture_of
from ..notes import unheard
from ..walk import Sequences, WalkFolder
from .identity import identity_of
from .runtime import RuntimeLogits
from .score import Columns, keep_scores, kept_scores
from .walk import lanes_of, walk_and_score

__all__ = ["Reading", "score_on_cluster"]

_TOKENS = 4096  # of a shard: fewer, and reading the weights takes longer than their use


@dataclass(frozen=True)
class Reading:
    """What reads, as a worker opens it."""

    bundle: Path
    reopen: Callable[[], Checkpoint] | None
    """Opens the source."""
    identity: str
    """Of both."""
    runs: bool
    """Whether the bundle is run, and not only its weights are read."""
    window: int
    threads: int


def score_on_cluster(
    cluster: Cluster,
    reading: Reading,
    sequences: Sequences,
    folder: WalkFolder,
    progress: Progress,
) -> list[Columns]:
    """The scores of every sequence; what the folder has of them is not scored again.

    Raises:
        ExportError: a worker cannot open what reads, or fails.
    """
    found = {
        index: columns
        for index in range(len(sequences))
        if (columns := kept_scores(folder, index)) is not None
    }
    shards = [s for s in _cut(sequences) if not found.keys() >= set(s)]
    left = [Sequences(sequences.ids[shard.start : shard.stop]) for shard in shards]
    progress.stage("score", max(sum(some.tokens for some in left), 1), "tokens")
    done = cluster.run(score_shard, reading, left)
    for shard, some, scores in zip(shards, left, done, strict=True):
        for index, columns in zip(shard, scores, strict=True):
            keep_scores(folder, index, columns)
            found[index] = columns
        folder.keep()
        progress.advance(some.tokens)
    return [found[index] for index in range(len(sequences))]


def score_shard(reading: Reading, sequences: Sequences) -> list[Columns]:
    """The same as in one process, for some sequences; runs on a worker.

    Raises:
        LfmError: the bundle or its source is not there, is another one, or fails.
    """
    with ExitStack() as stack:
        try:
            bundle = Bundle(reading.bundle)
            checkpoint = None if reading.reopen is None else stack.enter_context(reading.reopen())
        except (BundleError, CheckpointError) as error:
            raise ExportError(f"{error}; every machine must see it at the same path") from None
        architecture = None if checkpoint is None else architecture_of(checkpoint, unheard)
        if identity_of(bundle, checkpoint, architecture) != reading.identity:
            raise ExportError(
                f"{bundle.folder}: it or its source is another than where the evaluation began; "
                "every machine must see the same files at the same path"
            )
        runtime = RuntimeLogits(bundle, reading.window, reading.threads) if reading.runs else None
        lanes = []
        if checkpoint is not None and architecture is not None:
            lanes = lanes_of(bundle, checkpoint, architecture)
        width = 1 if architecture is None else architecture.hidden_size
        path = stack.enter_context(tempfile.TemporaryDirectory(prefix="lfm-edge-eval-"))
        folder = stack.enter_context(
            WalkFolder.open(Path(path), reading.identity, sequences.tokens, width)
        )
        return walk_and_score(architecture, sequences, lanes, runtime, folder, Quiet())


def _cut(sequences: Sequences) -> Sequence[range]:
    """The indices of each shard's sequences."""
    cuts, tokens = [0], 0
    for index, ids in enumerate(sequences.ids, 1):
        tokens += len(ids)
        if tokens >= _TOKENS or index == len(sequences):
            cuts.append(index)
            tokens = 0
    return [range(start, stop) for start, stop in pairwise(cuts)]
