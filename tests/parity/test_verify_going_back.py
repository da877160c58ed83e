"""`verify` also goes back and guesses wrong: what only these runs show to be wrong."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import lfm_edge
import msgspec
import onnx
import pytest
from lfm_edge import cli
from lfm_edge.bundle import MANIFEST, Manifest

from tests.sdk.toy import write_manifest
from tests.support import DEMO_MODEL, export


def swap_columns(folder: Path) -> None:
    """Two convolutions give each other's columns; the manifest fits the graph."""
    path = folder / "model.onnx"
    graph = onnx.load(path, load_external_data=False)
    first, second, *_ = (node for node in graph.graph.node if node.op_type == "GatedShortConv")
    first.output[2], second.output[2] = second.output[2], first.output[2]
    onnx.save(graph, path)


def swap_counts(folder: Path) -> None:
    path = folder / MANIFEST
    manifest = json.loads(path.read_bytes())
    (ports,) = manifest["graph"]["functions"]
    ports["replayed"], ports["conv_columns"] = ports["conv_columns"], ports["replayed"]
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(("damage", "way"), [(swap_columns, "guesses"), (swap_counts, "rewind")])
def test_ports_that_golden_vectors_do_not_see_are_compared(
    damage: Callable[[Path], None],
    way: str,
    demo_bundle: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(demo_bundle("onnx", "q4"), tmp_path / "bundle")
    damage(folder)
    write_manifest(folder, msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest))
    monkeypatch.setattr(sys, "argv", ["lfm-edge", "verify", str(folder), "--threads", "1"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(SystemExit) as ending:
        cli.main()
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert (ending.value.code, out, len(errors)) == (2, "", 1)
    assert errors[0].startswith(f"error: {way}: the logits at position ")


@pytest.mark.parametrize(
    ("target", "quant", "compared"),
    [("onnx", "q4", ("rewind", "guesses")), ("onnx-portable", "q4", ())],
)
def test_a_good_bundle_passes(
    target: str, quant: str, compared: tuple[str, ...], demo_bundle: Callable[..., Path]
) -> None:
    assert lfm_edge.verify(demo_bundle(target, quant), threads=1).to_the_bit == compared


@pytest.mark.parametrize("context", [1, 5, 9, 14])
def test_a_context_shorter_than_a_replay_passes(context: int, tmp_path: Path) -> None:
    """The four convolutions see eight tokens back; five are the fewest that there is a place in."""
    export(DEMO_MODEL, tmp_path / "out", target="onnx", quant="q4", context=context)
    compared = lfm_edge.verify(tmp_path / "out", threads=1).to_the_bit
    assert compared == (("rewind", "guesses") if context >= 5 else ())
