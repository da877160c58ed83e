"""Manifests that say of a graph what it is not, or say two things by one name."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lfm_edge
import onnx
import pytest
from lfm_edge import BundleError, cli

from tests.sdk.toy import ToyModel, toy_manifest, write_manifest, write_toy_bundle

Edit = Callable[[dict[str, Any]], Any]


def _function(**roles: str) -> Edit:
    return lambda graph: graph["functions"][0].update(roles)


def _state(index: int, **values: object) -> Edit:
    return lambda graph: graph["state"][index].update(values)


def _model(**values: object) -> Edit:
    return lambda manifest: manifest["model"].update(values)


def _exchanged(port: str) -> Edit:
    """The keys' port for the values' and the other way round: both have one shape."""

    def edit(graph: dict[str, Any]) -> None:
        key, value, _ = graph["state"]
        key[port], value[port] = value[port], key[port]

    return edit


EDITS: dict[str, tuple[Edit, str]] = {
    "two tensors of one name": (_state(1, name="0.key"), "state: '0.key' stands for 2"),
    "a tensor twice": (
        lambda graph: graph["state"].append(graph["state"][0]),
        "state: '0.key' stands for 2",
    ),
    "one input for two tensors": (
        _state(1, input="past_key"),
        "inputs of main: 'past_key' stands for 2",
    ),
    "one input for two roles": (
        _function(replayed="attention_mask"),
        "inputs of main: 'attention_mask' stands for 2",
    ),
    "one output for two roles": (
        _function(logits="present_key"),
        "outputs of main: 'present_key' stands for 2",
    ),
    "two functions of one name": (
        lambda graph: graph["functions"].append(graph["functions"][0]),
        "functions: 'main' stands for 2",
    ),
    "a position beside the mask": (_function(position="place"), "a port 'place' for position"),
    "a count of tokens": (_function(valid="count"), "a port 'count' for valid"),
    "a cache that is called a conv state": (_state(0, kind="conv"), "1 axes grow"),
    "a conv state that is called a cache": (_state(2, kind="key"), "0 axes grow"),
    "a cache of fixed size": (_state(0, shape=[1, 1, 64, 8]), "0 axes grow"),
    "a tensor without axes": (_state(2, shape=[]), "shape"),
    "a wider conv state": (
        _state(2, shape=[1, 16, 3]),
        "inputs are not those of the manifest: past_conv is tensor(float) [1, 16, 2], expected "
        "tensor(float) [1, 16, 3]",
    ),
    "heads beyond any memory": (_state(0, shape=[1, 10**30, "capacity", 16]), "past_key is"),
    "an axis more": (_state(0, shape=[1, 1, 1, "capacity", 16]), "past_key is"),
    "inputs exchanged": (_exchanged("input"), "input past_value where the graph's order has"),
    "outputs exchanged": (_exchanged("output"), "output present_value where the graph's"),
}


def _run(*args: object, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(sys, "argv", ["lfm-edge", *map(str, args)])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(SystemExit) as ending:
        cli.main()
    return ending.value.code


def _edited(source: Path, folder: Path, edit: Edit) -> Path:
    shutil.copytree(source, folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    edit(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.mark.parametrize("vocab_size", [301, 10**10, 10**30])
def test_a_vocabulary_that_the_graph_has_not_ends_in_one_line(
    vocab_size: int,
    toy_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = _edited(toy_bundle, tmp_path / "bundle", _model(vocab_size=vocab_size))
    assert _run("generate", folder, "a", monkeypatch=monkeypatch) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    there, wanted = (f"tensor(float) [1, 1, {size}]" for size in (300, vocab_size))
    assert f"logits is {there}, expected {wanted}" in err


@pytest.mark.parametrize("context", [10**15, 10**30])
def test_a_context_beyond_any_memory_ends_in_one_line(
    context: int,
    toy_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = _edited(toy_bundle, tmp_path / "bundle", _model(max_context=context))
    args = ("generate", folder, "a", "--context", context)
    assert _run(*args, monkeypatch=monkeypatch) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"bytes of state of {context:,} tokens and 300 logits; take a smaller context" in err


@pytest.mark.parametrize(
    ("room", "held"), [("2048", True), ("4000", True), ("2047", False), ("many", False)]
)
def test_a_context_beyond_the_tables_of_the_graph_is_refused(
    room: str, held: bool, tmp_path: Path
) -> None:
    folder = write_toy_bundle(tmp_path / "bundle")
    graph = ToyModel().graph()
    onnx.helper.set_model_props(graph, {"max_context": room})
    onnx.save(graph, folder / "model.onnx")
    write_manifest(folder, toy_manifest(ToyModel()))
    if held:
        assert lfm_edge.load(folder, threads=1).session(2048).capacity == 2048
    else:
        with pytest.raises(BundleError, match=r"has room for .* says max_context 2,048; export"):
            lfm_edge.load(folder, threads=1)


@pytest.mark.parametrize("name", EDITS)
def test_a_graph_described_wrongly_ends_in_one_line(
    name: str,
    toy_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    edit, message = EDITS[name]
    folder = _edited(toy_bundle, tmp_path / "bundle", lambda manifest: edit(manifest["graph"]))
    code = _run("generate", folder, "a", "--max-tokens", 1, monkeypatch=monkeypatch)
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_golden_vectors_without_the_largest_logits_end_in_one_line(
    toy_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        golden = manifest["golden"]
        empty: list[list[int]] = [[] for _ in golden["ids"]]
        golden |= {"top_ids": empty, "top_logits": empty, "probe_logits": empty, "probe_ids": []}

    folder = _edited(toy_bundle, tmp_path / "bundle", edit)
    assert _run("verify", folder, monkeypatch=monkeypatch) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "golden vectors are empty" in err


def test_a_link_to_itself_is_one_line(tmp_path: Path) -> None:
    copy = write_toy_bundle(tmp_path / "copy")
    (copy / "device.bin").unlink(missing_ok=True)
    (copy / "device.bin").symlink_to("device.bin")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["device.bin"] = {"size": 1, "sha256": "0" * 64}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"device\.bin"):
        lfm_edge.load(copy)
