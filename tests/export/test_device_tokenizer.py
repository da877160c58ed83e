"""The tokenizer's tables in device.bin read as `tokenizers` does, or are not written."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_edge.bundle import Bundle
from lfm_export.device.characters import KIND, LETTER, NUMBER, SPACE, character_classes
from lfm_export.device.container import ALIGNMENT, pack, unpack
from lfm_export.device.table_reader import TableReader
from lfm_export.device.tokenizer_section import difference
from lfm_export.device.tokenizer_tables import ARRAYS, HEAD
from lfm_export.emit import TARGETS
from tokenizers import Regex
from tokenizers import Tokenizer as NativeTokenizer
from tokenizers.pre_tokenizers import Split

from tests.device_tokenizers import (
    GPT2,
    KINDS,
    compiled,
    shipped,
    split_pattern,
    texts,
    tokenizer_of,
    with_model,
    with_split,
    without_byte,
)
from tests.export.companions import noted

FEW = settings(max_examples=40, deadline=None)


@cache
def section(kind: str) -> bytes:
    return compiled(KINDS[kind])


@cache
def reader(kind: str) -> TableReader:
    return TableReader(section(kind))


@cache
def native(kind: str) -> NativeTokenizer:
    return NativeTokenizer.from_str(KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_the_proof_holds(kind: str) -> None:
    assert difference(reader(kind), NativeTokenizer.from_str(KINDS[kind])) is None


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(text=texts())
def test_any_text_is_read_the_same(kind: str, text: str) -> None:
    ids = reader(kind).encode(text)
    assert ids == native(kind).encode(text, add_special_tokens=False).ids
    assert reader(kind).around(ids) == native(kind).encode(text).ids


@pytest.mark.parametrize("kind", KINDS)
def test_every_token_stands_for_the_same_bytes(kind: str) -> None:
    tokenizer = tokenizer_of(KINDS[kind])
    for token in native(kind).get_vocab().values():
        assert reader(kind).token_bytes(token) == tokenizer.token_bytes(token)


def test_tables_are_the_same_each_time() -> None:
    assert compiled(KINDS["flags"]) == section("flags")


@pytest.mark.parametrize("array", ["words", "merges", "classes", "added_first", "byte_ids"])
def test_the_proof_sees_a_damaged_table(array: str) -> None:
    kind = "ignore_merges" if array == "words" else "as it is"  # else words only save time
    found = bytearray(section(kind))
    place = HEAD.size + 8 * ARRAYS.index(array)
    at, size = struct.unpack_from("<II", found, place)
    if array == "added_first":
        struct.pack_into("<I", found, at, 3)  # another token than the first
    elif array == "merges":
        found[at : at + size] = b"\xff" * size
    else:
        found[at : at + size] = found[at + size - 4 : at + size] + found[at : at + size - 4]
    assert difference(TableReader(bytes(found)), native(kind)) is not None


def test_a_bundle_lists_what_was_compiled(folder: Path, tmp_path: Path) -> None:
    model, notes = noted(folder, tmp_path / "bundle")
    data = (model.bundle.folder / "device.bin").read_bytes()
    assert model.bundle.manifest.files["device.bin"].size == len(data)
    tables = TableReader(unpack(data)["tokenizer"])
    text = "<|im_start|>user\nna\u00efve 12345<|im_end|>"
    assert tables.encode(text) == model.tokenizer.encode(text)
    assert not [text for text in notes if "tables" in text]
    Bundle(model.bundle.folder).check_hashes()


def test_the_targets_that_a_phone_runs_have_it() -> None:
    assert {name for name, target in TARGETS.items() if target.on_devices} == {
        "onnx",
        "onnx-portable",
    }


UNSUPPORTED = {
    "normalizer": (shipped(normalizer={"type": "NFC"}), "its normalizer NFC changes a text"),
    "no pre-tokenizer": (shipped(pre_tokenizer=None), "its pre-tokenizer is neither"),
    "prefix space": (shipped(pre_tokenizer=GPT2 | {"add_prefix_space": True}), "its pre-tokenizer"),
    "other pattern": (with_split(split_pattern().replace("|\\s+(?!\\S)", "")), "its pre-tokenizer"),
    "suffix of words": (with_model(end_of_word_suffix="</w>", merges=[]), "its end_of_word_suffix"),
    "missing byte": (without_byte("\u0143"), "its vocabulary lacks 1 of the 256 bytes"),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_what_has_no_tables_is_said(kind: str, folder: Path, tmp_path: Path) -> None:
    text, reason = UNSUPPORTED[kind]
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text("{}")
    model, notes = noted(folder, tmp_path / "bundle")
    said = [note for note in notes if "tables" in note]
    assert len(said) == 1
    assert reason in said[0]
    path = model.bundle.folder / "device.bin"
    assert not path.exists() or "tokenizer" not in unpack(path.read_bytes())


@FEW
@given(st.characters(exclude_categories=["Cs"]))
def test_classes_are_those_of_the_engine(character: str) -> None:
    kind = character_classes(beside_added=False)[ord(character)] & KIND
    for pattern, expected in ((r"\p{L}", LETTER), (r"\p{N}", NUMBER), (r"\s", SPACE)):
        left = Split(Regex(pattern), "removed").pre_tokenize_str(character)
        assert (not left) == (kind == expected)


@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=15), st.binary(max_size=200), min_size=1, max_size=5
    )
)
def test_sections_come_back(sections: dict[str, bytes]) -> None:
    data = pack(sections)
    assert unpack(data) == sections
    for content in sections.values():
        assert not content or any(
            data.startswith(content, at) for at in range(0, len(data), ALIGNMENT)
        )


@given(st.integers(0, 23), st.integers(1, 255))
def test_a_damaged_head_is_refused(at: int, change: int) -> None:
    data = bytearray(pack({"a": b"b" * 10}))
    data[at] ^= change
    if at in range(12, 16):
        return  # fewer sections are a file of its own
    with pytest.raises(ValueError, match=r"expected|lies at|begins"):
        unpack(bytes(data))
