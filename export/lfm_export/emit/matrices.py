"""Matrices put together as operators want them, and integers in the bytes that others read.

ONNX Runtime's `MatMulNBits`, `QMoE` and `GatherBlockQuantized` read unsigned integers with the
middle as zero point (128, or 8); of two 4-bit ones in a byte the one of the lower column takes the
low half. Integers of 6 bits take 8.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from lfm_ops.formats import Format
from lfm_ops.quantized import QuantizedTensor, common_format
from numpy.typing import NDArray

__all__ = ["interleave_rows", "join_columns", "pack", "packed_bits", "unpack"]


def packed_bits(format: Format) -> int:
    """What an integer of the format takes in bytes that these operators read.

    Raises:
        ValueError: a format that these operators do not read.
    """
    if not 4 <= format.bits <= 8:
        raise ValueError(f"weights of format {format.name}: expected 4 to 8 bits")
    return 4 if format.bits == 4 else 8


def pack(weight: QuantizedTensor) -> NDArray[np.uint8]:
    """The integers of `[rows, columns]` as bytes `[rows, columns * packed_bits / 8]`.

    Raises:
        ValueError: a format that these operators do not read.
    """
    bits = packed_bits(weight.format)
    unsigned: NDArray[np.uint8] = weight.values.view(np.uint8) ^ np.uint8(0x80)
    if bits == 8:
        return unsigned
    nibbles = unsigned - np.uint8(0x80 - 8)
    packed: NDArray[np.uint8] = nibbles[:, 0::2] | nibbles[:, 1::2] << np.uint8(4)
    return packed


def unpack(data: NDArray[np.uint8], bits: int) -> NDArray[np.int8]:
    """The inverse of `pack`, for `[..., columns * bits / 8]` of `packed_bits`."""
    if bits == 8:
        flipped: NDArray[np.uint8] = data ^ np.uint8(0x80)
        return flipped.view(np.int8)
    nibbles = np.stack([data & 15, data >> 4], axis=-1).reshape(*data.shape[:-1], -1)
    return nibbles.astype(np.int8) - np.int8(8)


def join_columns(weights: Sequence[QuantizedTensor]) -> QuantizedTensor:
    """One matrix with the inputs of several, whose outputs are added.

    Raises:
        ValueError: matrices of several formats.
    """
    scales = [weight.scales for weight in weights if weight.scales is not None]
    return QuantizedTensor(
        common_format(weights),
        np.concatenate([weight.values for weight in weights], axis=1),
        np.concatenate(scales, axis=1) if scales else None,
    )


def interleave_rows(gate: QuantizedTensor, up: QuantizedTensor) -> QuantizedTensor:
    """Rows gate 0, up 0, gate 1, up 1, ...: the order of a fused SwiGLU.

    Raises:
        ValueError: matrices of several formats.
    """
    scales = None
    if gate.scales is not None and up.scales is not None:
        scales = np.stack([gate.scales, up.scales], axis=1).reshape(-1, gate.scales.shape[1])
    values = np.empty((2 * gate.shape[0], gate.shape[1]), gate.values.dtype)
    values[0::2], values[1::2] = gate.values, up.values
    return QuantizedTensor(common_format([gate, up]), values, scales)
