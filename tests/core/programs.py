"""Small programs of the device core, compiled where they are asked for."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

from filelock import FileLock

__all__ = ["core_program"]

_ROOT = Path(__file__).parents[2]
_BUILD = _ROOT / "build" / "core"


@cache
def core_program(name: str) -> Path:
    """The program `core/tests/NAME.cpp`, as new as its sources."""
    cmake = Path(sys.executable).with_name("cmake")
    _BUILD.mkdir(parents=True, exist_ok=True)
    with FileLock(_BUILD / "tests.lock"):
        for step in (("-S", _ROOT / "core", "-B", _BUILD), ("--build", _BUILD, "--target", name)):
            done = subprocess.run([cmake, *step], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    return _BUILD / name
