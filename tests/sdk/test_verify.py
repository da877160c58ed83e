"""`verify`: a good bundle passes with figures, and every kind of damage is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lfm_edge
import msgspec
import numpy as np
import onnx
import pytest
from lfm_edge import BundleError, IntegrityError
from lfm_edge.bundle import MANIFEST, Bundle, Manifest
from lfm_edge.progress import Quiet
from onnx import numpy_helper

from tests.sdk.toy import ToyModel, toy_manifest, write_manifest, write_toy_bundle


class Seen(Quiet):
    """How much of each stage was done, and of how much."""

    def __init__(self) -> None:
        self.stages: dict[str, tuple[int, int]] = {}
        self.current = ""

    def stage(self, name: str, total: int, unit: str) -> None:
        self.current, self.stages[name] = name, (0, total)

    def advance(self, amount: int) -> None:
        done, total = self.stages[self.current]
        self.stages[self.current] = (done + amount, total)


def test_a_good_bundle_passes_with_figures(toy_bundle: Path) -> None:
    seen = Seen()
    report = lfm_edge.verify(toy_bundle, seen, 1)
    assert 0 < report.decode_error < report.tolerance
    assert 0 < report.prefill_error < report.tolerance
    assert (report.files, report.positions) == (4, 32)
    assert 25 < report.argmaxes <= 32
    assert report.size == sum(path.stat().st_size for path in toy_bundle.iterdir()) - (
        (toy_bundle / "manifest.json").stat().st_size
    )
    assert seen.stages == {"hash": (report.size,) * 2, "decode": (32, 32), "prefill": (32, 32)}


def test_damage_of_a_large_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_toy_bundle(tmp_path / "bundle")
    graph = folder / "model.onnx"
    data = bytearray(graph.read_bytes())
    data[data.index(ToyModel().embedding.tobytes()) + 100] ^= 1
    graph.write_bytes(data)
    monkeypatch.setattr("lfm_edge.bundle.SMALL_FILE_BYTES", 100)
    lfm_edge.load(folder)
    with pytest.raises(IntegrityError, match=r"model\.onnx: SHA-256"):
        lfm_edge.verify(folder)


def in_folders(folder: Path) -> tuple[Path, Path]:
    """A toy with a listed file two folders down, and that file."""
    inner = write_toy_bundle(folder) / "model.mlpackage" / "Data" / "weight.bin"
    inner.parent.mkdir(parents=True)
    inner.write_bytes(b"weights")
    manifest = toy_manifest(ToyModel())
    graph = msgspec.structs.replace(manifest.graph, file="model.mlpackage")
    write_manifest(folder, msgspec.structs.replace(manifest, graph=graph))
    return folder, inner


def test_a_graph_may_be_a_folder(tmp_path: Path) -> None:
    folder, inner = in_folders(tmp_path / "bundle")
    bundle = Bundle(folder)
    assert "model.mlpackage/Data/weight.bin" in bundle.manifest.files
    assert bundle.graph_path == folder / "model.mlpackage"
    inner.write_bytes(b"Weights")
    with pytest.raises(IntegrityError, match=r"model\.mlpackage/Data/weight\.bin: SHA-256"):
        Bundle(folder)


def with_external_weights(folder: Path, location: str, listed: bool) -> Path:
    """A toy whose weights lie in a file beside the graph, and a file that is none of its own."""
    write_toy_bundle(folder)
    graph = ToyModel().graph()
    outside: dict[str, Any] = {
        "save_as_external_data": True,
        "location": location,
        "size_threshold": 200,
    }
    onnx.save(graph, folder / "model.onnx", **outside)
    (folder / location[:-1]).write_text("a file with the beginning of that name")
    (folder / "README.md").write_text("location of the weights: README.md")
    write_manifest(folder, toy_manifest(ToyModel()))
    path = folder / MANIFEST
    manifest = json.loads(path.read_bytes())
    del manifest["files"]["README.md"], manifest["files"][location[:-1]]
    if not listed:
        del manifest["files"][location]
    path.write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("location", ["model.onnx.data", "ww", f"{'weights' * 30}.bin"])
def test_weights_that_the_manifest_does_not_list_are_refused(tmp_path: Path, location: str) -> None:
    lfm_edge.verify(with_external_weights(tmp_path / "listed", location, True), threads=1)
    folder = with_external_weights(tmp_path / "bundle", location, False)
    with pytest.raises(IntegrityError, match=f": {location} belongs to the graph, but"):
        lfm_edge.verify(folder)


def test_what_a_graph_folder_holds_beside_the_list_is_refused(tmp_path: Path) -> None:
    folder, inner = in_folders(tmp_path / "bundle")
    inner.with_name(".DS_Store").write_bytes(b"where the icons are")
    Bundle(folder).check_hashes()
    inner.with_name("other.bin").write_bytes(b"other weights")
    with pytest.raises(IntegrityError, match=r"Data/other\.bin belongs to the graph"):
        Bundle(folder).check_hashes()


@pytest.mark.parametrize(
    "name", ["/a", "a/", "a//b", "./a", "a/./b", "a/../b", "..", "a\\b", ".a", "a/.b", "a\n", ""]
)
def test_names_that_are_no_paths_of_plain_names_are_refused(tmp_path: Path, name: str) -> None:
    folder = write_toy_bundle(tmp_path / "bundle")
    path = folder / MANIFEST
    manifest = json.loads(path.read_bytes())
    manifest["files"][name] = {"size": 1, "sha256": "0" * 64}
    path.write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="is not a path of plain names"):
        Bundle(folder)


@pytest.mark.parametrize("tensor", ["query", "key", "value", "kernel", "embedding", "bias"])
def test_a_graph_that_computes_something_else_is_found(tmp_path: Path, tensor: str) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    toy = ToyModel()
    graph = toy.graph()
    weight = next(w for w in graph.graph.initializer if w.name == tensor)
    changed = numpy_helper.to_array(weight) + np.float32(0.05)
    weight.CopyFrom(numpy_helper.from_array(changed, tensor))
    onnx.save(graph, folder / "model.onnx")
    write_manifest(folder, toy_manifest(toy))
    with pytest.raises(IntegrityError, match="golden vectors missed in decode at position"):
        lfm_edge.verify(folder)


def golden_changed(folder: Path, change: Callable[[Manifest], Manifest]) -> Path:
    """Writes a toy whose golden vectors are not those of the model."""
    write_toy_bundle(folder)
    write_manifest(folder, change(toy_manifest(ToyModel())))
    return folder


def test_one_wrong_probe_is_named_with_its_position(tmp_path: Path) -> None:
    def change(manifest: Manifest) -> Manifest:
        manifest.golden.probe_logits[17][3] += 0.01
        return manifest

    with pytest.raises(IntegrityError, match=r"position 17: token 18 has logit .* expected"):
        lfm_edge.verify(golden_changed(tmp_path / "bundle", change))


def test_a_wrong_greedy_token_is_found_where_no_compared_logit_differs(tmp_path: Path) -> None:
    def change(manifest: Manifest) -> Manifest:
        golden = manifest.golden
        tops = [row[1:] for row in golden.top_ids]
        logits = [row[1:] for row in golden.top_logits]
        return msgspec.structs.replace(
            manifest,
            golden=msgspec.structs.replace(
                golden, top_ids=tops, top_logits=logits, probe_ids=[], probe_logits=[[]] * 32
            ),
        )

    with pytest.raises(IntegrityError, match="position 0: the likeliest token is"):
        lfm_edge.verify(golden_changed(tmp_path / "bundle", change))


def test_logits_that_are_no_numbers_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    graph = ToyModel({5: float("nan"), 6: float("nan")}).graph()
    onnx.save(graph, folder / "model.onnx")
    write_manifest(folder, toy_manifest(ToyModel()))
    with pytest.raises(IntegrityError, match="token 6 has logit nan"):
        lfm_edge.verify(folder)


def test_conv_state_that_is_not_carried_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    graph = ToyModel().graph()
    zeros = numpy_helper.from_array(np.zeros((1, 16, 2), np.float32), "zeros")
    graph.graph.initializer.append(zeros)
    conv = next(node for node in graph.graph.node if node.op_type == "CausalConvWithState")
    conv.input[3] = "zeros"
    onnx.save(graph, folder / "model.onnx")
    write_manifest(folder, toy_manifest(ToyModel()))
    with pytest.raises(IntegrityError, match="golden vectors missed in decode at position 1"):
        lfm_edge.verify(folder)


@pytest.mark.parametrize(("tokens", "position"), [(None, 7), (3, 2)])
def test_a_graph_that_fails_only_in_chunks_is_found(
    tmp_path: Path, tokens: int | None, position: int
) -> None:
    """Of few chunks one must hold, even where every position may miss."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    graph = ToyModel().graph()
    last = next(weight for weight in graph.graph.initializer if weight.name == "last")
    last.CopyFrom(numpy_helper.from_array(np.array([0]), "last"))
    onnx.save(graph, folder / "model.onnx")
    manifest = toy_manifest(ToyModel())
    if tokens:
        golden = msgspec.structs.replace(manifest.golden, outliers=32)
        manifest = msgspec.structs.replace(manifest, golden=golden)
    write_manifest(folder, manifest)
    complaint = f"golden vectors missed in prefill at position {position}"
    with pytest.raises(IntegrityError, match=complaint):
        lfm_edge.verify(folder, tokens=tokens)
