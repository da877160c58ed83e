"""What tells one evaluation's bundle and source from another's."""

from __future__ import annotations

import hashlib

from lfm_edge.bundle import MANIFEST, Bundle

from ..architecture import Architecture
from ..checkpoint import Checkpoint
from ..walk import Sequences, checkpoint_identity

__all__ = ["identity_of"]


def identity_of(
    bundle: Bundle,
    checkpoint: Checkpoint | None,
    architecture: Architecture | None,
    sequences: Sequences | None = None,
) -> str:
    """The same for the same bundle and source and, where they are given, sequences."""
    sha = hashlib.sha256((bundle.folder / MANIFEST).read_bytes())
    if sequences is not None:
        sha.update(sequences.digest().encode())
    if checkpoint is not None and architecture is not None:
        sha.update(checkpoint_identity(checkpoint, architecture).encode())
    return sha.hexdigest()
