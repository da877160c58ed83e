"""The wheels that `make wheels` left in `dist`."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]


def wheel_for(cpu: str) -> Path:
    """The wheel for Linux on a CPU, `x86_64` or `aarch64`; skips the test that asks for none."""
    wheels = list((ROOT / "dist").glob(f"lfm_edge-*_{cpu}.whl"))
    if not wheels:
        pytest.skip("NOT RUN, not built: `make wheels` does it")
    (wheel,) = wheels
    sources = [path for path in (ROOT / "ops").rglob("*") if path.suffix in {".cpp", ".h", ".py"}]
    if wheel.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        pytest.skip(f"NOT RUN, {wheel.name} is older than its sources: `make wheels` builds it")
    return wheel


def library_of(wheel: Path, folder: Path) -> Path:
    """The library of a wheel, unpacked into a folder."""
    with ZipFile(wheel) as archive:
        return Path(archive.extract("lfm_ops/liblfm_ops.so", folder))
