"""Kills an export before each of its steps and looks what is left; prints how many steps it has.

Run by `test_writer.py` in a process of its own, because it forks: `killed_exports.py FOLDER MODE`,
where mode is `exchange`, or `renames` for a system that cannot exchange two folders.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from lfm_edge.bundle import MANIFEST, Bundle
from lfm_export import writer

# Python's audit events; before two folders are exchanged, the function for it is looked up.
STEPS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "open", "fcntl.flock", "ctypes.dlsym"}


def export(template: Path, out: Path, name: str) -> None:
    """An export whose weights are `template`, and the model's name `name`."""
    with writer.bundle_folder(out) as folder:
        shutil.copytree(template, folder, dirs_exist_ok=True)
        (folder / MANIFEST).unlink()
        manifest = Bundle(template).manifest
        model = msgspec.structs.replace(manifest.model, name=name)
        writer.write_manifest(msgspec.structs.replace(manifest, model=model), folder)
        Bundle(folder)


def killed_at(step: int, work: Callable[[], None]) -> bool:
    """Runs `work` in a child that dies by SIGKILL before its `step`-th step; whether it did."""

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal step
        if event in STEPS:
            step -= 1
            if step == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            sys.addaudithook(count)
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def name_at(out: Path) -> str:
    return Bundle(out).manifest.model.name


def main() -> None:
    """Kills at every step, with an earlier bundle in the place and without."""
    place, mode = Path(sys.argv[1]), sys.argv[2]
    if mode == "renames":
        setattr(writer, "exchange", lambda one, other: False)  # noqa: B010
    template, out, step, killed, seen = place / "template", place / "to" / "out", 0, True, set()
    while killed:
        step += 1
        shutil.rmtree(out.parent, ignore_errors=True)
        killed = killed_at(step, lambda: export(template, out, "first"))
        assert not out.exists() or name_at(out) == "first"
        export(template, out, "old")
        killed = killed_at(step, lambda: export(template, out, "new")) or killed
        if mode == "exchange":
            assert out.exists(), step
        seen.add(out.exists())
        # The next export is not refused, and leaves only its own; opening needs no next export.
        if step % 2:
            assert name_at(out) in {"old", "new"}, step
        export(template, out, "last")
        assert name_at(out) == "last"
        assert [path.name for path in out.parent.iterdir()] == ["out"], step
    assert seen == ({True} if mode == "exchange" else {True, False})
    print(step)


main()
