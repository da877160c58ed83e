"""Proves a bundle: every file is whole, and the graph computes what the reference computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle, GoldenVectors
from .errors import IntegrityError
from .model import Model

__all__ = ["VerifyReport", "verify"]

Progress = Callable[[str, int, int], None]
"""Called with what is being checked, and how much of it is done, of how much."""

_RAGGED_CHUNKS = (8, 5, 1, 3, 8, 7)


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found in a bundle that holds."""

    files: int
    size: int
    """Bytes of all files."""
    positions: int
    """Golden positions that were replayed."""
    argmaxes: int
    """Positions whose greedy token was compared; elsewhere the margin is too small."""
    tolerance: float
    decode_error: float
    """Largest absolute logit error when tokens are read one by one."""
    decode_worst: int
    """The position of that error."""
    prefill_error: float
    """The same when tokens are read in ragged chunks."""
    prefill_worst: int


def verify(
    path: Path | str, progress: Progress | None = None, threads: int | None = None
) -> VerifyReport:
    """Hashes every file of a bundle and replays its golden vectors.

    They are read token by token, and once more in ragged chunks.

    Args:
        path: the bundle's folder.
        progress: called as the work goes on.
        threads: threads to compute with; by default one per physical core.

    Raises:
        IntegrityError: a file differs from the manifest, or a golden vector is missed.
        BundleError: the bundle is missing, malformed, or its graph does not run.
    """
    report = progress or _silent
    bundle = Bundle(path)
    files, golden = bundle.manifest.files, bundle.manifest.golden
    size, read = sum(entry.size for entry in files.values()), 0

    def count(chunk: int) -> None:
        nonlocal read
        read += chunk
        report("files", read, size)

    bundle.check_hashes(count)
    model = Model(bundle, threads)
    length = min(len(golden.ids), bundle.manifest.model.max_context)
    decode = _replay(model, golden, [1] * length, "decode", report)
    prefill = _replay(model, golden, list(_ragged(length)), "prefill", report)
    return VerifyReport(
        files=len(files),
        size=size,
        positions=length,
        argmaxes=sum(_argmax_counts(golden, position) for position in range(length)),
        tolerance=golden.tolerance,
        decode_error=decode[0],
        decode_worst=decode[1],
        prefill_error=prefill[0],
        prefill_worst=prefill[1],
    )


def _replay(
    model: Model, golden: GoldenVectors, chunks: Sequence[int], stage: str, progress: Progress
) -> tuple[float, int]:
    """The largest error at the chunks' ends, and its position."""
    session = model.session(sum(chunks))
    worst = (0.0, 0)
    for chunk in chunks:
        start = session.position
        logits = session.prefill(golden.ids[start : start + chunk])
        position = session.position - 1
        worst = max(worst, (_compare(golden, position, logits, stage), position))
        progress(stage, session.position, session.capacity)
    return worst


def _compare(
    golden: GoldenVectors, position: int, logits: NDArray[np.float32], stage: str
) -> float:
    ids = np.array(golden.top_ids[position] + golden.probe_ids)
    expected = np.array(golden.top_logits[position] + golden.probe_logits[position])
    errors = np.abs(logits[ids] - expected)
    worst = int(errors.argmax())  # the first NaN, where there is one
    missed = f"golden vectors missed in {stage} at position {position}"
    if not errors[worst] <= golden.tolerance:
        raise IntegrityError(
            f"{missed}: token {ids[worst]} has logit {logits[ids[worst]]:.6g}, expected "
            f"{expected[worst]:.6g} within {golden.tolerance:.3g}"
        )
    if _argmax_counts(golden, position) and logits.argmax() != ids[0]:
        raise IntegrityError(
            f"{missed}: the likeliest token is {logits.argmax()}, expected {ids[0]}"
        )
    return float(errors[worst])


def _argmax_counts(golden: GoldenVectors, position: int) -> bool:
    logits = golden.top_logits[position]
    return len(logits) > 1 and logits[0] - logits[1] > 2 * golden.tolerance


def _ragged(length: int) -> Iterator[int]:
    for chunk in cycle(_RAGGED_CHUNKS):
        if length <= 0:
            return
        yield min(chunk, length)
        length -= chunk


def _silent(stage: str, done: int, total: int) -> None:
    """Reports nothing."""
