"""One calibration from end to end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lfm_edge.errors import InvalidRequestError
from lfm_edge.progress import Progress
from lfm_ops.formats import format_named
from lfm_ops.quantized import QuantizedTensor
from threadpoolctl import threadpool_limits

from ..architecture import Architecture, Linear, tensors_of
from ..checkpoint import Checkpoint
from ..errors import ExportError
from ..notes import Note
from ..quantize import Scheme
from ..walk import Sequences, SourceWeights, TextReader, WalkFolder, checkpoint_identity, size_of
from ..workers import Workers
from .kept import KeptTensors
from .walk import CalibrateWalk

__all__ = ["Calibration", "calibrate", "calibration_text"]

_VERSION = 2  # of the method: others' results are not taken up
_WINDOW = 512
_FEWEST_TOKENS = 512
_MOST_TOKENS = 1 << 16


@dataclass(frozen=True)
class Calibration:
    """What a calibration found.

    Attributes:
        names: the matrices of the layers, and an LM head of few bits.
        tokens: how many it was measured on.
    """

    names: frozenset[str]
    tokens: int
    _kept: KeptTensors

    def matrix(self, linear: Linear) -> QuantizedTensor | None:
        """A matrix as it was calibrated; None where it was not: an embedding that is no LM head.

        Raises:
            ExportError: the folder has lost it.
        """
        if linear.name not in self.names:
            return None
        found = self._kept.get(linear.name)
        if found is None or found.shape != linear.shape:
            raise ExportError(
                f"{self._kept.folder}: {linear.name} is missing or damaged; remove the folder, and "
                "export again"
            )
        return found


def calibration_text(path: Path, reader: TextReader, max_context: int, note: Note) -> Sequences:
    """The sequences of a calibration text; of a long one, some that are spread over it.

    Raises:
        InvalidRequestError: it is missing, malformed or too short.
    """
    documents = reader.documents(path, "--calibrate")
    window = min(_WINDOW, max_context)
    sequences = Sequences.cut(documents, window, reader.prefix, None)
    most = _MOST_TOKENS // window
    if len(sequences) > most:
        note(f"--calibrate {path}: {most} of its {len(sequences)} pieces are read, evenly spread")
        sequences = sequences.spread(most)
    if sequences.tokens < _FEWEST_TOKENS:
        raise InvalidRequestError(
            f"--calibrate {path}: {sequences.tokens} tokens, expected at least {_FEWEST_TOKENS}; "
            "some 20,000 serve well"
        )
    return sequences


@contextmanager
def calibrate(
    checkpoint: Checkpoint,
    architecture: Architecture,
    scheme: Scheme,
    sequences: Sequences,
    folder: Path,
    progress: Progress,
    workers: Workers,
) -> Iterator[Calibration]:
    """Quantizes every matrix of the layers; what it finds is there as long as the block runs.

    Args:
        checkpoint: the model.
        architecture: its description.
        scheme: the methods.
        sequences: what the model reads.
        folder: keeps what was found. Another call with the same model, scheme and text goes on
            there, or has nothing left to do.
        progress: hears how far it is.
        workers: share the work.

    Raises:
        ExportError: the folder holds something else, or a worker fails.
        CheckpointError: a tensor cannot be read, or holds no finite numbers.
    """
    others = sorted(scheme.others.items())
    sha = hashlib.sha256(f"{_VERSION} {scheme.linear} {scheme.head} {others}".encode())
    sha.update(sequences.digest().encode() + checkpoint_identity(checkpoint, architecture).encode())
    with WalkFolder.open(
        folder, sha.hexdigest(), sequences.tokens, architecture.hidden_size
    ) as place:
        kept = KeptTensors(place.path / "tensors")
        tokens = architecture.embedding.tokens
        left = 2 * (size_of(architecture.layers) + tokens.rows * tokens.columns) - place.weights
        linears = [t for t in tensors_of(architecture.layers) if isinstance(t, Linear)]
        head = _coarse_head(architecture, scheme)
        if head is not None:
            linears.append(head)
            left += 0 if kept.get(head.name) else head.rows * head.columns
        progress.stage("calibrate", max(left, 1), "weights")
        walk = CalibrateWalk(
            architecture,
            sequences,
            place,
            SourceWeights(checkpoint),
            scheme,
            kept,
            progress.advance,
            workers,
        )
        # One thread for NumPy's products, so that sums keep their order.
        with threadpool_limits(1, "blas"):
            states = walk.run()
            if head is not None:
                walk.quantize_head(head, states)
        place.keep()
        yield Calibration(frozenset(t.name for t in linears), sequences.tokens, kept)


def _coarse_head(architecture: Architecture, scheme: Scheme) -> Linear | None:
    """The LM head, where there is something to win: 8 bits lose next to nothing."""
    head = architecture.embedding.head or architecture.embedding.tokens
    format = format_named(scheme.others.get(head.name, scheme.head))
    return head if format.group_size and format.bits < 8 else None
