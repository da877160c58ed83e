"""A bundle's folder: where its files may lie, and which of them its graph is made of."""

from __future__ import annotations

import contextlib
import mmap
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from .file_names import MANIFEST

__all__ = ["restore_replaced", "stays_within", "unlisted_of_graph"]


def stays_within(folder: Path, path: Path) -> bool:
    """Whether no link leads `path` out of `folder`, or only to the blobs of its Hub cache.

    There, `REPO/snapshots/COMMIT` holds links to files in `REPO/blobs`.
    """
    try:
        home, target = folder.resolve(), path.resolve()
    except RuntimeError:  # a link that leads to itself
        return False
    caches = [parent.parent for parent in home.parents if parent.name == "snapshots"]
    return any(target.is_relative_to(place) for place in (home, *(c / "blobs" for c in caches)))


def restore_replaced(folder: Path) -> None:
    """Puts a bundle back that an export was killed while replacing, if `folder` is missing.

    Where the system cannot exchange two folders, an export moves the earlier bundle aside, to
    `.NAME.partial-N.old`, for the moment before the new one takes its name.
    """
    if folder.exists() or not folder.parent.is_dir():
        return
    for path in folder.parent.iterdir():
        name = path.name.removesuffix(".old")
        if (
            name != path.name
            and name.startswith(f".{folder.name}.partial-")
            and (path / MANIFEST).is_file()
        ):
            with contextlib.suppress(OSError):  # where nothing may be written, it is missing
                path.rename(folder)
            return


def unlisted_of_graph(folder: Path, graph: Path, listed: Collection[str]) -> str | None:
    """The first file that the graph is made of, but that is not one of `listed`.

    That is any file in the graph's own folder, or one whose name an ONNX graph gives as the place
    of its weights. Others that lie in the bundle's folder are none of its business.
    """
    names = (path.relative_to(folder).as_posix() for path in _files(folder))
    unlisted = [name for name in names if name not in listed]
    if graph.is_dir():
        return next((name for name in unlisted if name.startswith(f"{graph.name}/")), None)
    if not unlisted or not graph.stat().st_size:  # what is empty cannot be mapped
        return None
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return next((name for name in unlisted if _external(name).search(data)), None)


def _external(name: str) -> re.Pattern[bytes]:
    """What an ONNX graph says of a tensor whose values lie in the file: a key and its value."""
    spellings = (place.encode() for place in (name, f"./{name}"))
    return re.compile(
        b"|".join(re.escape(b"location\x12" + _varint(len(text)) + text) for text in spellings)
    )


def _varint(length: int) -> bytes:
    """A length as protobuf writes it, seven bits a byte."""
    low, rest = length & 127, length >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])


def _files(folder: Path) -> Iterator[Path]:
    """All files but the hidden ones, which a file manager may leave anywhere."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path
