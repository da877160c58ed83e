"""A model of the Hugging Face Hub, downloaded into the Hub's own cache."""

from __future__ import annotations

import re
from contextlib import suppress
from glob import escape
from pathlib import Path

from lfm_edge.extras import missing_dependency
from lfm_edge.file_names import CHAT_TEMPLATES

from ..errors import CheckpointError
from .base import COMPANION_FILES, quoted
from .folder import FolderCheckpoint, shards_within

__all__ = ["is_hub_id", "open_hub"]

_WEIGHTS = ["*.safetensors", "*.safetensors.index.json"]
_FILES = [
    "config.json",
    "adapter_config.json",
    *COMPANION_FILES,
    f"{CHAT_TEMPLATES}/*.jinja",
    *_WEIGHTS,
]
_OF_FOLDERS = [f"*/{pattern}" for pattern in _WEIGHTS]  # a * of these patterns matches a / too


def is_hub_id(source: str) -> bool:
    """Whether `source` looks like `org/name`."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source, re.ASCII) is not None


def open_hub(repository: str, revision: str | None) -> FolderCheckpoint:
    """Downloads the files that the cache lacks, with progress bars, and opens the model.

    A download that breaks off keeps the files that arrived; the next one continues there.

    Args:
        repository: `org/name`.
        revision: branch, tag or commit; by default the main branch.

    Raises:
        CheckpointError: the download failed, or what came is no checkpoint.
        MissingDependencyError: huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - optional
    except ImportError:
        raise missing_dependency("huggingface_hub") from None
    try:
        folder = Path(
            snapshot_download(
                repository, revision=revision, allow_patterns=_FILES, ignore_patterns=_OF_FOLDERS
            )
        )
        if nested := _nested(folder):
            snapshot_download(repository, revision=folder.name, allow_patterns=nested)
    # Among others, errors of the HTTP library below, which differs between versions of the client.
    except Exception as error:
        raise CheckpointError(_explain(repository, revision, error)) from error
    return FolderCheckpoint(folder, f"{repository}@{folder.name[:12]}")


def _nested(folder: Path) -> list[str]:
    """Patterns of the shards in folders of their own, which are few people's; else nothing."""
    with suppress(CheckpointError):  # which opening the folder raises again
        return [escape(shard) for shard in shards_within(folder)]
    return []


def _explain(repository: str, revision: str | None, error: Exception) -> str:
    from huggingface_hub.errors import (  # noqa: PLC0415 - optional
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return f"{repository}: accept its licence on the Hub, then run hf auth login"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{repository}: no such folder here and no such model on the Hub "
            "(a private one needs hf auth login)"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{repository}: the Hub has no revision {quoted(revision or 'main')} of it"
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return f"{repository}: cannot be downloaded ({reason}); run again to continue"
