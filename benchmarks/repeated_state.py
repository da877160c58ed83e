"""A state of llama.cpp made longer: what it holds of some tokens, over and over."""

from __future__ import annotations

import struct
from typing import Any

__all__ = ["repeated"]

ONE_STREAM = ONE_CELL = 1
ROWS_NOT_TRANSPOSED = 0


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, layout: str) -> tuple[Any, ...]:
        found = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return found

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]


def repeated(state: bytes, tokens: int) -> bytes:
    """The state of a sequence of `tokens` positions, by the keys and values of a shorter one.

    How long a token takes does not depend on what they are. The layout is what
    `llama_state_seq_get_data` of llama-cpp-python 0.3.36 writes of a model with caches for
    attention and for convolutions: positions, then rows of keys and of values by layer, then the
    convolutions' state, which is that of the last position.

    Raises:
        RuntimeError: another layout.
    """
    reader = _Reader(state)
    magic, sequence, streams, cells = reader.take("<IiII")
    if streams != ONE_STREAM or not 0 < cells <= tokens:
        raise RuntimeError(f"llama.cpp's state: {streams} streams of {cells} tokens")
    for _ in range(cells):
        _, sequences = reader.take("<iI")
        reader.take(f"<{sequences}i")
    made = [struct.pack("<IiII", magic, sequence, ONE_STREAM, tokens)]
    made += [struct.pack("<iIi", position, 1, sequence) for position in range(tokens)]
    transposed, layers = reader.take("<II")
    if transposed != ROWS_NOT_TRANSPOSED:
        raise RuntimeError("llama.cpp's state: values are transposed")
    made.append(struct.pack("<II", transposed, layers))
    for _ in range(2 * layers):
        kind, row = reader.take("<iQ")
        rows = reader.bytes(cells * row)
        made += [struct.pack("<iQ", kind, row), (rows * -(-tokens // cells))[: tokens * row]]
    count, position = reader.take("<Ii")
    if (count, position) != (ONE_CELL, cells - 1):
        raise RuntimeError(f"llama.cpp's state: {count} convolution states, at {position}")
    made += [struct.pack("<Ii", count, tokens - 1), state[reader.at :]]
    return b"".join(made)
