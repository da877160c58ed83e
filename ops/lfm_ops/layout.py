"""The packed weight layout, as `include/lfm_ops/layout.h` describes it: pack and unpack.

A tile holds 32 rows x 32 columns, or as many as a group has: the weights as its format's
`TileCodec` lays them out, then the scales of the rows, where the format has such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import Format
from .quantized import QuantizedTensor, common_format

__all__ = [
    "BLOCK_COLUMNS",
    "BLOCK_ROWS",
    "CODECS",
    "LAYOUT_VERSION",
    "TileCodec",
    "interleave_blocks",
    "pack",
    "packed_bytes",
    "unpack",
]

LAYOUT_VERSION = 1
BLOCK_ROWS = 32
BLOCK_COLUMNS = 32

Values = NDArray[Any]

_NIBBLES = np.uint32(0x0F0F0F0F)
_EIGHTS = np.uint32(0x08080808)
_PAIRS = np.uint32(0x03030303)
_SIXES = np.uint32(0x3F3F3F3F)
_MIDDLES = np.uint32(0x20202020)  # of six bits
_VALUES_AT_ONCE = 1 << 18  # so that what lies between source and target stays in the cache


@dataclass(frozen=True)
class TileCodec:
    """How the weights of one format lie in their tiles.

    `lines` is the dtype of a tile's weights. `pack` makes them, `[blocks, groups, ...]`, of values
    `[blocks * 32, groups * columns of a tile]`; `unpack` writes the values of such lines.
    """

    lines: np.dtype[Any]
    pack: Callable[[Values], Values]
    unpack: Callable[[Values, Values], None]


def packed_bytes(format: Format, rows: int, columns: int) -> int:
    """Bytes of a packed matrix.

    Raises:
        ValueError: weights that the layout has no place for.
    """
    return _blocks(rows) * _groups(format, columns) * _tile(format).itemsize


def pack(tensor: QuantizedTensor) -> NDArray[np.uint8]:
    """Packs a matrix; what is missing to whole tiles becomes zeros with scale zero.

    Raises:
        ValueError: weights that the layout has no place for.
    """
    rows, columns = tensor.shape
    shape = _blocks(rows), _groups(tensor.format, columns)
    packed = np.empty(shape, _tile(tensor.format))
    for part in _parts(rows, columns):
        some = tensor.rows(part.start * BLOCK_ROWS, part.stop * BLOCK_ROWS)
        tiles, missing = packed[part], -some.shape[0] % BLOCK_ROWS
        values = _padded(some.values, missing, -columns % tensor.format.tile_columns)
        tiles["lines"] = CODECS[tensor.format.name].pack(values)
        if some.scales is not None:
            scales = _padded(some.scales, missing, 0).reshape(len(tiles), BLOCK_ROWS, -1)
            tiles["scales"] = scales.transpose(0, 2, 1)
    return packed.reshape(-1).view(np.uint8)


def unpack(packed: NDArray[np.uint8], format: Format, rows: int, columns: int) -> QuantizedTensor:
    """The matrix that was packed.

    Raises:
        ValueError: a number of bytes that is not the matrix's, or weights that cannot be packed.
    """
    expected = packed_bytes(format, rows, columns)
    if packed.dtype != np.uint8 or packed.shape != (expected,):
        raise ValueError(
            f"packed {format.name} weights [{rows}, {columns}]: expected {expected} bytes,"
            f" got {packed.dtype} {list(packed.shape)}"
        )
    blocks, groups = _blocks(rows), _groups(format, columns)
    tiles = packed.view(_tile(format)).reshape(blocks, groups)
    dtype = np.int8 if format.group_size else np.float32
    values = np.empty((blocks * BLOCK_ROWS, groups * format.tile_columns), dtype)
    for part in _parts(rows, columns):
        some = values[part.start * BLOCK_ROWS : part.stop * BLOCK_ROWS]
        CODECS[format.name].unpack(tiles[part]["lines"], some)
    scales = None
    if format.group_size:
        scales = tiles["scales"].transpose(0, 2, 1).reshape(len(values), -1)[:rows]
    return QuantizedTensor(format, np.ascontiguousarray(values[:rows, :columns]), scales)


def interleave_blocks(gate: QuantizedTensor, up: QuantizedTensor) -> QuantizedTensor:
    """One matrix whose blocks of 32 rows come from `gate` and `up` in turn.

    Rows missing to whole blocks become zeros with scale zero, in either.

    Raises:
        ValueError: unlike matrices.
    """
    format = common_format([gate, up])
    if gate.shape != up.shape:
        raise ValueError(f"gate {list(gate.shape)} and up {list(up.shape)} must be alike")
    scales = None
    if gate.scales is not None and up.scales is not None:
        scales = _alternate(gate.scales, up.scales)
    return QuantizedTensor(format, _alternate(gate.values, up.values), scales)


def _alternate(first: Values, second: Values) -> Values:
    missing, columns = -len(first) % BLOCK_ROWS, first.shape[1]
    parts = [_padded(part, missing, 0).reshape(-1, BLOCK_ROWS, columns) for part in (first, second)]
    both: Values = np.stack(parts, axis=1)
    return both.reshape(-1, columns)


def _tile(format: Format) -> np.dtype[Any]:
    if format.name not in CODECS:
        raise ValueError(f"weights of format {format.name}: expected one of {', '.join(CODECS)}")
    fields: list[Any] = [("lines", CODECS[format.name].lines)]
    if format.group_size:
        fields.append(("scales", "<f2", (BLOCK_ROWS,)))
    tile = np.dtype(fields)
    assert tile.itemsize == format.tile_bytes, format
    return tile


def _blocks(rows: int) -> int:
    return -(-rows // BLOCK_ROWS)


def _groups(format: Format, columns: int) -> int:
    if not format.takes(columns):
        raise ValueError(
            f"{format.name} weights of {columns} columns: not a multiple of {format.group_size}"
        )
    return -(-columns // format.tile_columns)


def _parts(rows: int, columns: int) -> Iterator[slice]:
    """Ranges of blocks, a cacheful at a time."""
    step = max(1, _VALUES_AT_ONCE // (BLOCK_ROWS * max(columns, 1)))
    for start in range(0, _blocks(rows), step):
        yield slice(start, min(start + step, _blocks(rows)))


def _padded(values: Values, rows: int, columns: int) -> Values:
    padded: Values = np.pad(values, ((0, rows), (0, columns))) if rows or columns else values
    return padded


# Integers are moved as words: four neighbouring columns of one row, a byte each (of 4 bits: a
# nibble of two rows), stored row after row.


def _words(values: Values, steps: int = 8) -> Values:
    """Of int8 values, `[blocks, half of the rows, row, groups, step]`."""
    rows, columns = values.shape
    return values.view(np.uint32).reshape(rows // 32, 2, 16, columns // (4 * steps), steps)


def _pack_f32(values: Values) -> Values:
    rows, columns = values.shape
    floats = values.reshape(rows // BLOCK_ROWS, BLOCK_ROWS, columns // BLOCK_COLUMNS, -1)
    return floats.transpose(0, 2, 3, 1)


def _unpack_f32(lines: Values, values: Values) -> None:
    _pack_f32(values)[:] = lines


def _pack_q8(values: Values) -> Values:
    return _words(np.ascontiguousarray(values)).transpose(0, 3, 4, 1, 2)


def _unpack_q8(lines: Values, values: Values) -> None:
    _words(values).transpose(0, 3, 4, 1, 2)[:] = lines


def _pack_q4(values: Values, steps: int = 8) -> Values:
    words = _words(np.ascontiguousarray(values), steps)
    nibbles = (words ^ _EIGHTS) & _NIBBLES  # value + 8 in each byte
    both: Values = nibbles[:, 0] | nibbles[:, 1] << 4
    return both.transpose(0, 2, 3, 1)


def _unpack_q4(lines: Values, values: Values) -> None:
    words, both = _words(values, lines.shape[2]), lines.transpose(0, 3, 1, 2)
    for half in range(2):
        nibbles = both >> np.uint32(4 * half) & _NIBBLES
        low = nibbles ^ _EIGHTS  # the low half of the value's two's complement
        words[:, half] = low | (low & _EIGHTS) * np.uint32(0x1E)  # 8 * 0x1e is 0xf0: the sign


def _pack_q6(values: Values) -> Values:
    words = (_words(np.ascontiguousarray(values)) ^ _MIDDLES) & _SIXES  # value + 32 in each byte
    low, high = words & _NIBBLES, words >> np.uint32(4) & _PAIRS
    lows = low[:, 0] | low[:, 1] << 4
    even, odd = (high[..., first::2] for first in range(2))  # steps
    highs = even[:, 0] | even[:, 1] << 2 | odd[:, 0] << 4 | odd[:, 1] << 6
    return np.concatenate([lines.transpose(0, 2, 3, 1) for lines in (lows, highs)], axis=2)


def _unpack_q6(lines: Values, values: Values) -> None:
    words = _words(values)
    lows, highs = (part.transpose(0, 3, 1, 2) for part in np.split(lines, [8], axis=2))
    for half in range(2):
        low = lows >> np.uint32(4 * half) & _NIBBLES
        for odd in range(2):
            high = highs >> np.uint32(4 * odd + 2 * half) & _PAIRS
            both = (low[..., odd::2] | high << 4) ^ _MIDDLES  # the value's two's complement
            words[:, half, ..., odd::2] = both | (both & _MIDDLES) * np.uint32(6)  # and its sign


CODECS: dict[str, TileCodec] = {
    "f32": TileCodec(np.dtype(("<f4", (32, 32))), _pack_f32, _unpack_f32),  # [column][row]
    "q8": TileCodec(np.dtype(("<u4", (8, 2, 16))), _pack_q8, _unpack_q8),  # [step][half][row]
    "q6": TileCodec(np.dtype(("<u4", (12, 16))), _pack_q6, _unpack_q6),  # [4 bits, then 2][row]
    "q4": TileCodec(np.dtype(("<u4", (8, 16))), _pack_q4, _unpack_q4),  # [step][row]
    "q4_64": TileCodec(np.dtype(("<u4", (16, 16))), partial(_pack_q4, steps=16), _unpack_q4),
}
