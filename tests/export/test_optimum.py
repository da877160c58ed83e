"""`optimum-cli export lfm-edge` is `lfm-edge export`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import lfm_edge

from tests.support import DEMO_MODEL

BIN = Path(sys.executable).parent


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / arguments[0], *arguments[1:]], capture_output=True, text=True, check=False
    )


def test_exports_the_same_bundle_with_a_targets_own_options(tmp_path: Path) -> None:
    options = ("--quant", "q8", "--kv", "int8", "--context", "300")
    for folder, command in (
        ("a", ["optimum-cli", "export", "lfm-edge"]),
        ("b", ["lfm-edge", "export"]),
    ):
        done = run(*command, DEMO_MODEL, tmp_path / folder, *options)
        assert done.returncode == 0, done.stderr
    ours, theirs = (lfm_edge.load(tmp_path / name).bundle.manifest for name in "ab")
    assert ours.files == theirs.files
    assert ours.model.max_context == 300


def test_help_and_mistakes_are_those_of_lfm_edge(tmp_path: Path) -> None:
    for wrong in (["--help"], ["no/such", str(tmp_path), "--kv", "f64"], ["-x"], []):
        ours = run("optimum-cli", "export", "lfm-edge", *wrong)
        theirs = run("lfm-edge", "export", *wrong)
        assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)
        assert ours.stderr.endswith(theirs.stderr)
    assert "lfm-edge" in run("optimum-cli", "export", "--help").stdout
