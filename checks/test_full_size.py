"""The 8B-A1B in full, all 24 layers: exported in little memory, right, and running."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import lfm_edge
import pytest
from lfm_edge.bundle import Bundle

from checks.measured import run

SOURCE = "synthetic:lfm2.5-8b-a1b"
GIGABYTE = 1e9


@pytest.fixture(scope="module", params=["onnx", "onnx-portable"])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, float]]:
    """The bundle, and the peak resident memory of its export in bytes."""
    out = tmp_path_factory.mktemp("full") / "bundle"
    export = run("export", SOURCE, out, "--target", request.param, "--quant", "q4")
    print(
        f"\n{request.param}: export in {export.seconds:.0f} s, "
        f"peak RSS {export.peak / GIGABYTE:.2f} GB"
    )
    yield out, export.peak
    shutil.rmtree(out)


def test_memory_and_size(exported: tuple[Path, float]) -> None:
    out, peak = exported
    size = sum(entry.size for entry in Bundle(out).manifest.files.values())
    print(f"\nbundle: {size / GIGABYTE:.3f} GB")
    assert peak <= 2.0 * GIGABYTE
    assert size <= 5.0 * GIGABYTE


def test_it_computes_what_the_reference_computed(exported: tuple[Path, float]) -> None:
    report = lfm_edge.verify(exported[0])
    print(f"\n{report}")
    assert report.positions == 32


def test_it_generates(exported: tuple[Path, float]) -> None:
    model = lfm_edge.load(exported[0])
    pieces = list(model.generate("The", max_tokens=8, temperature=0))
    assert "".join(pieces)
