"""The rooms know only those below them, and running a bundle needs nothing that exporting needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"lfm_ops": ROOT / "ops", "lfm_edge": ROOT / "sdk_python", "lfm_export": ROOT / "export"}
HEAVY = {"torch", "transformers", "onnx", "onnx_ir", "huggingface_hub", "matplotlib"}


def imports_of(room: str) -> Iterator[tuple[Path, set[str]]]:
    """A room's files with the packages that each imports, in functions too."""
    for path in (ROOMS[room] / room).rglob("*.py"):
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                found.add(node.module.partition(".")[0])
        yield path, found


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [("lfm_ops", {"lfm_edge", "lfm_export"}), ("lfm_edge", {"lfm_export"})],
)
def test_no_room_imports_one_above_it(room: str, forbidden: set[str]) -> None:
    for path, packages in imports_of(room):
        assert packages & forbidden == set(), path


# `coreai-torch` translates torch modules; the other two are there for who uses torch anyway.
NEED_TORCH = {
    "lfm_export/emit/coreai": {"torch"},
    "lfm_export/torch": {"torch"},
    "lfm_edge/hf": {"torch", "transformers"},
}


def test_nothing_else_needs_torch() -> None:
    for room, root in ROOMS.items():
        for path, packages in imports_of(room):
            allowed = NEED_TORCH.get(path.parent.relative_to(root).as_posix(), set())
            assert packages & {"torch", "transformers"} <= allowed, path


def test_running_a_bundle_imports_nothing_heavy() -> None:
    code = "import sys, lfm_edge, lfm_edge.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    assert set(done.stdout.split()) & HEAVY == set()


def test_exporting_loads_torch_for_no_other_target() -> None:
    code = "import sys, lfm_export.commands; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    assert set(done.stdout.split()) & {"torch", "transformers", "coreai_torch"} == set()
