"""The 8B-A1B as a Core ML package, all 24 layers: exported in little memory, and right."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import coremltools
import pytest
from lfm_edge.bundle import Bundle

from checks.measured import Finished, run

SOURCE = "synthetic:lfm2.5-8b-a1b"
GIGABYTE = 1e9


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Finished]]:
    """The bundle, and what its export took."""
    out = tmp_path_factory.mktemp("full") / "bundle"
    yield out, run("export", SOURCE, out, "--target", "coreml", "--quant", "q4")
    shutil.rmtree(out)


def test_memory_size_and_time(exported: tuple[Path, Finished]) -> None:
    out, export = exported
    size = sum(entry.size for entry in Bundle(out).manifest.files.values())
    quantization = re.search(r"quantize: .* in (\d+) s", export.stderr)
    assert quantization is not None
    rest = export.seconds - float(quantization[1])
    print(f"\n{size / GIGABYTE:.3f} GB, peak RSS {export.peak / GIGABYTE:.2f} GB")
    print(f"{rest:.0f} s besides {quantization[1]} s of quantization")
    assert export.peak <= 2.0 * GIGABYTE
    assert size <= 5.0 * GIGABYTE


def test_coremltools_reads_it_back(exported: tuple[Path, Finished]) -> None:
    package = str(Bundle(exported[0]).graph_path)
    spec = coremltools.models.MLModel(package, skip_model_load=True).get_spec()
    assert [function.name for function in spec.description.functions] == ["decode", "prefill"]


def test_it_computes_what_the_reference_computed(exported: tuple[Path, Finished]) -> None:
    """One token: NumPy reads all weights for it."""
    verify = run("verify", exported[0], "--tokens", 1)
    print(f"\nverify: {verify.seconds:.0f} s, peak RSS {verify.peak / GIGABYTE:.2f} GB")
    assert verify.peak <= 6.0 * GIGABYTE
