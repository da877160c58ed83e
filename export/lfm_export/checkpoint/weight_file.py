"""A file of weights, open for reading just the bytes that are asked for.

Files are read with `preadv` and not mapped: mapped pages count as resident memory, and an export
must stay small beside a checkpoint of many gigabytes.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import CheckpointError
from .base import require_file

__all__ = ["WeightFile"]


class WeightFile:
    """An open file, safe to read from many threads."""

    def __init__(self, path: Path) -> None:
        """Opens `path`.

        Raises:
            CheckpointError: the file is missing or cannot be opened.
        """
        self.path = path
        require_file(path)
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self.error(f"cannot be opened: {error.strerror}") from None
        self.size = os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)

    def error(self, message: str) -> CheckpointError:
        """An error that names this file."""
        return CheckpointError(f"{self.path}: {message}")

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fills `buffer` with the bytes from `offset` on.

        Raises:
            CheckpointError: the file ends too early or the disk fails.
        """
        done = 0
        while done < len(buffer):
            try:
                count = os.preadv(self._descriptor, [buffer[done:]], offset + done)
            except OSError as error:
                raise self.error(f"cannot be read: {error.strerror}") from None
            if not count:
                raise self.error(f"ends at byte {offset + done}, expected more; download it again")
            done += count
