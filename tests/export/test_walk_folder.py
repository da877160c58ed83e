"""Where a walk keeps its streams."""

from __future__ import annotations

from pathlib import Path

import pytest
from lfm_export.errors import ExportError
from lfm_export.walk import WalkFolder


def test_streams_have_their_room_before_they_are_mapped(tmp_path: Path) -> None:
    """On a full disk a page of a file's hole kills who writes to it, without a word."""
    with WalkFolder.open(tmp_path / "state", "a", 300, 64) as folder:
        stream = folder.stream(0)
        (file,) = folder.path.glob("*.f32")
        assert file.stat().st_blocks * 512 >= stream.nbytes == 4 * 300 * 64
        assert not stream.any()
        stream[7] = 1
        assert (folder.stream(0)[7] == 1).all()  # nothing is written over


def test_a_file_is_no_place_for_a_state(tmp_path: Path) -> None:
    file = tmp_path / "state"
    file.write_text("mine")
    with pytest.raises(ExportError, match="is no folder"), WalkFolder.open(file, "a", 3, 64):
        pass
    assert file.read_text() == "mine"
