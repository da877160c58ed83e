"""From what a user types to an open checkpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..errors import CheckpointError
from .base import Checkpoint, quoted
from .folder import FolderCheckpoint
from .foreign import explain_file
from .hub import is_hub_id, open_hub
from .synthetic import PREFIX, open_synthetic

__all__ = ["open_checkpoint"]


def open_checkpoint(
    source: str,
    *,
    revision: str | None = None,
    seed: int | None = None,
    tokenizer: Path | None = None,
) -> Checkpoint:
    """Opens a checkpoint; nothing but headers is read yet.

    Args:
        source: a local folder, a GGUF file, `synthetic:SHAPE[:LAYERS]`, or a Hub id `org/name`.
        revision: branch, tag or commit, for a Hub id only.
        seed: of synthetic weights only; by default 0.
        tokenizer: a folder with the tokenizer of synthetic weights, instead of the shipped model's.

    Raises:
        CheckpointError: there is no such source, or it is damaged; one line names what.
        MissingDependencyError: a Hub id without huggingface_hub installed.
    """
    if not source:
        raise CheckpointError(
            "the source is empty; expected a folder, a GGUF file, synthetic:... or a Hub id"
        )
    try:
        checkpoint = _open(source, revision, seed, tokenizer)
    except OSError as error:
        where = error.filename or source
        raise CheckpointError(f"{where}: cannot be read: {error.strerror or error}") from None
    place = str(Path(source).absolute()) if Path(source).exists() else source
    made_from = None if tokenizer is None else tokenizer.absolute()
    checkpoint.reopen = partial(
        open_checkpoint, place, revision=revision, seed=seed, tokenizer=made_from
    )
    return checkpoint


def _open(
    source: str, revision: str | None, seed: int | None, tokenizer: Path | None
) -> Checkpoint:
    path, synthetic = Path(source), source.startswith(PREFIX)
    hub = not synthetic and is_hub_id(source) and not path.exists()
    if revision is not None and not hub:
        raise CheckpointError(f"--revision {revision}: only for a model of the Hub, not {source}")
    if seed is not None and not synthetic:
        raise CheckpointError(f"--seed {seed}: only for {PREFIX}SHAPE, not {source}")
    if tokenizer is not None and not synthetic:
        raise CheckpointError(f"--tokenizer {tokenizer}: only for {PREFIX}SHAPE, not {source}")
    if synthetic:
        return open_synthetic(source, seed or 0, tokenizer)
    if path.is_dir():
        return FolderCheckpoint(path)
    if path.is_file():
        if _is_gguf(path):
            # Imported here: no other source needs the gguf package.
            from .gguf import GgufCheckpoint  # noqa: PLC0415

            return GgufCheckpoint(path)
        raise CheckpointError(f"{quoted(source)}: {explain_file(path)} (not a folder)")
    if hub:
        return open_hub(source, revision)
    raise CheckpointError(
        f"{quoted(source)}: not a folder or GGUF file, not a Hub id (org/name), "
        f"not {PREFIX}SHAPE[:LAYERS]"
    )


def _is_gguf(path: Path) -> bool:
    """By its name, or by its first bytes."""
    if path.suffix.lower() == ".gguf":
        return True
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"
