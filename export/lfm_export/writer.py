"""Writes a bundle so that nothing half-written is ever taken for one.

Everything goes into a folder beside the destination, which takes the destination's name only when
the manifest is in it. Whatever an interrupted export left behind is removed by the next.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
from lfm_edge.bundle import MANIFEST, FileEntry, Manifest, file_entry

from .errors import ExportError

__all__ = ["bundle_folder", "copy_files", "describe_files", "folder_size", "write_manifest"]


@contextmanager
def bundle_folder(out: Path) -> Iterator[Path]:
    """An empty folder to write to, which becomes `out` when the block ends without an error.

    An earlier bundle at `out` is replaced; anything else there is left alone and refused.

    Raises:
        ExportError: `out` is in the way, or the disk is full or refuses to be written.
    """
    out = out.absolute()
    if out.exists() and not _is_replaceable(out):
        raise ExportError(f"{out}: exists and is not a bundle; choose another place")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(out)
        partial = _partial(out, os.getpid())
        partial.mkdir()
        try:
            yield partial
            _move_into_place(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise _explain(error, out) from None


def copy_files(files: Mapping[str, Path], folder: Path) -> None:
    """Copies the tokenizer's files and their like."""
    for name, path in files.items():
        shutil.copyfile(path, folder / name)


def describe_files(folder: Path, progress: Callable[[int], None]) -> dict[str, FileEntry]:
    """Sizes and hashes of all that was written; `progress` receives bytes."""
    paths = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    return {name: file_entry(path, progress) for name, path in paths.items()}


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder and those within it."""
    return sum(path.stat().st_size for path in _files(folder))


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Writes `manifest.json`, the last file of a bundle."""
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    (folder / MANIFEST).write_bytes(data)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _partial(out: Path, process: int) -> Path:
    return out.with_name(f".{out.name}.partial-{process}")


def _is_replaceable(out: Path) -> bool:
    return out.is_dir() and ((out / MANIFEST).is_file() or not any(out.iterdir()))


def _remove_leftovers(out: Path) -> None:
    prefix = _partial(out, 0).name.removesuffix("0")
    for path in out.parent.iterdir():
        process = path.name.removeprefix(prefix)
        if path.name.startswith(prefix) and process.isdigit():
            if int(process) != os.getpid() and psutil.pid_exists(int(process)):
                raise ExportError(f"{out}: process {process} is writing this bundle")
            shutil.rmtree(path)


def _move_into_place(partial: Path, out: Path) -> None:
    """Renames; an earlier bundle is moved aside first: a folder cannot be replaced at once."""
    if not out.exists():
        partial.rename(out)
        return
    old = partial.with_name(f"{partial.name}.old")
    out.rename(old)
    try:
        partial.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _explain(error: OSError, out: Path) -> ExportError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return ExportError(f"{out}: no space left on the device; nothing was written")
    where = f"{error.filename}: " if error.filename else f"{out}: "
    return ExportError(f"{where}{error.strerror or error}; nothing was written")
