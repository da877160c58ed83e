"""`verify` also goes back and guesses wrong: manifests that only these runs show to be wrong."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lfm_edge
import pytest
from lfm_edge import cli

from tests.support import DEMO_MODEL, export


def swap_columns(graph: dict[str, Any]) -> None:
    first, second, *_ = (tensor for tensor in graph["state"] if tensor["kind"] == "conv")
    first["columns"], second["columns"] = second["columns"], first["columns"]


def swap_state(graph: dict[str, Any]) -> None:
    """Two conv states whole, but for their columns: a straight run is right."""
    first, second, *_ = (tensor for tensor in graph["state"] if tensor["kind"] == "conv")
    for port in ("input", "output"):
        first[port], second[port] = second[port], first[port]


def swap_counts(graph: dict[str, Any]) -> None:
    (ports,) = graph["functions"]
    ports["replayed"], ports["conv_columns"] = ports["conv_columns"], ports["replayed"]


@pytest.mark.parametrize(
    ("edit", "way"),
    [(swap_columns, "guesses"), (swap_state, "guesses"), (swap_counts, "rewind")],
    ids=["columns", "state", "counts"],
)
def test_ports_that_golden_vectors_do_not_see_are_compared(
    edit: Callable[[dict[str, Any]], None],
    way: str,
    demo_bundle: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(demo_bundle("onnx", "q4"), tmp_path / "bundle")
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    edit(manifest["graph"])
    path.write_text(json.dumps(manifest))
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
