"""The core's tokenizer, asked by the program `encode_texts`."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from lfm_export.device.container import pack

from .programs import core_program

__all__ = ["CoreTokenizer", "Read"]


class Read(NamedTuple):
    """What became of a text: its ids, and the text of these."""

    ids: list[int]
    text: str


class CoreTokenizer:
    """A running program, which reads one text after the other.

    Args:
        section: a tokenizer's tables.
        folder: where its device.bin may lie.
        mode: `plain`, `special` or `prompt`.
    """

    def __init__(self, section: bytes, folder: Path, mode: str) -> None:
        path = folder / f"{mode}.bin"
        path.write_bytes(pack({"tokenizer": section}))
        self._process = subprocess.Popen(
            [core_program("encode_texts"), path, mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def read(self, text: str) -> Read:
        """Reads one text; in a `prompt`, what others wrote lies between U+E000 and U+E001."""
        data = text.encode()
        _put(self._process.stdin, [struct.pack("<I", len(data)), data])
        return Read(np.frombuffer(self._part(4), np.int32).tolist(), self._part(1).decode())

    def refusal(self, text: str) -> str:
        """What the program ends with instead of ids."""
        data = text.encode()
        _, message = self._process.communicate(struct.pack("<I", len(data)) + data)
        assert self._process.returncode == 1
        return message.decode().removesuffix("\n")

    def close(self) -> None:
        """Ends the program."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(60) == 0

    def _part(self, width: int) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        head = stdout.read(4)
        assert len(head) == 4, "the program has ended"
        return stdout.read(struct.unpack("<I", head)[0] * width)


def _put(pipe: IO[bytes] | None, parts: Iterable[bytes]) -> None:
    assert pipe is not None
    for part in parts:
        pipe.write(part)
    pipe.flush()
