"""The packed weight layout, as `include/lfm_ops/layout.h` describes it: pack and unpack.

A tile holds 32 rows x 32 columns. Its dtypes below are the layout: `words` are four neighbouring
columns of one row, a byte each (of 4 bits: a nibble of two rows), stored row after row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .quantized import BLOCK_SIZE, QuantizedTensor

__all__ = ["BLOCK_ROWS", "LAYOUT_VERSION", "interleave_blocks", "pack", "packed_bytes", "unpack"]

LAYOUT_VERSION = 1
BLOCK_ROWS = 32

_TILES = {
    4: np.dtype([("words", "<u4", (8, 16)), ("scales", "<f2", (32,))]),  # [step][row]
    8: np.dtype([("words", "<u4", (8, 2, 16)), ("scales", "<f2", (32,))]),  # [step][half][row]
    32: np.dtype([("floats", "<f4", (32, 32))]),  # [column][row]
}
_NIBBLES = np.uint32(0x0F0F0F0F)
_EIGHTS = np.uint32(0x08080808)
_VALUES_AT_ONCE = 1 << 18  # so that what lies between source and target stays in the cache


def packed_bytes(bits: int, rows: int, columns: int, block_size: int = BLOCK_SIZE) -> int:
    """Bytes of a packed matrix.

    Raises:
        ValueError: weights that the layout has no place for.
    """
    return _blocks(rows) * _groups(bits, columns, block_size) * _TILES[bits].itemsize


def pack(tensor: QuantizedTensor) -> NDArray[np.uint8]:
    """Packs a matrix; rows missing to a multiple of 32 become zeros with scale zero.

    Raises:
        ValueError: weights that the layout has no place for.
    """
    rows, columns = tensor.shape
    shape = _blocks(rows), _groups(tensor.bits, columns, tensor.block_size)
    packed = np.empty(shape, _TILES[tensor.bits])
    for part in _parts(rows, columns):
        _pack_blocks(
            _whole_blocks(tensor.rows(part.start * BLOCK_ROWS, part.stop * BLOCK_ROWS)),
            packed[part],
        )
    return packed.reshape(-1).view(np.uint8)


def unpack(
    packed: NDArray[np.uint8], bits: int, rows: int, columns: int, block_size: int = BLOCK_SIZE
) -> QuantizedTensor:
    """The matrix that was packed.

    Raises:
        ValueError: a number of bytes that is not the matrix's, or weights that cannot be packed.
    """
    expected = packed_bytes(bits, rows, columns, block_size)
    if packed.dtype != np.uint8 or packed.shape != (expected,):
        raise ValueError(
            f"packed weights of {bits} bits [{rows}, {columns}]: expected {expected} bytes,"
            f" got {packed.dtype} {list(packed.shape)}"
        )
    padded = _blocks(rows) * BLOCK_ROWS
    tiles = packed.view(_TILES[bits]).reshape(_blocks(rows), -1)
    values = np.empty((padded, columns), np.float32 if bits == 32 else np.int8)
    for part in _parts(rows, columns):
        _unpack_blocks(tiles[part], values[part.start * BLOCK_ROWS : part.stop * BLOCK_ROWS], bits)
    scales = None
    if bits != 32:
        scales = tiles["scales"].transpose(0, 2, 1).reshape(padded, -1)[:rows]
    return QuantizedTensor(bits, values[:rows], scales, block_size)


def interleave_blocks(gate: QuantizedTensor, up: QuantizedTensor) -> QuantizedTensor:
    """One matrix whose blocks of 32 rows come from `gate` and `up` in turn.

    Raises:
        ValueError: unlike matrices, or a number of rows that is not a multiple of 32.
    """
    if (gate.bits, gate.shape, gate.block_size) != (up.bits, up.shape, up.block_size):
        raise ValueError(
            f"gate of {gate.bits} bits {list(gate.shape)} and up of {up.bits} bits"
            f" {list(up.shape)} must be alike"
        )
    if gate.shape[0] % BLOCK_ROWS:
        raise ValueError(f"gate and up have {gate.shape[0]} rows: not a multiple of {BLOCK_ROWS}")
    scales = None
    if gate.scales is not None and up.scales is not None:
        scales = _alternate(gate.scales, up.scales)
    return QuantizedTensor(gate.bits, _alternate(gate.values, up.values), scales, gate.block_size)


def _alternate(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    columns = first.shape[1]
    parts = [part.reshape(-1, BLOCK_ROWS, columns) for part in (first, second)]
    both: NDArray[Any] = np.stack(parts, axis=1)
    return both.reshape(-1, columns)


def _blocks(rows: int) -> int:
    return -(-rows // BLOCK_ROWS)


def _groups(bits: int, columns: int, block_size: int) -> int:
    if bits not in _TILES:
        raise ValueError(f"weights of {bits} bits: expected 4, 8 or 32")
    if block_size != BLOCK_SIZE:
        raise ValueError(f"weights in groups of {block_size}: expected {BLOCK_SIZE}")
    if columns % block_size:
        raise ValueError(f"weights of {columns} columns: not a multiple of {block_size}")
    return columns // block_size


def _parts(rows: int, columns: int) -> Iterator[slice]:
    """Ranges of blocks, a cacheful at a time."""
    step = max(1, _VALUES_AT_ONCE // (BLOCK_ROWS * max(columns, 1)))
    for start in range(0, _blocks(rows), step):
        yield slice(start, min(start + step, _blocks(rows)))


def _whole_blocks(tensor: QuantizedTensor) -> QuantizedTensor:
    missing = -tensor.shape[0] % BLOCK_ROWS
    if not missing:
        return tensor
    padding = ((0, missing), (0, 0))
    values: NDArray[Any] = np.pad(tensor.values, padding)
    scales = None if tensor.scales is None else np.pad(tensor.scales, padding)
    return QuantizedTensor(tensor.bits, values, scales, tensor.block_size)


def _pack_blocks(tensor: QuantizedTensor, tiles: NDArray[np.void]) -> None:
    blocks, groups = tiles.shape
    values = np.ascontiguousarray(tensor.values)
    if tensor.scales is None:
        floats = values.reshape(blocks, BLOCK_ROWS, groups, BLOCK_SIZE)
        tiles["floats"] = floats.transpose(0, 2, 3, 1)
        return
    tiles["scales"] = tensor.scales.reshape(blocks, BLOCK_ROWS, groups).transpose(0, 2, 1)
    words = values.view(np.uint32).reshape(blocks, 2, 16, groups, 8)
    if tensor.bits == 8:
        tiles["words"] = words.transpose(0, 3, 4, 1, 2)
        return
    nibbles = (words ^ _EIGHTS) & _NIBBLES  # value + 8, in every byte
    both = nibbles[:, 0] | nibbles[:, 1] << 4
    tiles["words"] = both.transpose(0, 2, 3, 1)


def _unpack_blocks(tiles: NDArray[np.void], values: NDArray[np.generic], bits: int) -> None:
    blocks, groups = tiles.shape
    if bits == 32:
        floats = values.reshape(blocks, BLOCK_ROWS, groups, BLOCK_SIZE)
        floats[:] = tiles["floats"].transpose(0, 3, 1, 2)
        return
    words = values.view(np.uint32).reshape(blocks, 2, 16, groups, 8)
    if bits == 8:
        words[:] = tiles["words"].transpose(0, 3, 4, 1, 2)
        return
    both = tiles["words"].transpose(0, 3, 1, 2)
    for half in range(2):
        nibbles = both >> np.uint32(4 * half) & _NIBBLES
        low = nibbles ^ _EIGHTS  # the low half of the value's two's complement
        words[:, half] = low | (low & _EIGHTS) * np.uint32(0x1E)  # 8 * 0x1e is 0xf0: the sign
