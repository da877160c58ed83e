"""Small programs of the device core."""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ["core_program"]

_BUILD = Path(__file__).parents[2] / "build" / "core"


def core_program(name: str) -> Path:
    """The program `core/tests/NAME.cpp`; skips the test where it is not built."""
    path = _BUILD / name
    if not path.is_file():
        pytest.skip(f"{name} is not built: make core")
    return path
