"""A checkpoint's configuration and weights together: what neither says alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .architecture import Architecture, Embedding, Linear, describe
from .checkpoint import Checkpoint
from .errors import CheckpointError
from .notes import Note

__all__ = ["architecture_of"]

_HEAD = "lm_head.weight"
_ROWS_BYTES = 64 << 20


def architecture_of(checkpoint: Checkpoint, note: Note) -> Architecture:
    """What `transformers` would make of a checkpoint, every tensor of it found.

    Args:
        checkpoint: its config.json and headers are read, and where it holds an LM head beside a
            tied embedding, those two.
        note: hears in a line what is passed over or changed.

    Raises:
        ArchitectureError: config.json is wrong or of no model of ours.
        CheckpointError: a tensor is missing, misshapen or another tool's.
    """
    architecture = describe(checkpoint.config, note)
    embedding = _embedding(checkpoint, architecture.embedding, note)
    architecture = replace(architecture, embedding=embedding)
    checkpoint.check(architecture.tensors(), note)
    return architecture


def _embedding(checkpoint: Checkpoint, embedding: Embedding, note: Note) -> Embedding:
    """The embedding and head that are stored, whatever `tie_word_embeddings` says."""
    tokens, stored = embedding.tokens, checkpoint.shapes
    if embedding.head is not None:
        if _HEAD not in stored and tokens.name in stored:
            raise CheckpointError(
                f"{checkpoint.name}: tensor {_HEAD} {list(tokens.shape)} is missing, but "
                "config.json says that it is not tied (tie_word_embeddings false)"
            )
        return embedding
    if _HEAD not in stored:
        return embedding
    head = replace(tokens, name=_HEAD)
    if tokens.name not in stored:
        return Embedding(head, None)
    if _equal(checkpoint, tokens, head):
        return embedding
    note(
        f"config.json ties the LM head to the embedding, but {_HEAD} is stored and differs: "
        "both are exported, untied, as transformers does"
    )
    return Embedding(tokens, head)


def _equal(checkpoint: Checkpoint, one: Linear, other: Linear) -> bool:
    if checkpoint.shapes[one.name] != checkpoint.shapes[other.name]:
        return False
    total = checkpoint.shapes[one.name][0]
    rows = max(1, _ROWS_BYTES // (4 * one.columns))
    return all(
        np.array_equal(
            checkpoint.read(one.name, start, min(start + rows, total)),
            checkpoint.read(other.name, start, min(start + rows, total)),
        )
        for start in range(0, total, rows)
    )
