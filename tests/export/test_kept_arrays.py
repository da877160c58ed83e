"""Arrays that an earlier process kept: what is damaged is as good as absent."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lfm_export.calibrate import kept_text
from lfm_export.calibrate.kept import KeptTensors
from lfm_export.evaluate.score import keep_scores, kept_scores
from lfm_export.quantize import METHODS
from lfm_export.walk import OWN_TEXT, WalkFolder, keep_arrays, kept_arrays

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "numbers": np.arange(12, dtype=np.float64).reshape(3, 4),
    "name": np.array("q4"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("kept") / "some.npz"
    keep_arrays(file, **ARRAYS)
    assert [path.name for path in file.parent.iterdir()] == ["some.npz"]
    return file.read_bytes()


def read(content: bytes, folder: Path) -> dict[str, np.ndarray[Any, Any]] | None:
    (folder / "some.npz").write_bytes(content)
    return kept_arrays(folder / "some.npz")


def test_arrays_are_read_as_they_were_kept(whole: bytes, tmp_path: Path) -> None:
    found = read(whole, tmp_path)
    assert found is not None
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    with np.load(tmp_path / "some.npz") as plain:  # as any other .npz file
        assert np.array_equal(plain["numbers"], ARRAYS["numbers"])


def test_nothing_was_kept(tmp_path: Path) -> None:
    assert kept_arrays(tmp_path / "some.npz") is None
    assert kept_arrays(tmp_path / "missing" / "some.npz") is None


def test_no_changed_byte_goes_unseen(whole: bytes, tmp_path: Path) -> None:
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        assert read(bytes(changed), tmp_path) is None, at


def test_no_cut_goes_unseen(whole: bytes, tmp_path: Path) -> None:
    for length in range(len(whole)):
        assert read(whole[:length], tmp_path) is None, length
        assert read(whole[:length].ljust(len(whole), b"\0"), tmp_path) is None, length


@given(content=st.binary(max_size=200))
@example(content=bytes(4))
@example(content=b"PK\5\6" + bytes(18))
def test_garbage_is_nothing(
    content: bytes, whole: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    assert read(content, folder) is None
    assert read(content + whole[len(content) :], folder) is None or whole.startswith(content)


def test_an_error_of_the_disk_is_told(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some.npz").write_bytes(whole)

    def failing(self: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(OSError, match="Input/output error") as caught:
        kept_arrays(tmp_path / "some.npz")
    assert Path(caught.value.filename) == tmp_path / "some.npz"


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[:100],
    "cut behind the digest": lambda content: content[:-1],
    "garbage": lambda content: b"garbage" * 30,
    "changed": lambda content: content[:300] + bytes([content[300] ^ 1]) + content[301:],
}
damaged = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


@damaged
def test_damaged_scores_are_found_again(damage: Any, tmp_path: Path) -> None:
    with WalkFolder.open(tmp_path / "state", "a", 4, 8) as folder:
        keep_scores(folder, 0, {"runtime": np.ones((3, 63))})
        assert (kept_scores(folder, 0) or {})["runtime"].shape == (3, 63)
        file = folder.path / "scores.0.npz"
        file.write_bytes(damage(file.read_bytes()))
        assert kept_scores(folder, 0) is None


@damaged
def test_a_damaged_matrix_is_made_again(damage: Any, tmp_path: Path) -> None:
    kept = KeptTensors(tmp_path / "tensors")
    kept.put("one", METHODS["q4"](np.ones((64, 32), np.float32)))
    assert kept.get("one") is not None
    file = kept.folder / "one.npz"
    file.write_bytes(damage(file.read_bytes()))
    assert kept.get("one") is None


@damaged
def test_a_damaged_text_is_written_again(damage: Any, tmp_path: Path) -> None:
    file = tmp_path / OWN_TEXT
    keep_arrays(file, ids=np.ones((2, 64), np.int64), identity=np.array("a"))
    assert len(kept_text(tmp_path, "a") or ()) == 2
    assert kept_text(tmp_path, "b") is None
    file.write_bytes(damage(file.read_bytes()))
    assert kept_text(tmp_path, "a") is None
