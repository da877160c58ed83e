"""Where a bundle cannot be written, and what is no file: one line, and nothing stays behind."""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lfm_export import writer
from lfm_export.checkpoint import open_checkpoint
from lfm_export.errors import CheckpointError, ExportError
from lfm_export.writer import bundle_folder

from tests.export.companions import change
from tests.export.test_faults import mounted, refused
from tests.support import DEMO_MODEL, export

COMPANIONS = ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere")


def make_endless_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


MAKE = [make_pipe, make_link_to_nothing, make_endless_link, Path.mkdir]


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", *COMPANIONS])
def test_what_is_no_file_is_refused(
    folder: Path, tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    with pytest.raises(CheckpointError, match=r"\w: (is not a file|cannot be read: )|no weights"):
        export(folder, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("make", MAKE)
def test_a_shard_or_an_index_that_is_no_file_is_refused(
    folder: Path, make: Callable[[Path], None]
) -> None:
    index = folder / "model.safetensors.index.json"
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    index.write_text('{"weight_map": {"x": "b.safetensors"}}')
    make(folder / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"b\.safetensors: is (not a file|missing)"):
        open_checkpoint(str(folder))
    index.unlink()
    make(index)
    with pytest.raises(CheckpointError, match=r"index\.json: (is not a file|cannot be read)"):
        open_checkpoint(str(folder))


def test_a_tokenizer_of_synthetic_weights_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tokenizer.json")
    with pytest.raises(CheckpointError, match=r"^--tokenizer: .*json: is not a file"):
        open_checkpoint("synthetic:lfm2-350m", tokenizer=tmp_path)


@pytest.mark.parametrize("place", ["/proc/x", "/proc/self/x/y", "/dev/null", "/dev/null/x"])
def test_a_place_that_holds_no_files(folder: Path, place: str) -> None:
    with pytest.raises(ExportError, match=r"^/(proc|dev)/[^\n]*$"):
        export(folder, Path(place))


def test_the_line_of_such_a_place() -> None:
    assert refused("export", DEMO_MODEL, "/proc/x").startswith(
        "error: /proc/x: no file can be made"
    )


@pytest.mark.parametrize("inside", ["", "within"])
def test_the_current_folder_is_not_replaced(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    out = tmp_path / "out"
    if inside:
        export(folder, out, quant="f32")
    (out / inside).mkdir(exist_ok=True, parents=True)
    monkeypatch.chdir(out / inside)
    before = sorted(out.iterdir())
    with pytest.raises(ExportError, match="is the current folder"):
        export(folder, Path(".." if inside else "."))
    assert sorted(out.iterdir()) == before


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Files cannot grow beyond `size` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [1000, 100_000, 400_000])
@pytest.mark.parametrize("out", ["out", "new/folders/out"])
def test_a_file_that_cannot_grow_leaves_nothing(
    folder: Path, tmp_path: Path, size: int, out: str
) -> None:
    with largest_file(size), pytest.raises(ExportError, match=r"File too large; nothing was"):
        export(folder, tmp_path / out, quant="f32")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    """A file system that is read only."""
    with mounted(tmp_path / "disk", "ro") as place:
        yield place


@pytest.mark.parametrize("out", ["out", "new/out"])
def test_a_file_system_that_is_read_only(folder: Path, unwritable: Path, out: str) -> None:
    with pytest.raises(ExportError, match=r"Read-only file system; nothing was written"):
        export(folder, unwritable / out)


def test_a_folder_of_someone_else(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(ExportError, match="Permission denied; nothing was written"):
        export(folder, tmp_path / "out")
    monkeypatch.undo()
    monkeypatch.setattr(Path, "exists", denied)
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read: Permission denied"):
        open_checkpoint(str(folder))


def test_a_source_whose_name_is_too_long() -> None:
    with pytest.raises(CheckpointError, match="cannot be read: File name too long"):
        open_checkpoint("a" * 5000)


MANIFESTS = {
    "an extension's": '{"name": "extension", "manifest_version": 3, "files": {}}',
    "a broken one": '{"format_version": "1.0", "files": ',
    "no object": "[]",
    "no text": "\ufeff",
}


@pytest.mark.parametrize("text", MANIFESTS.values(), ids=MANIFESTS)
def test_another_programs_manifest_makes_no_bundle(folder: Path, tmp_path: Path, text: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text(text)
    with pytest.raises(ExportError, match=r"out: exists and is not a bundle; choose another place"):
        export(folder, out)
    assert (out / "manifest.json").read_text() == text


@pytest.mark.parametrize("name", ["notes.txt", "sessions/chat.lfm", ".git/HEAD", "[v2].md"])
def test_what_lies_in_a_bundle_is_not_replaced_with_it(
    folder: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    export(folder, out)
    (out / "model.onnx").unlink()  # a damaged bundle may be replaced
    (out / ".DS_Store").touch()
    export(folder, out)
    mine = out / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(ExportError, match=rf"out: holds '{re.escape(name)}', which is no part of"):
        export(folder, out)
    assert mine.read_text() == "mine"


def test_a_bundle_of_another_format_is_replaced(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(folder, out)
    change(out / "manifest.json", format_version="0.9")
    export(folder, out)


def test_a_mount_point_is_refused_before_any_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == out)
    with (
        pytest.raises(ExportError, match="out: is a mount point, which cannot be replaced; choose"),
        bundle_folder(out),
    ):
        pytest.fail("it began")
    export(folder, out / "within")


def test_a_mount_point_that_looks_like_a_folder_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the same file system, as `mount --bind` makes."""

    def refuse(path: Path, target: Path) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path), None, str(target))

    out = tmp_path / "out"
    export(folder, out)
    before = (out / "manifest.json").read_bytes()
    monkeypatch.setattr(writer, "exchange", lambda *_: False)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(
        ExportError, match=r"out: is in use, perhaps as a mount point, .* within it"
    ):
        export(folder, out)
    assert (out / "manifest.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "out"]


def test_a_place_that_is_named_by_way_of_none(folder: Path, tmp_path: Path) -> None:
    bundle = export(folder, tmp_path / "missing" / ".." / "out")
    assert bundle.folder == tmp_path / "out"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "out"]
