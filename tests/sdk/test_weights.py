"""What a manifest says of its weights, held to what this version reads, whatever the target."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lfm_edge import BundleError, UnsupportedBundleError
from lfm_edge.bundle import MANIFEST, Bundle, WeightFormat
from lfm_edge.targets import open_runtime
from lfm_edge.weights import require_weights
from lfm_ops.formats import FORMATS
from lfm_ops.layout import LAYOUT_VERSION

KNOWN = {name: WeightFormat(name, f.bits, f.group_size) for name, f in FORMATS.items()}


@pytest.fixture
def changed(toy_bundle: Path, tmp_path: Path) -> Callable[..., Bundle]:
    """The toy, whose manifest says something else of its weights."""

    def make(**quantization: Any) -> Bundle:
        folder = shutil.copytree(toy_bundle, tmp_path / "bundle", dirs_exist_ok=True)
        manifest = json.loads((folder / MANIFEST).read_bytes())
        manifest["quantization"] |= msgspec.to_builtins(quantization)
        (folder / MANIFEST).write_text(json.dumps(manifest))
        return Bundle(folder)

    return make


@pytest.mark.parametrize(
    ("method", "head", "formats"),
    [("q4", "q8", ["q4", "q8"]), ("q8", "q8", ["q8"]), ("f32", "f32", ["f32", "q4"])],
)
def test_weights_of_known_formats_are_taken(
    changed: Callable[..., Bundle], method: str, head: str, formats: list[str]
) -> None:
    weights = {"method": method, "head": head, "formats": [KNOWN[f] for f in formats]}
    require_weights(changed(**weights), packed=False)
    require_weights(changed(**weights, layout_version=LAYOUT_VERSION), packed=True)


@pytest.mark.parametrize(
    ("quantization", "error", "message"),
    [
        ({"method": "q8"}, BundleError, "quantization has the method q8, but formats are f32"),
        ({"head": "q4"}, BundleError, "quantization has the head q4, but formats are f32"),
        ({"formats": []}, BundleError, "quantization has the method f32, but formats are none"),
        (
            {"formats": [WeightFormat("q3", 3, 32)]},
            UnsupportedBundleError,
            r"weights of format q3 \(3 bits in groups of 32\), which this lfm-edge does not read",
        ),
        (
            {"formats": [KNOWN["f32"], WeightFormat("q4", 4, 128)]},
            UnsupportedBundleError,
            r"weights of format q4 \(4 bits in groups of 128\)",
        ),
        (
            {"layout_version": LAYOUT_VERSION},
            BundleError,
            f"layout_version is {LAYOUT_VERSION}, but weights of target onnx-portable lie in none",
        ),
    ],
)
def test_weights_that_are_not_read_are_refused_on_loading(
    changed: Callable[..., Bundle],
    quantization: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        open_runtime(changed(**quantization), 1)


@pytest.mark.parametrize(
    ("version", "error", "message"),
    [
        (None, BundleError, "layout_version is null, but weights of target onnx lie in a packed"),
        (LAYOUT_VERSION + 1, UnsupportedBundleError, "export the bundle again"),
    ],
)
def test_a_packed_layout_is_that_of_the_operators(
    changed: Callable[..., Bundle], version: int | None, error: type[Exception], message: str
) -> None:
    bundle = changed(layout_version=version)
    graph = msgspec.structs.replace(bundle.manifest.graph, target="onnx")
    bundle.manifest = msgspec.structs.replace(bundle.manifest, graph=graph)
    with pytest.raises(error, match=message):
        open_runtime(bundle, 1)
