"""Arrays that an earlier process kept in a file, whole or absent."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["keep_arrays", "kept_arrays", "naming", "part_of"]

_DIGEST = 64  # hexadecimal digits of SHA-256

# NumPy parses a file's header by `ast`, at which two threads of CPython 3.11 disturb each other:
# "AST constructor recursion depth mismatch" (CPython issue 106905).
_parsing = threading.Lock()


def keep_arrays(file: Path, **arrays: NDArray[Any]) -> None:
    """Writes an `.npz` file, and behind its end the digest of all that is before.

    Raises:
        OSError: the disk has no room for it.
    """
    made = BytesIO()
    np.savez(made, **arrays)  # type: ignore[arg-type] # its stub lacks the names
    content, part = made.getbuffer(), part_of(file)
    with naming(file):
        with part.open("wb") as new:
            new.write(content)
            new.write(_digest(content))
        part.replace(file)


def kept_arrays(file: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays that `keep_arrays` wrote; a damaged file is as good as none.

    Its digest is compared before anything is parsed: what a changed file makes of NumPy and zipfile
    is any of a dozen errors, or arrays of another shape.

    Raises:
        OSError: the disk does not give what is there.
    """
    try:
        with naming(file):
            content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if _digest(memoryview(content)[:-_DIGEST]) != content[-_DIGEST:]:
        return None
    with _parsing, np.load(BytesIO(content)) as arrays:
        return dict(arrays)


def part_of(file: Path) -> Path:
    """Where a file lies while it is written."""
    return file.with_suffix(f".part{file.suffix}")


@contextlib.contextmanager
def naming(file: Path) -> Iterator[None]:
    """An error of the disk within the block names `file`, which that of a full one does not."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(file)) from None


def _digest(content: memoryview) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
