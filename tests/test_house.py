"""The rooms know only those below them, and running a bundle needs nothing that exporting needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"lfm_ops": ROOT / "ops", "lfm_edge": ROOT / "sdk_python", "lfm_export": ROOT / "export"}
HEAVY = {"torch", "transformers", "onnx", "onnx_ir", "huggingface_hub", "matplotlib"}


def imported(room: str) -> set[str]:
    """The packages that a room's files import, in functions too."""
    found: set[str] = set()
    for path in (ROOMS[room] / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [("lfm_ops", {"lfm_edge", "lfm_export"}), ("lfm_edge", {"lfm_export"})],
)
def test_no_room_imports_one_above_it(room: str, forbidden: set[str]) -> None:
    assert imported(room) & forbidden == set()


def test_no_room_needs_torch_or_transformers() -> None:
    assert set().union(*map(imported, ROOMS)) & {"torch", "transformers"} == set()


def test_running_a_bundle_imports_nothing_heavy() -> None:
    code = "import sys, lfm_edge, lfm_edge.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & HEAVY == set()
