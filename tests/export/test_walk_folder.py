"""Where a walk keeps its streams."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from lfm_export.errors import CheckpointError, ExportError, WorkersLostError
from lfm_export.walk import OWN_TEXT, WalkFolder


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


def test_an_error_of_the_disk_names_the_file(tmp_path: Path) -> None:
    """What writes to a full disk hears no name."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, most[1]))
    try:
        with (
            pytest.raises(OSError, match="File too large") as caught,
            WalkFolder.open(tmp_path / "state", "a", 300, 64) as folder,
        ):
            folder.stream(0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert Path(caught.value.filename) == tmp_path / "state" / "stream.0.0.f32"
    assert not (tmp_path / "state").exists()  # nothing was found yet


@pytest.mark.parametrize(
    ("error", "stays"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (WorkersLostError("piece 3 was lost"), True),
        (CheckpointError("w: holds NaN"), False),
    ],
)
@pytest.mark.parametrize("operations", [0, 2])
def test_what_was_found_stays_where_it_can_be_gone_on_with(
    error: Exception, stays: bool, operations: int, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "state"

    def walk() -> None:
        with WalkFolder.open(path, "a", 3, 64) as folder:
            folder.stream(0)
            if operations:
                folder.advance(operations, 7, 1)
            raise error

    with pytest.raises(type(error)):
        walk()
    assert path.exists() == path.parent.exists() == (stays and operations > 0)
    with WalkFolder.open(path, "a", 3, 64) as folder:
        assert folder.operations == (operations if stays else 0)


def test_a_text_that_the_model_wrote_stays_where_the_disk_is_full(tmp_path: Path) -> None:
    """A large model writes for a quarter of an hour."""
    path = tmp_path / "state"
    path.mkdir()
    (path / OWN_TEXT).write_bytes(b"text")

    def walk() -> None:
        with WalkFolder.open(path, "a", 3, 64):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        walk()
    assert (path / OWN_TEXT).read_bytes() == b"text"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-4])


def change(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(content)


def blank(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


@pytest.mark.parametrize("damage", [Path.unlink, cut, change, blank])
@pytest.mark.parametrize("lane", [0, 1])
def test_a_walk_begins_anew_where_a_stream_is_not_as_it_was_left(
    damage: Callable[[Path], None], lane: int, tmp_path: Path
) -> None:
    with WalkFolder.open(tmp_path / "state", "a", 3, 64) as folder:
        for each in range(3):
            folder.next_stream(each)[:] = each + 1
        folder.advance(5, 7, 2)
        folder.stream(2)[:] = 4  # of a lane that begins behind it
    (folder.path / "scores.0.npz").write_bytes(b"found")
    with WalkFolder.open(tmp_path / "state", "a", 3, 64) as folder:
        assert (folder.operations, folder.weights) == (5, 7)
        assert (folder.stream(lane) == lane + 1).all()
    damage(folder.path / f"stream.{lane}.1.f32")
    for _ in range(2):
        with WalkFolder.open(tmp_path / "state", "a", 3, 64) as folder:
            assert (folder.operations, folder.weights) == (0, 0)
    assert (folder.path / "scores.0.npz").exists()


def test_a_changed_record_of_progress_is_not_believed(tmp_path: Path) -> None:
    with WalkFolder.open(tmp_path / "state", "a", 3, 64) as folder:
        folder.next_stream(0)[:] = 1
        folder.advance(5, 7, 1)
    file = folder.path / "walk.json"
    content = file.read_bytes()
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1
        file.write_bytes(changed)
        with WalkFolder.open(tmp_path / "state", "a", 3, 64) as folder:
            assert folder.operations == 0, bytes(changed)
