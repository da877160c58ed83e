"""One evaluation from end to end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lfm_edge.bundle import Bundle
from lfm_edge.errors import InvalidRequestError, MissingDependencyError, UnsupportedBundleError
from lfm_edge.progress import Progress, Quiet

from ..architecture import Architecture
from ..checkpoint import Checkpoint
from ..cluster import Cluster
from ..errors import ExportError
from ..loading import architecture_of
from ..notes import short
from ..walk import Sequences, TextReader, WalkFolder
from .identity import identity_of
from .result import EvaluateResult, Scores, figures_of, positions_of
from .runtime import RuntimeLogits
from .score import joined
from .shards import Reading, score_on_cluster
from .stored import readable
from .walk import lanes_of, walk_and_score

__all__ = ["EvaluateOptions", "evaluate_bundle", "evaluate_sequences"]

_SHORTEST_WINDOW = 8


@dataclass(frozen=True)
class EvaluateOptions:
    """What the user chose."""

    text: Path
    window: int = 512
    """Tokens of a sequence; each begins from an empty state."""
    tokens: int | None = None
    """Of the text, at most."""
    threads: int | None = None
    state: Path | None = None
    """A folder for what an evaluation keeps, to go on from after a kill."""
    ray: str | None = None
    """The address of a Ray cluster whose workers share the text; `threads` are then of each."""


def evaluate_bundle(
    bundle: Bundle,
    checkpoint: Checkpoint | None,
    options: EvaluateOptions,
    progress: Progress | None = None,
) -> EvaluateResult:
    """How `bundle` reads a text, by itself and against the `checkpoint` that it was made of.

    Raises:
        InvalidRequestError: the text or an option is wrong.
        CheckpointError: the checkpoint is damaged.
        ArchitectureError: its config is unknown or contradicts itself.
        ExportError: the state's folder holds something else.
        BundleError: the bundle is no export of the checkpoint, or fails to run.
    """
    return evaluate_sequences(bundle, checkpoint, _sequences(bundle, options), options, progress)


def evaluate_sequences(
    bundle: Bundle,
    checkpoint: Checkpoint | None,
    sequences: Sequences,
    options: EvaluateOptions,
    progress: Progress | None = None,
) -> EvaluateResult:
    """The same for token ids. Raises what `evaluate_bundle` raises."""
    progress = progress or Quiet()
    architecture = None
    if checkpoint is not None:
        architecture = architecture_of(checkpoint, short(progress.note))
        _check_same_model(bundle, architecture)
    runtime = _runtime(bundle, options, progress)
    if runtime is None and (checkpoint is None or not readable(bundle)):
        raise ExportError(
            f"{bundle.folder}: a bundle of target {bundle.manifest.graph.target} can be "
            "evaluated only where it runs"
        )
    lanes = []
    if checkpoint is not None and architecture is not None:
        lanes = lanes_of(bundle, checkpoint, architecture)
    identity = identity_of(bundle, checkpoint, architecture, sequences)
    width = 1 if architecture is None else architecture.hidden_size
    with (
        _folder(options.state) as path,
        WalkFolder.open(path, identity, sequences.tokens, width) as folder,
    ):
        if options.ray is None:
            scores = walk_and_score(architecture, sequences, lanes, runtime, folder, progress)
        else:
            reading = _reading(bundle, checkpoint, architecture, runtime is not None, options)
            with Cluster.open(options.ray, reading.threads, short(progress.note)) as cluster:
                scores = score_on_cluster(cluster, reading, sequences, folder, progress)
    return _result(bundle, checkpoint, sequences, joined(scores), options)


def _reading(
    bundle: Bundle,
    checkpoint: Checkpoint | None,
    architecture: Architecture | None,
    runs: bool,
    options: EvaluateOptions,
) -> Reading:
    """What the workers of a cluster open."""
    if checkpoint is not None and checkpoint.reopen is None:
        raise InvalidRequestError(
            f"{checkpoint.name}: --ray needs a source that open_checkpoint opened"
        )
    return Reading(
        bundle=bundle.folder.absolute(),
        reopen=None if checkpoint is None else checkpoint.reopen,
        identity=identity_of(bundle, checkpoint, architecture),
        runs=runs,
        window=options.window,
        threads=options.threads or 1,
    )


def _sequences(bundle: Bundle, options: EvaluateOptions) -> Sequences:
    model = bundle.manifest.model
    if not _SHORTEST_WINDOW <= options.window <= model.max_context:
        raise InvalidRequestError(
            f"--window {options.window}: expected {_SHORTEST_WINDOW} to {model.max_context} "
            "tokens, the bundle's context"
        )
    if options.tokens is not None and options.tokens < 2:
        raise InvalidRequestError(f"--tokens {options.tokens}: expected at least 2")
    reader = TextReader.of_bundle(bundle)
    documents = reader.documents(options.text, "--text")
    sequences = Sequences.cut(documents, options.window, reader.prefix, options.tokens)
    if not len(sequences):
        raise InvalidRequestError(f"--text {options.text}: no two tokens; expected a longer text")
    return sequences


def _check_same_model(bundle: Bundle, architecture: Architecture) -> None:
    model = bundle.manifest.model
    for name, got, wanted in (
        ("family", model.family, architecture.family),
        ("vocab_size", model.vocab_size, architecture.vocab_size),
        ("hidden_size", model.hidden_size, architecture.hidden_size),
        ("num_hidden_layers", model.num_hidden_layers, len(architecture.layers)),
    ):
        if got != wanted:
            raise InvalidRequestError(
                f"--against: {name} of the source is {wanted}, of {bundle.folder} {got}; name the "
                "checkpoint that the bundle was made of"
            )


@contextmanager
def _folder(state: Path | None) -> Iterator[Path]:
    """The user's folder, which is kept, or one for this evaluation alone."""
    if state is not None:
        yield state
        return
    with tempfile.TemporaryDirectory(prefix="lfm-edge-eval-") as path:
        yield Path(path)


def _runtime(bundle: Bundle, options: EvaluateOptions, progress: Progress) -> RuntimeLogits | None:
    try:
        return RuntimeLogits(bundle, options.window, options.threads)
    except (UnsupportedBundleError, MissingDependencyError) as error:
        short(progress.note)(f"the bundle is not run, only its weights are read: {error}")
        return None


def _result(
    bundle: Bundle,
    checkpoint: Checkpoint | None,
    sequences: Sequences,
    scores: dict[str, Scores],
    options: EvaluateOptions,
) -> EvaluateResult:
    manifest = bundle.manifest
    figures = {name: figures_of(some) for name, some in scores.items()}
    which = "runtime" if "runtime" in scores else "integers"
    positions = np.concatenate([np.arange(1, len(ids)) for ids in sequences.ids])
    chosen = figures[which]
    return EvaluateResult(
        perplexity=chosen.perplexity,
        kl_mean=chosen.kl_mean,
        kl_p99=chosen.kl_p99,
        top1=chosen.top1,
        tokens=len(positions),
        sequences=len(sequences),
        window=options.window,
        bundle=str(bundle.folder),
        target=manifest.graph.target,
        quantization=manifest.quantization.method,
        head=manifest.quantization.head,
        size_bytes=sum(entry.size for entry in manifest.files.values()),
        source=None if checkpoint is None else checkpoint.name,
        source_perplexity=figures["source"].perplexity if "source" in figures else None,
        integers=figures.get("integers"),
        runtime=figures.get("runtime"),
        kernels=figures.get("kernels"),
        by_position=positions_of(scores[which], positions),
    )
