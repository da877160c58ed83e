"""Float weights in the packed layout of `lfm_ops.layout`, as torch tensors of bytes."""

from __future__ import annotations

import torch
from lfm_ops import layout
from lfm_ops.quantized import QuantizedTensor

from ..quantize import METHODS

__all__ = ["pack", "pack_gate_up", "unpack", "unpack_gate_up"]

_ROWS, _COLUMNS = layout.BLOCK_ROWS, layout.BLOCK_COLUMNS


def pack(weight: torch.Tensor) -> torch.Tensor:
    """The bytes, uint8 `[bytes]`, of a weight `[outputs, inputs]`."""
    return torch.from_numpy(layout.pack(_f32(weight)))


def pack_gate_up(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """The bytes of two weights `[intermediate, hidden]`, blocks of 32 rows in turn."""
    return torch.from_numpy(layout.pack(layout.interleave_blocks(_f32(gate), _f32(up))))


def unpack(packed: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The weight `[rows, columns]` that was packed."""
    blocks, groups = -(-rows // _ROWS), -(-columns // _COLUMNS)
    tiles = packed.view(torch.float32).reshape(blocks, groups, _COLUMNS, _ROWS)
    return tiles.permute(0, 3, 1, 2).reshape(blocks * _ROWS, groups * _COLUMNS)[:rows, :columns]


def unpack_gate_up(
    packed: torch.Tensor, intermediate_size: int, hidden_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gate and up, each `[intermediate_size, hidden_size]`."""
    blocks = -(-intermediate_size // _ROWS)
    both = unpack(packed, 2 * blocks * _ROWS, hidden_size).reshape(blocks, 2, _ROWS, hidden_size)
    gate, up = (both[:, i].reshape(-1, hidden_size)[:intermediate_size] for i in range(2))
    return gate, up


def _f32(weight: torch.Tensor) -> QuantizedTensor:
    return METHODS["f32"](weight.detach().to("cpu", torch.float32).contiguous().numpy())
