"""Small programs of the device core, as `make core` builds them."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest

__all__ = ["BUILD", "ONNXRUNTIME", "core_program"]

BUILD = Path(__file__).parents[2] / "build" / "core"
ONNXRUNTIME = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.*"), None)
"""The library that Python's package has."""


def core_program(name: str) -> Path:
    """A file that is built; skips the test where it is not, or nothing is there to run it on."""
    path = BUILD / name
    if not path.is_file() or ONNXRUNTIME is None:
        pytest.skip(f"NOT RUN: {name} is not built, or there is no ONNX Runtime; `make core`")
    return path
