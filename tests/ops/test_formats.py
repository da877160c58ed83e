"""A weight format is an entry of the table and a kernel: one of five bits, made up here."""

from __future__ import annotations

import numpy as np
import pytest
from lfm_export.quantize._groups import quantize_groups, round_to_half
from lfm_ops import layout
from lfm_ops import reference as ops
from lfm_ops.formats import FORMATS, Format, format_named
from lfm_ops.quantized import QuantizedTensor, stack_rows

from tests.ops.nodes import Array, Node, error, gaussian, quantize, random_weight

Q5 = Format("q5", 5, 32, 32 * (32 * 5 // 8) + 64, "int8")


def pack_q5(values: layout.Values) -> layout.Values:
    """Rows one after another, five bits a value, value + 16."""
    rows, columns = values.shape
    tiles = values.reshape(rows // 32, 32, columns // 32, 32, 1).transpose(0, 2, 1, 3, 4)
    bits = np.unpackbits((tiles + np.int8(16)).view(np.uint8), axis=-1, bitorder="little")[..., :5]
    return np.packbits(bits.reshape(*bits.shape[:3], -1), axis=-1, bitorder="little")


def unpack_q5(lines: layout.Values, values: layout.Values) -> None:
    rows, columns = values.shape
    bits = np.unpackbits(lines, axis=-1, bitorder="little").reshape(*lines.shape[:3], 32, 5)
    tiles = np.packbits(bits, axis=-1, bitorder="little")[..., 0].view(np.int8) - np.int8(16)
    values[:] = tiles.transpose(0, 2, 1, 3).reshape(rows, columns)


@pytest.fixture(autouse=True)
def q5(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry and the kernel."""
    monkeypatch.setitem(FORMATS, "q5", Q5)
    codec = layout.TileCodec(np.dtype(("u1", (32, 20))), pack_q5, unpack_q5)
    monkeypatch.setitem(layout.CODECS, "q5", codec)


def test_it_is_packed_and_joined() -> None:
    gate, up = (random_weight(seed, 70, 96, "q5") for seed in (1, 2))
    for tensor in (gate, stack_rows([gate, up]), layout.interleave_blocks(gate, up)):
        packed = layout.pack(tensor)
        assert packed.size == -(-tensor.shape[0] // 32) * 3 * Q5.tile_bytes
        back = layout.unpack(packed, format_named("q5"), *tensor.shape)
        assert (back.values == tensor.values).all()
        assert (back.dequantize() == tensor.dequantize()).all()


def test_it_multiplies_beside_others() -> None:
    gate, up, down = (random_weight(i, 96, 96, name) for i, name in enumerate(["q5", "q5", "q8"]))
    x = gaussian(0, 5, 96)
    got = ops.gated_mlp(x, gate, up, down, ops.matmul_int8)
    want = ops.gated_mlp(x, as_floats(gate), as_floats(up), as_floats(down))
    assert 0 < error(got, want) < 0.1


def test_it_rounds_finer_than_four_bits() -> None:
    weight = gaussian(1, 64, 64)
    errors = [
        error(quantize(weight, name).dequantize(), weight) for name in ("q4_64", "q4", "q6", "q8")
    ]
    assert errors == sorted(errors, reverse=True)

    def rounding(groups: Array, extreme: Array) -> tuple[Array, Array]:
        scale = round_to_half(np.float32(1 / 15) * np.abs(extreme))
        return scale, np.rint(groups / scale[:, None]).clip(-16, 15)

    assert error(quantize_groups(weight, Q5, rounding).dequantize(), weight) < errors[0]


def test_an_operator_without_its_kernel_refuses_it() -> None:
    weight, x = random_weight(0, 32, 32, "q5"), gaussian(0, 1, 2, 32)
    inputs: dict[str, Array | None] = {"x": x, "weight": layout.pack(weight)}
    with pytest.raises(Exception, match='attribute format: got "q5", want one of f32, q8, q6, q4'):
        Node("QuantizedLinear", inputs, [("y", np.float32)], rows=32, columns=32, format="q5")


def as_floats(weight: QuantizedTensor) -> QuantizedTensor:
    return QuantizedTensor(format_named("f32"), weight.dequantize())
