"""Headers of GGUF files that are damaged or hostile: one line each, and nothing allocated."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from hypothesis import given
from hypothesis import strategies as st
from lfm_export.checkpoint.gguf_file import GgufFile
from lfm_export.errors import CheckpointError

from tests.export.gguf_samples import by_hand, string, tensor, write

U32, STRING, ARRAY = (struct.pack("<I", kind) for kind in (4, 8, 9))
ALIGNMENT = string("general.alignment") + U32
GOOD = by_hand(
    [
        string("a") + STRING + string("text"),
        string("b") + ARRAY + U32 + struct.pack("<QII", 2, 1, 2),
    ],
    [tensor("one", (3, 2)), tensor("two", (32,), 8, 32)],
    np.arange(8, dtype="<f4").tobytes() + bytes(34),
)


def opened(path: Path, content: bytes) -> GgufFile:
    path.write_bytes(content)
    return GgufFile(path)


def test_a_good_file(tmp_path: Path) -> None:
    file = opened(tmp_path / "x", GOOD)
    assert file.keys["a"] == "text"
    assert file.keys["b"].tolist() == [1, 2]
    assert file.tensors["one"].shape == (2, 3)
    np.testing.assert_array_equal(file.tensors["one"].read(), np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(file.tensors["one"].rows(1, 2).read(), [[3, 4, 5]])
    assert file.tensors["two"].integers == "q8"
    file.close()


HUGE = 2**64 - 1
DAMAGED = {
    "empty": (b"", "not a GGUF file"),
    "another format": (b"GGML" + GOOD[4:], "not a GGUF file"),
    "version 1": (by_hand(version=1), "version 1"),
    "big-endian": (by_hand(version=3 << 24), "version 50331648"),
    "tensors without number": (by_hand(num_tensors=HUGE), "tensors"),
    "keys without number": (by_hand(num_keys=2**40), "keys"),
    "more keys than there are": (by_hand(num_keys=3), "truncated"),
    "a long name": (by_hand([struct.pack("<Q", HUGE)]), "a text of"),
    "a long text": (by_hand([string("k") + STRING + struct.pack("<Q", HUGE)]), "a text of"),
    "a long array": (
        by_hand([string("k") + ARRAY + U32 + struct.pack("<Q", 2**62)]),
        "truncated",
    ),
    "a long array of texts": (
        by_hand([string("k") + ARRAY + STRING + struct.pack("<Q", 2**40)]),
        "1099511627776 texts",
    ),
    "an array of arrays": (
        by_hand([string("k") + ARRAY + ARRAY + struct.pack("<Q", 1)]),
        "type, 9",
    ),
    "a key of no type": (by_hand([string("k") + struct.pack("<I", 77) + bytes(8)]), "type, 77"),
    "a key twice": (by_hand([string("k") + STRING + string("")] * 2), "key 'k' twice"),
    "no UTF-8": (by_hand([string(b"\xff")]), "not UTF-8"),
    "alignment 0": (by_hand([ALIGNMENT + struct.pack("<I", 0)]), "general.alignment is '0'"),
    "alignment 48": (by_hand([ALIGNMENT + struct.pack("<I", 48)]), "power of two"),
    "a tensor twice": (by_hand([], [tensor("t", (8,))] * 2, bytes(64)), "'t' twice"),
    "a tensor of no type": (by_hand([], [tensor("t", (8,), 99)], bytes(64)), "not known"),
    "a tensor of no size": (by_hand([], [tensor("t", (8, 0))], bytes(64)), "shape [0, 8]"),
    "a tensor without axes": (by_hand([], [tensor("t", ())], bytes(64)), "shape []"),
    "five axes": (by_hand([], [tensor("t", (1,) * 5)], bytes(64)), "5 axes"),
    "sizes that overflow": (by_hand([], [tensor("t", (2**33, 2**33))], bytes(64)), "has shape"),
    "sizes beyond the file": (by_hand([], [tensor("t", (2**40,))], bytes(64)), "truncated"),
    "an offset beyond the end": (by_hand([], [tensor("t", (8,), 0, 64)], bytes(64)), "truncated"),
    "an offset that overflows": (
        by_hand([], [tensor("t", (8,), 0, HUGE - 31)], bytes(64)),
        "truncated",
    ),
    "an offset between": (by_hand([], [tensor("t", (8,), 0, 4)], bytes(64)), "not aligned"),
    "tensors that overlap": (
        by_hand([], [tensor("t", (16,)), tensor("u", (8,), 0, 32)], bytes(64)),
        "overlap",
    ),
    "half a block": (by_hand([], [tensor("t", (33,), 8)], bytes(64)), "a multiple of 32"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content, words = DAMAGED[name]
    with pytest.raises(CheckpointError) as caught:
        opened(tmp_path / "x", content)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "x"))
    assert words in message
    assert "\n" not in message


@given(st.data())
def test_any_damage_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    try:
        file = opened(tmp_path_factory.getbasetemp() / "damaged", bytes(content))
    except CheckpointError:
        return
    for stored in file.tensors.values():
        if stored.type.name in ("F32", "Q8_0"):
            assert stored.read().shape == stored.shape
    file.close()


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q6_K", "Q5_0"])
def test_every_type_reads_as_in_llama_cpp(kind: str, tmp_path: Path) -> None:
    values = write(tmp_path / "x", shapes={"w": (6, 256)}, types=kind)["w"]
    file = GgufFile(tmp_path / "x")
    stored = file.tensors["w"]
    raw = np.fromfile(tmp_path / "x", np.uint8)[stored.offset :][: stored.nbytes].reshape(6, -1)
    wanted = dequantize(raw.view(np.float16) if kind == "F16" else raw, GGMLQuantizationType[kind])
    np.testing.assert_array_equal(stored.read(), wanted)
    np.testing.assert_array_equal(stored.rows(2, 5).read(), wanted[2:5])
    if stored.integers:
        np.testing.assert_array_equal(stored.read_integers().dequantize(), wanted)
    if not kind.endswith("_K"):
        assert np.abs(wanted - values).max() < 0.1 * np.abs(values).max()
    file.close()


def test_a_type_that_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(by_hand([], [tensor("t", (256,), 16)], bytes(66)))  # IQ2_XXS
    file = GgufFile(path)
    with pytest.raises(CheckpointError, match="'t' is IQ2_XXS, expected one of BF16"):
        file.tensors["t"].read()
    file.close()
