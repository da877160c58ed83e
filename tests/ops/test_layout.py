"""The packed weight layout: against its description, there and back, and against the header."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_ops import layout
from lfm_ops.formats import FORMATS, Format, format_named
from lfm_ops.quantized import QuantizedTensor, stack_rows

INCLUDE = Path(__file__).parents[2] / "ops" / "include" / "lfm_ops"
Q4_64, Q4, Q6, Q8, F32 = (format_named(name) for name in ("q4_64", "q4", "q6", "q8", "f32"))


def random_tensor(format: Format, rows: int, columns: int, seed: int = 0) -> QuantizedTensor:
    rng = np.random.default_rng(seed)
    if not format.group_size:
        return QuantizedTensor(format, rng.standard_normal((rows, columns)).astype(np.float32))
    most = 2 ** (format.bits - 1)
    values = rng.integers(-most, most, (rows, columns), np.int8)
    scales = rng.standard_normal((rows, columns // format.group_size)).astype(np.float16)
    return QuantizedTensor(format, values, scales)


def assert_equal(got: QuantizedTensor, expected: QuantizedTensor) -> None:
    assert got.format == expected.format
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
    st.sampled_from([Q4_64, Q4, Q6, Q8, F32]),
    st.integers(1, 100),
    st.integers(1, 160),
    st.integers(0, 2**32 - 1),
)
def test_there_and_back(format: Format, rows: int, columns: int, seed: int) -> None:
    if format.group_size:
        columns = -(-columns // format.group_size) * format.group_size
    tensor = random_tensor(format, rows, columns, seed)
    packed = layout.pack(tensor)
    assert packed.dtype == np.uint8
    assert packed.shape == (layout.packed_bytes(format, rows, columns),)
    assert_equal(layout.unpack(packed, format, rows, columns), tensor)


@pytest.mark.parametrize("format", [Q4_64, Q4, Q6, Q8, F32], ids=str)
def test_every_weight_lies_where_the_header_says(format: Format) -> None:
    rows, columns = 70, 128
    size = 64 if format == Q4_64 else 32  # columns of a tile
    tensor = random_tensor(format, rows, columns)
    tiles = layout.pack(tensor).reshape(3, columns // size, format.tile_bytes)
    for row in range(rows):
        for column in range(columns):
            tile = tiles[row // 32, column // size]
            r, i = row % 32, column % size
            step, j = divmod(i, 4)
            if format in (Q4, Q4_64):
                byte = tile[64 * step + 4 * (r % 16) + j]
                got = float(int(byte >> (4 if r >= 16 else 0)) % 16 - 8)
            elif format == Q6:
                low = int(tile[64 * step + 4 * (r % 16) + j]) >> (4 if r >= 16 else 0)
                high = int(tile[512 + 64 * (step // 2) + 4 * (r % 16) + j])
                high >>= 4 * (step % 2) + (2 if r >= 16 else 0)
                got = float((low % 16 | high % 4 << 4) - 32)
            elif format == Q8:
                got = float(tile.view(np.int8)[64 * (2 * step + r // 16) + 4 * (r % 16) + j])
            else:
                got = float(tile.view(np.float32)[32 * i + r])
            assert got == tensor.values[row, column]
            if tensor.scales is not None:
                assert tile[-64:].view(np.float16)[r] == tensor.scales[row, column // size]


@pytest.mark.parametrize("format", [Q4_64, Q4, Q6, Q8], ids=str)
def test_missing_rows_are_zeros_with_scale_zero(format: Format) -> None:
    packed = layout.pack(random_tensor(format, 33, 64))
    padded = layout.unpack(packed, format, 64, 64)
    assert padded.scales is not None
    assert not padded.values[33:].any()
    assert not padded.scales[33:].any()


def test_a_part_of_the_rows_is_a_part_of_the_bytes() -> None:
    tensor = random_tensor(Q4, 96, 64)
    assert np.array_equal(layout.pack(tensor.rows(32, 64)), layout.pack(tensor)[1152 : 2 * 1152])


@pytest.mark.parametrize("format", [Q4_64, Q4, Q6, Q8, F32], ids=str)
def test_blocks_of_gate_and_up_alternate(format: Format) -> None:
    gate, up = random_tensor(format, 64, 64, 1), random_tensor(format, 64, 64, 2)
    both = layout.interleave_blocks(gate, up)
    for block, part in enumerate([gate.rows(0, 32), up.rows(0, 32), gate.rows(32, 64)]):
        assert_equal(both.rows(32 * block, 32 * block + 32), part)


def test_blocks_of_gate_and_up_are_whole() -> None:
    gate, up = random_tensor(Q8, 45, 32, 1), random_tensor(Q8, 45, 32, 2)
    both = layout.interleave_blocks(gate, up)
    assert both.shape == (128, 32)
    for block, part in enumerate([gate.rows(0, 32), up.rows(0, 32), gate.rows(32, 45)]):
        assert_equal(both.rows(32 * block, 32 * block + len(part.values)), part)
    assert both.scales is not None
    assert not both.values[64 + 13 : 96].any()
    assert not both.scales[96 + 13 :].any()


def test_what_is_missing_to_a_group_of_floats_is_zeros() -> None:
    tensor = random_tensor(F32, 3, 33)
    padded = layout.unpack(layout.pack(tensor), F32, 32, 64).values
    assert np.array_equal(padded[:3, :33], tensor.values)
    assert np.count_nonzero(padded) == tensor.values.size


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(ValueError, match="weights of format q5: expected one of f32, q8, q6, q4"):
        layout.packed_bytes(replace(Q4, name="q5"), 32, 32)
    with pytest.raises(ValueError, match="q4 weights of 48 columns: not a multiple of 32"):
        layout.packed_bytes(Q4, 32, 48)
    with pytest.raises(ValueError, match=r"expected 576 bytes, got uint8 \[575\]"):
        layout.unpack(np.zeros(575, np.uint8), Q4, 32, 32)
    with pytest.raises(ValueError, match="must be alike"):
        layout.interleave_blocks(random_tensor(Q4, 32, 32), random_tensor(Q4, 64, 32))


def test_matrices_of_several_formats_are_not_joined() -> None:
    q4, q8 = random_tensor(Q4, 32, 32), random_tensor(Q8, 32, 32)
    for join in (layout.interleave_blocks, lambda *pair: stack_rows(pair)):
        with pytest.raises(ValueError, match="formats q4, q8"):
            join(q4, q8)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="'q5': expected one of f32, q8, q6, q4"):
        format_named("q5")


@pytest.mark.parametrize(
    ("format", "values", "scales", "words"),
    [
        (Q8, np.zeros((2, 32), np.float32), np.zeros((2, 1), np.float16), "int8"),
        (Q8, np.zeros(32, np.int8), np.zeros(1, np.float16), r"\[rows, columns\]"),
        (Q8, np.zeros((2, 40), np.int8), np.zeros((2, 2), np.float16), "40 columns"),
        (
            Q8,
            np.zeros((2, 64), np.int8),
            np.zeros((2, 1), np.float16),
            r"\(2, 1\), expected \(2, 2",
        ),
        (Q4, np.zeros((2, 64), np.int8), None, r"None, expected \(2, 2"),
        (F32, np.zeros((2, 32), np.float32), np.zeros((2, 1), np.float16), "expected None"),
    ],
)
def test_a_matrix_is_what_its_format_says(
    format: Format, values: Any, scales: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        QuantizedTensor(format, values, scales)


def test_the_headers_have_the_same_numbers() -> None:
    text = (INCLUDE / "layout.h").read_text() + (INCLUDE / "formats.h").read_text()
    numbers = {name: int(value) for name, value in re.findall(r"#define LFM_OPS_(\w+) (\d+)", text)}
    assert numbers["LAYOUT_VERSION"] == layout.LAYOUT_VERSION
    assert numbers["BLOCK_ROWS"] == layout.BLOCK_ROWS
    assert numbers["BLOCK_COLUMNS"] == layout.BLOCK_COLUMNS
    row = r'\{LFM_OPS_(\w+), "(\w+)", (\d+), (\d+), LFM_OPS_(\w+), LFM_OPS_(\w+)\}'
    table = [
        Format(name, int(bits), int(group), numbers[tile], activations.lower())
        for _, name, bits, group, tile, activations in re.findall(row, text)
    ]
    assert table == list(FORMATS.values())
    ids = re.search(r"enum LfmOpsFormatId \{([^}]*),\s+LFM_OPS_FORMATS\s+\}", text)
    assert ids
    named = [name.strip() for name in ids[1].split(",")]
    assert named == [f"LFM_OPS_{format.name.upper()}" for format in table]
