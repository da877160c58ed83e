"""Proves a bundle: every file is whole, and the graph computes what the reference computed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle, GoldenVectors
from .errors import IntegrityError, InvalidRequestError
from .progress import Progress, Quiet
from .runtime import Runtime
from .session import Session
from .targets import COREML, open_runtime
from .verify_going_back import check_going_back

__all__ = ["VerifyReport", "replay_both_ways", "verify"]

_RAGGED_CHUNKS = (8, 5, 1, 3, 8, 7)
# The evaluator dequantizes every weight for each token: for 8 billion, about half a minute.
_EVALUATED_BYTES = 16_000_000_000


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found in a bundle that holds."""

    files: int
    """How many files it has."""
    size: int
    """Bytes of all files."""
    positions: int
    """Golden positions that were replayed, from the first."""
    golden_positions: int
    """Golden positions that the bundle has."""
    argmaxes: int
    """Positions whose greedy token was compared; elsewhere the margin is too small."""
    tolerance: float
    """How far a logit may lie from the golden one."""
    decode_error: float
    """Largest absolute logit error when tokens are read one by one, outliers left out."""
    decode_worst: int
    """The position of that error."""
    decode_outliers: int
    """Positions beyond the tolerance; no more than the golden vectors let pass."""
    prefill_error: float
    """The same when tokens are read in ragged chunks."""
    prefill_worst: int
    """The position of that error."""
    prefill_outliers: int
    """Positions beyond the tolerance."""
    to_the_bit: tuple[str, ...]
    """What else was held to a straight run, to the bit, where the target can do it: `rewind`, a
    session that goes back; `guesses`, one that reads tokens ahead of which some are wrong; and
    `windows`, what sliding layers write anew that keep the last positions alone."""


def verify(
    path: Path | str,
    progress: Progress | None = None,
    threads: int | None = None,
    tokens: int | None = None,
) -> VerifyReport:
    """Hashes every file of a bundle and replays its golden vectors.

    They are read token by token, and once more in ragged chunks; then a session goes back, and one
    guesses wrong, where the target can. A Core ML bundle is replayed by the evaluator, which reads
    every weight for each token, on any machine.

    Args:
        path: the bundle's folder.
        progress: hears of the files' bytes, and of the positions that are read.
        threads: threads to compute with, where a bundle is not evaluated; by default one per
            physical core.
        tokens: how many golden positions to replay, from the first; by default all, or what the
            evaluator can do with 16 GB of weights read.

    Raises:
        IntegrityError: a file differs from the manifest, a golden vector is missed, or going back
            or a wrong guess changes what follows.
        BundleError: the bundle is missing, malformed, or its graph does not run.
        InvalidRequestError: `threads` or `tokens` is below 1.
        MissingDependencyError: a Core ML bundle's package cannot be read without coremltools.
    """
    for name, count in (("tokens", tokens), ("threads", threads)):
        if count is not None and count < 1:
            raise InvalidRequestError(f"{name}: got {count}, expected 1 or more")
    progress = progress or Quiet()
    bundle = Bundle(path)
    files, golden = bundle.manifest.files, bundle.manifest.golden
    size = sum(entry.size for entry in files.values())
    progress.stage("hash", size, "bytes")
    bundle.check_hashes(progress.advance)
    runtime, most = _runtime(bundle, threads, size)
    length = min(len(golden.ids), bundle.manifest.model.max_context, tokens or most)
    decode, prefill = replay_both_ways(runtime, golden, length, progress)
    to_the_bit = check_going_back(runtime, golden.ids, progress)
    return VerifyReport(
        files=len(files),
        size=size,
        positions=length,
        golden_positions=len(golden.ids),
        argmaxes=sum(_argmax_counts(golden, position) for position in range(length)),
        tolerance=golden.tolerance,
        decode_error=decode.error,
        decode_worst=decode.worst,
        decode_outliers=decode.outliers,
        prefill_error=prefill.error,
        prefill_worst=prefill.worst,
        prefill_outliers=prefill.outliers,
        to_the_bit=to_the_bit,
    )


def _runtime(bundle: Bundle, threads: int | None, size: int) -> tuple[Runtime, int]:
    """What replays a bundle, and how many positions unless more are asked for."""
    if bundle.manifest.graph.target != COREML:
        return open_runtime(bundle, threads), len(bundle.manifest.golden.ids)
    from .coreml.package import Package  # noqa: PLC0415 (other bundles do without)
    from .coreml.runtime import CoreMLRuntime, EvaluatorEngine  # noqa: PLC0415

    package = Package(bundle.graph_path)
    runtime = CoreMLRuntime(bundle, package, EvaluatorEngine(package))
    return runtime, max(1, _EVALUATED_BYTES // size)


@dataclass
class Replay:
    """How far a replay lies from the golden vectors."""

    error: float = 0.0
    worst: int = 0
    outliers: int = 0


def replay_both_ways(
    runtime: Runtime, golden: GoldenVectors, length: int, progress: Progress
) -> tuple[Replay, Replay]:
    """Reads the first `length` golden tokens one by one, and once more in ragged chunks.

    Raises what `replay` raises.
    """
    return (
        replay(runtime, golden, [1] * length, "decode", progress),
        replay(runtime, golden, list(_ragged(length)), "prefill", progress),
    )


def replay(
    runtime: Runtime, golden: GoldenVectors, chunks: Sequence[int], stage: str, progress: Progress
) -> Replay:
    """Reads the golden tokens in chunks and compares at their ends.

    Raises:
        IntegrityError: more have missed than may.
        BundleError: the graph failed to run.
    """
    session, found = Session(runtime, sum(chunks)), Replay()
    progress.stage(stage, session.capacity, "positions")
    # At least one must hold, however few there are.
    allowed = min(math.ceil(golden.outliers * len(chunks) / len(golden.ids)), len(chunks) - 1)
    for chunk in chunks:
        start = session.position
        logits = session.prefill(golden.ids[start : start + chunk])
        position = session.position - 1
        error, complaint = _compare(golden, position, logits)
        if complaint is None:
            found.error, found.worst = max((found.error, found.worst), (error, position))
        else:
            found.outliers += 1
            if found.outliers > allowed:
                count = f", the {found.outliers}th miss where {allowed} may" if allowed else ""
                raise IntegrityError(
                    f"golden vectors missed in {stage} at position {position}{count}: {complaint}"
                )
        progress.advance(chunk)
    return found


def _compare(
    golden: GoldenVectors, position: int, logits: NDArray[np.float32]
) -> tuple[float, str | None]:
    """The largest error of one position, and what is wrong with it if anything is."""
    ids = np.array(golden.top_ids[position] + golden.probe_ids)
    expected = np.array(golden.top_logits[position] + golden.probe_logits[position])
    errors = np.abs(logits[ids] - expected)
    worst = int(errors.argmax())  # the first NaN, where there is one
    complaint = None
    if not errors[worst] <= golden.tolerance:
        complaint = (
            f"token {ids[worst]} has logit {logits[ids[worst]]:.6g}, expected "
            f"{expected[worst]:.6g} within {golden.tolerance:.3g}"
        )
    elif _argmax_counts(golden, position) and logits.argmax() != ids[0]:
        complaint = f"the likeliest token is {logits.argmax()}, expected {ids[0]}"
    return float(errors[worst]), complaint


def _argmax_counts(golden: GoldenVectors, position: int) -> bool:
    logits = golden.top_logits[position]
    return len(logits) > 1 and logits[0] - logits[1] > 2 * golden.tolerance


def _ragged(length: int) -> Iterator[int]:
    for chunk in cycle(_RAGGED_CHUNKS):
        if length <= 0:
            return
        yield min(chunk, length)
        length -= chunk
