"""From what a user types to an open checkpoint."""

from __future__ import annotations

from pathlib import Path

from ..errors import CheckpointError
from .base import Checkpoint, quoted
from .folder import FolderCheckpoint
from .hub import is_hub_id, open_hub
from .synthetic import PREFIX, open_synthetic

__all__ = ["open_checkpoint"]


def open_checkpoint(
    source: str, *, revision: str | None = None, seed: int = 0, tokenizer: Path | None = None
) -> Checkpoint:
    """Opens a checkpoint; nothing but headers is read yet.

    Args:
        source: a local folder, `synthetic:SHAPE[:LAYERS]`, or a Hub id `org/name`.
        revision: branch, tag or commit, for a Hub id only.
        seed: of synthetic weights.
        tokenizer: a folder with the tokenizer of synthetic weights, instead of the shipped model's.

    Raises:
        CheckpointError: there is no such source, or it is damaged; one line names what.
        MissingDependencyError: a Hub id without huggingface_hub installed.
    """
    if source.startswith(PREFIX):
        return open_synthetic(source, seed, tokenizer)
    if tokenizer is not None:
        raise CheckpointError(
            f"--tokenizer: {quoted(source)} has a tokenizer of its own; only {PREFIX} takes another"
        )
    if Path(source).is_dir():
        return FolderCheckpoint(Path(source))
    if not Path(source).exists() and is_hub_id(source):
        return open_hub(source, revision)
    raise CheckpointError(
        f"{quoted(source)}: not a folder, not a Hub id (org/name), not {PREFIX}SHAPE[:LAYERS]"
    )
