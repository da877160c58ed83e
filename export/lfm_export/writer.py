"""Writes a bundle so that nothing half-written is ever taken for one.

Everything goes into a folder beside the destination, which takes the destination's name only when
the bundle is complete and opens. Whatever a killed export left behind is removed by the next; a
lock, which the system drops with its process, says whether one is still at work.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout
from lfm_edge.bundle import MANIFEST, FileEntry, Manifest, file_entry
from lfm_edge.bundle_folder import restore_replaced

from .checkpoint.base import quoted
from .errors import ExportError
from .exchange import exchange

_MOUNT = "a mount point, which cannot be replaced; choose a folder within it"
_OF_FILE_MANAGERS = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})

__all__ = ["bundle_folder", "describe_files", "folder_size", "write_manifest"]


@contextmanager
def bundle_folder(out: Path) -> Iterator[Path]:
    """An empty folder to write to, which becomes `out` when the block ends without an error.

    An earlier bundle at `out` is replaced; anything else there is left alone and refused. Wherever
    the process is killed, `out` is the earlier bundle or the new one.

    Raises:
        ExportError: `out` is in the way, another export writes it, or the disk is full or refuses
            to be written.
    """
    try:
        place = _place(out)
        with _folders_above(place), _only_export_to(place):
            restore_replaced(place)
            _remove_leftovers(place)
            partial = place.with_name(f".{place.name}.partial-{os.getpid()}")
            partial.mkdir()
            try:
                yield partial
                _check_replaceable(place)
                _move_into_place(partial, place)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise _explain(error, out) from None


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


def _place(out: Path) -> Path:
    """Where a bundle is to lie: what a link stands for is replaced, not the link."""
    out = out.absolute()
    _check_replaceable(out)
    try:
        place = out.resolve()
    except RuntimeError:
        raise ExportError(f"{out}: is a link to itself; remove it") from None
    if Path.cwd().is_relative_to(place):
        raise ExportError(f"{out}: is the current folder, which cannot be replaced; leave it first")
    if place.is_mount():
        raise ExportError(f"{out}: is {_MOUNT}")
    return place


@contextmanager
def _folders_above(place: Path) -> Iterator[None]:
    """Makes those that are missing, and removes them again if nothing comes of it."""
    missing = [folder for folder in place.parents if not folder.exists()]
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


class _Outline(msgspec.Struct):
    """What a manifest of any version has."""

    format_version: str
    files: dict[str, msgspec.Raw]


def _check_replaceable(out: Path) -> None:
    """An empty folder may be replaced, and a bundle in which nothing else lies."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        text = (out / MANIFEST).read_bytes() if (out / MANIFEST).is_file() else b""  # not of a pipe
        outline = msgspec.json.decode(text, type=_Outline)
    except (OSError, msgspec.MsgspecError, RecursionError):
        raise ExportError(f"{out}: exists and is not a bundle; choose another place") from None
    ours = {MANIFEST, *outline.files}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if not path.is_dir() and name not in ours and path.name not in _OF_FILE_MANAGERS:
            raise ExportError(
                f"{out}: holds {quoted(name)}, which is no part of the bundle there and would be "
                "lost; move it or choose another place"
            )


@contextmanager
def _only_export_to(out: Path) -> Iterator[None]:
    file = out.with_name(f".{out.name}.lock")
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        _require_files(out)
        raise ExportError(
            f"{out}: another export is writing this bundle; let it end or choose another place"
        ) from None
    try:
        yield
    finally:
        # Whoever opened it in the meantime sees that the name is gone, and does not take it.
        # Windows removes no open file; there, `release` does.
        with contextlib.suppress(OSError):
            file.unlink()
        lock.release()


def _require_files(out: Path) -> None:
    """Where no file can be made, as in /proc, a lock is not taken either."""
    try:
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError:
        raise ExportError(f"{out}: no file can be made beside it; choose another place") from None


def _remove_leftovers(out: Path) -> None:
    """Removes what killed exports left: with the lock in our hands, all of them are dead."""
    ours = re.compile(rf"\.{re.escape(out.name)}\.partial-\d+(\.old)?")
    for path in out.parent.iterdir():
        if ours.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)


def _move_into_place(partial: Path, out: Path) -> None:
    """Gives the new bundle its name; an earlier one is then at `partial`, to be removed."""
    if not out.exists():
        partial.rename(out)
    elif not exchange(partial, out):
        # Killed between the renames, `out` is missing: whoever opens it puts the old one back.
        old = partial.with_name(f"{partial.name}.old")
        out.rename(old)
        try:
            partial.rename(out)
        except OSError:
            restore_replaced(out)
            raise
        old.rename(partial)


def _explain(error: OSError, out: Path) -> ExportError:
    if error.errno == errno.EBUSY:
        return ExportError(f"{out}: is in use, perhaps as {_MOUNT}")
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    reason = "no space left on the device" if full else error.strerror or error
    return ExportError(f"{error.filename or out}: {reason}; nothing was written")
