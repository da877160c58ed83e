"""The packed weight layout: against its description, there and back, and against the header."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_ops import layout
from lfm_ops.quantized import QuantizedTensor

HEADER = Path(__file__).parents[2] / "ops" / "include" / "lfm_ops" / "layout.h"
TILE_BYTES = {4: 576, 8: 1088, 32: 4096}


def random_tensor(bits: int, rows: int, columns: int, seed: int = 0) -> QuantizedTensor:
    rng = np.random.default_rng(seed)
    if bits == 32:
        return QuantizedTensor(32, rng.standard_normal((rows, columns)).astype(np.float32))
    most = 2 ** (bits - 1)
    values = rng.integers(-most, most, (rows, columns), np.int8)
    scales = rng.standard_normal((rows, columns // 32)).astype(np.float16)
    return QuantizedTensor(bits, values, scales)


def assert_equal(got: QuantizedTensor, expected: QuantizedTensor) -> None:
    assert (got.bits, got.block_size) == (expected.bits, expected.block_size)
    assert np.array_equal(got.values, expected.values)
    assert got.values.dtype == expected.values.dtype
    if expected.scales is None:
        assert got.scales is None
    else:
        assert got.scales is not None
        assert got.scales.dtype == np.float16
        assert np.array_equal(got.scales, expected.scales)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([4, 8, 32]), st.integers(1, 100), st.integers(1, 5), st.integers(0, 2**32 - 1)
)
def test_there_and_back(bits: int, rows: int, groups: int, seed: int) -> None:
    tensor = random_tensor(bits, rows, 32 * groups, seed)
    packed = layout.pack(tensor)
    assert packed.dtype == np.uint8
    assert packed.shape == (layout.packed_bytes(bits, rows, 32 * groups),)
    assert_equal(layout.unpack(packed, bits, rows, 32 * groups), tensor)


@pytest.mark.parametrize("bits", [4, 8, 32])
def test_every_weight_lies_where_the_header_says(bits: int) -> None:
    rows, columns = 70, 96
    tensor = random_tensor(bits, rows, columns)
    tiles = layout.pack(tensor).reshape(3, 3, TILE_BYTES[bits])
    for row in range(rows):
        for column in range(columns):
            tile = tiles[row // 32, column // 32]
            r, i = row % 32, column % 32
            step, j = divmod(i, 4)
            if bits == 4:
                byte = tile[64 * step + 4 * (r % 16) + j]
                got = float(int(byte >> (4 if r >= 16 else 0)) % 16 - 8)
            elif bits == 8:
                got = float(tile.view(np.int8)[64 * (2 * step + r // 16) + 4 * (r % 16) + j])
            else:
                got = float(tile.view(np.float32)[32 * i + r])
            assert got == tensor.values[row, column]
            if tensor.scales is not None:
                assert tile[-64:].view(np.float16)[r] == tensor.scales[row, column // 32]


@pytest.mark.parametrize("bits", [4, 8])
def test_missing_rows_are_zeros_with_scale_zero(bits: int) -> None:
    packed = layout.pack(random_tensor(bits, 33, 32))
    padded = layout.unpack(packed, bits, 64, 32)
    assert padded.scales is not None
    assert not padded.values[33:].any()
    assert not padded.scales[33:].any()


def test_a_part_of_the_rows_is_a_part_of_the_bytes() -> None:
    tensor = random_tensor(4, 96, 64)
    assert np.array_equal(layout.pack(tensor.rows(32, 64)), layout.pack(tensor)[1152 : 2 * 1152])


@pytest.mark.parametrize("bits", [4, 8, 32])
def test_blocks_of_gate_and_up_alternate(bits: int) -> None:
    gate, up = random_tensor(bits, 64, 32, 1), random_tensor(bits, 64, 32, 2)
    both = layout.interleave_blocks(gate, up)
    for block, part in enumerate([gate.rows(0, 32), up.rows(0, 32), gate.rows(32, 64)]):
        assert_equal(both.rows(32 * block, 32 * block + 32), part)


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(ValueError, match="weights of 5 bits"):
        layout.packed_bytes(5, 32, 32)
    with pytest.raises(ValueError, match="48 columns"):
        layout.packed_bytes(4, 32, 48)
    with pytest.raises(ValueError, match="groups of 64"):
        layout.packed_bytes(4, 32, 64, block_size=64)
    with pytest.raises(ValueError, match=r"expected 576 bytes, got uint8 \[575\]"):
        layout.unpack(np.zeros(575, np.uint8), 4, 32, 32)
    with pytest.raises(ValueError, match="48 rows"):
        layout.interleave_blocks(random_tensor(4, 48, 32), random_tensor(4, 48, 32))
    with pytest.raises(ValueError, match="must be alike"):
        layout.interleave_blocks(random_tensor(4, 32, 32), random_tensor(8, 32, 32))


def test_the_header_has_the_same_numbers() -> None:
    text = HEADER.read_text()
    numbers = {name: int(value) for name, value in re.findall(r"#define LFM_OPS_(\w+) (\d+)", text)}
    assert numbers["LAYOUT_VERSION"] == layout.LAYOUT_VERSION
    assert numbers["BLOCK_ROWS"] == layout.BLOCK_ROWS
    assert numbers["BLOCK_SIZE"] == 32
    for bits, name in ((4, "Q4"), (8, "Q8"), (32, "F32")):
        assert numbers[f"TILE_BYTES_{name}"] == layout.packed_bytes(bits, 32, 32)
