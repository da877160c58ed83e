"""Q8_0 and Q4_0, whose groups of 32 weights with one float16 scale are those of our q8 and q4.

Q8_0 holds the integers of our q6, too: Q6_K has other groups and scales. Q4_0 holds those of our
q4_64, each scale twice.

A block is the scale and then the integers: 32 signed bytes, or 16 bytes of which each holds value
`i` + 8 in its low half and value `i + 16` + 8 in its high half.
"""

from __future__ import annotations

import numpy as np
from lfm_ops.formats import format_named
from lfm_ops.quantized import BLOCK_SIZE, QuantizedTensor
from numpy.typing import NDArray

__all__ = ["GGUF_TYPES", "INTEGER_FORMATS", "from_blocks", "row_bytes", "to_blocks"]

GGUF_TYPES = {"f32": "F32", "q8": "Q8_0", "q6": "Q8_0", "q4": "Q4_0", "q4_64": "Q4_0"}
"""What holds each of our formats."""
INTEGER_FORMATS = {"Q8_0": "q8", "Q4_0": "q4"}
"""Which of our formats holds a type as it is."""

_BLOCK_BYTES = {"q8": 34, "q6": 34, "q4": 18, "q4_64": 18}
_SCALE_BYTES = 2
_HALF = BLOCK_SIZE // 2


def row_bytes(format: str, columns: int) -> int:
    """Bytes of a row of so many weights."""
    return 4 * columns if format == "f32" else columns // BLOCK_SIZE * _BLOCK_BYTES[format]


def to_blocks(weight: QuantizedTensor) -> NDArray[np.uint8]:
    """The bytes of a matrix `[rows, row_bytes]`."""
    rows, columns = weight.shape
    if weight.scales is None:
        return np.ascontiguousarray(weight.values).view(np.uint8).reshape(rows, 4 * columns)
    groups = weight.values.reshape(rows, -1, BLOCK_SIZE)
    if weight.format.bits == 4:
        unsigned = (groups + np.int8(8)).view(np.uint8)
        integers = unsigned[..., :_HALF] | unsigned[..., _HALF:] << np.uint8(4)
    else:
        integers = groups.view(np.uint8)
    scales = np.repeat(weight.scales, weight.format.group_size // BLOCK_SIZE, axis=1)
    scales = scales.astype("<f2").view(np.uint8)
    blocks = np.concatenate([scales.reshape(rows, -1, _SCALE_BYTES), integers], axis=-1)
    return blocks.reshape(rows, -1)


def from_blocks(data: NDArray[np.uint8], format: str) -> QuantizedTensor:
    """The inverse of `to_blocks`, for one of the formats with integers."""
    blocks = data.reshape(len(data), -1, _BLOCK_BYTES[format])
    scales = np.ascontiguousarray(blocks[..., :_SCALE_BYTES]).view("<f2")[..., 0]
    integers = blocks[..., _SCALE_BYTES:]
    if format == "q4":
        halves = np.concatenate([integers & 15, integers >> 4], axis=-1)
        values = halves.view(np.int8) - np.int8(8)
    else:
        values = np.ascontiguousarray(integers).view(np.int8)
    return QuantizedTensor(
        format_named(format), values.reshape(len(data), -1), scales.astype(np.float16)
    )
