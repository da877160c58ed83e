"""Headers: valid ones agree with the safetensors library, broken ones are refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lfm_export.checkpoint.safetensors_file import SafetensorsFile
from lfm_export.errors import CheckpointError
from safetensors.numpy import load, save

from tests.export.checkpoint_samples import Tensors

TENSORS: Tensors = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.arange(4, dtype=np.float16),
    "c": np.arange(5, dtype=np.int64),
    "d": np.array(1.5, np.float32),
}
GOOD = save(dict(TENSORS))
LENGTH = int.from_bytes(GOOD[:8], "little")
HEADER = json.loads(GOOD[8 : 8 + LENGTH])
DATA = GOOD[8 + LENGTH :]
SLOW = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def with_header(header: Any) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + DATA


def read_all(path: Path, content: bytes) -> Tensors:
    """Opens the file and reads all that it offers."""
    path.write_bytes(content)
    file = SafetensorsFile(path)
    try:
        return {
            name: tensor.read()
            for name, tensor in file.tensors.items()
            if tensor.dtype in ("F32", "F16", "BF16")
        }
    finally:
        file.close()


def refused(path: Path, content: bytes) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_all(path, content)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_good_file(tmp_path: Path) -> None:
    read = read_all(tmp_path / "x", GOOD)
    assert set(read) == {"a", "b", "d"}
    for name, value in read.items():
        np.testing.assert_array_equal(value, TENSORS[name].astype(np.float32))


def test_metadata_and_an_empty_file(tmp_path: Path) -> None:
    assert read_all(tmp_path / "x", save({}, {"format": "pt"})) == {}


def changed(name: str, **fields: Any) -> bytes:
    return with_header({**HEADER, name: {**HEADER[name], **fields}})


BROKEN = {
    "empty": b"",
    "no header": b"\0" * 8,
    "header longer than file": (10**6).to_bytes(8, "little") + b"{}",
    "header longer than allowed": b"\xff" * 7 + b"\x7f" + b"{}",
    "not JSON": with_header(b"{{"),
    "not UTF-8": with_header(b'{"\xff": 1}'),
    "a list": with_header([1]),
    "deep": with_header(b"[" * 100_000),
    "entry is a number": with_header({**HEADER, "a": 1}),
    "no dtype": changed("a", dtype=None),
    "unknown dtype": changed("a", dtype="F128"),
    "dtype is a list": changed("a", dtype=["F32"]),
    "shape is no list": changed("a", shape=6),
    "negative size": changed("a", shape=[-2, -3]),
    "float size": changed("a", shape=[2.0, 3]),
    "boolean size": changed("a", shape=[True, 6]),
    "zero size": changed("a", shape=[0, 2**70]),
    "many axes": changed("a", shape=[1] * 100 + [2, 3]),
    "huge size": changed("a", shape=[2**100, 3]),
    "offsets missing": changed("a", data_offsets=None),
    "one offset": changed("a", data_offsets=[0]),
    "offsets reversed": changed("a", data_offsets=HEADER["a"]["data_offsets"][::-1]),
    "overlap": changed("b", data_offsets=[0, 8]),
    "out of range": changed("a", data_offsets=[10**6, 10**6 + 24]),
    "hole": with_header({name: entry for name, entry in HEADER.items() if name != "a"}),
    "truncated": GOOD[:-1],
    "too long": GOOD + b"\0",
    "name with newline": with_header({**HEADER, "x\ny": {}}),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken(tmp_path: Path, kind: str) -> None:
    refused(tmp_path / "x", BROKEN[kind])


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(CheckpointError, match=r"cannot be read|is not a file"):
            SafetensorsFile(path)


@pytest.mark.parametrize("length", range(0, len(GOOD), 7))
def test_every_truncation_is_noticed(tmp_path: Path, length: int) -> None:
    refused(tmp_path / "x", GOOD[:length])


@SLOW
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=4))
def test_random_bytes_changed(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    """A damaged file is refused, or reads exactly as the safetensors library reads it."""
    content = bytearray(GOOD)
    for position, byte in changes:
        content[position] = byte
    try:
        read = read_all(tmp_path / "x", bytes(content))
    except CheckpointError as error:
        assert "\n" not in str(error)  # noqa: PT017 - only where it is refused
        return
    known = load(bytes(content))
    for name, value in read.items():
        np.testing.assert_array_equal(
            value.view(np.uint32), known[name].astype(np.float32).view(np.uint32)
        )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F16", "BF16", "F4", "X"]) | JSON,
        "shape": st.lists(st.integers(-1, 9), max_size=4) | JSON,
        "data_offsets": st.lists(st.integers(-1, 90), max_size=3) | JSON,
    },
)


@SLOW
@given(st.dictionaries(st.text(max_size=8), ENTRY | JSON, max_size=4) | JSON)
def test_random_headers(tmp_path: Path, header: Any) -> None:
    try:
        read_all(tmp_path / "x", with_header(header))
    except CheckpointError as error:
        assert "\n" not in str(error)  # noqa: PT017 - only where it is refused


@SLOW
@given(st.binary(max_size=64))
def test_random_content(tmp_path: Path, content: bytes) -> None:
    try:
        read_all(tmp_path / "x", content)
    except CheckpointError as error:
        assert "\n" not in str(error)  # noqa: PT017 - only where it is refused
