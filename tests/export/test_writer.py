"""Whenever an export is killed, its place holds the earlier bundle or the new one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from lfm_edge.bundle import Bundle
from lfm_export import writer
from lfm_export.errors import ExportError
from lfm_export.exchange import exchange

from tests.sdk.toy import write_toy_bundle

SCRIPT = Path(__file__).with_name("killed_exports.py")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_toy_bundle(
        tmp_path / "template",
        files=dict.fromkeys(("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")),
    )


def write(source: Path, out: Path) -> None:
    with writer.bundle_folder(out) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)


@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="NOT RUN: kills a fork of itself, which this system lacks"
)
@pytest.mark.parametrize("mode", ["exchange", "renames"])
def test_a_kill_at_any_step_leaves_the_old_bundle_or_the_new_one(bundle: Path, mode: str) -> None:
    command = [sys.executable, str(SCRIPT), str(bundle.parent), mode]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


@pytest.mark.skipif(sys.platform == "win32", reason="NOT RUN: Windows cannot")
def test_two_folders_are_exchanged_at_once(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert exchange(tmp_path / "a", tmp_path / "b")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["a"]
    assert not exchange(tmp_path / "a", tmp_path / "missing")
    assert (tmp_path / "a" / "b").exists()


def test_a_process_id_that_lives_on_is_in_nobodys_way(bundle: Path, tmp_path: Path) -> None:
    """In a container every export may be process 1."""
    for number in (1, os.getpid(), os.getppid()):
        (tmp_path / f".out.partial-{number}").mkdir()
        (tmp_path / f".out.partial-{number}" / "model.onnx.data").write_bytes(b"half")
    write(bundle, tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / f".out.partial-{os.getppid()}.old")
    write(bundle, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "template"]


def test_a_lock_that_nobody_holds_is_in_nobodys_way(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / ".out.lock").write_text("left by a killed export")
    write(bundle, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "template"]


def test_the_folder_of_a_live_export_is_left_alone(bundle: Path, tmp_path: Path) -> None:
    with writer.bundle_folder(tmp_path / "out") as folder:
        (folder / "model.onnx.data").write_bytes(b"half")
        with pytest.raises(ExportError, match="out: another export is writing") as caught:
            write(bundle, tmp_path / "out")
        assert "\n" not in str(caught.value)
        write(bundle, tmp_path / "out.2")  # another place, whose name begins alike
        assert (folder / "model.onnx.data").read_bytes() == b"half"
        shutil.copytree(bundle, folder, dirs_exist_ok=True)
        (folder / "model.onnx.data").unlink()
    assert Bundle(tmp_path / "out").manifest.model.name == "toy"


def test_many_exports_at_once_take_turns_or_are_refused(bundle: Path, tmp_path: Path) -> None:
    inside, most, refusals, done = [0], [0], list[str](), list[int]()

    def keep_writing() -> None:
        for _ in range(25):
            try:
                with writer.bundle_folder(tmp_path / "out") as folder:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    shutil.copytree(bundle, folder, dirs_exist_ok=True)
                    inside[0] -= 1
                done.append(1)
            except ExportError as error:
                refusals.append(str(error))

    threads = [threading.Thread(target=keep_writing) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert len(done) + len(refusals) == 100
    assert all("another export is writing" in refusal for refusal in refusals)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "template"]


def test_a_folder_that_appears_meanwhile_is_left_alone(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def write_late() -> None:
        with writer.bundle_folder(out) as folder:
            shutil.copytree(bundle, folder, dirs_exist_ok=True)
            out.mkdir()
            (out / "holiday.jpg").write_bytes(b"dear")

    with pytest.raises(ExportError, match="exists and is not a bundle"):
        write_late()
    assert [path.name for path in out.iterdir()] == ["holiday.jpg"]


def test_what_a_link_stands_for_is_replaced(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "version-1")
    (tmp_path / "current").symlink_to("version-1")
    write(bundle, tmp_path / "current")
    assert (tmp_path / "current").is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["current", "template", "version-1"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_an_empty_folder_is_replaced(
    bundle: Path, tmp_path: Path, exchanges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanges:
        monkeypatch.setattr(writer, "exchange", lambda one, other: False)
    (tmp_path / "out").mkdir()
    write(bundle, tmp_path / "out")
    assert Bundle(tmp_path / "out").manifest.model.name == "toy"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "template"]


def test_a_rename_that_fails_puts_the_old_bundle_back(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(bundle, tmp_path / "out")
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if Path(target).name == "out" and not path.name.endswith(".old"):
            raise PermissionError(13, "Permission denied", str(path))
        return rename(path, target)

    monkeypatch.setattr(writer, "exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ExportError, match="Permission denied; nothing was written"):
        write(bundle, tmp_path / "out")
    assert Bundle(tmp_path / "out").manifest.model.name == "toy"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "template"]
