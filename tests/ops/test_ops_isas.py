"""The tests of the operators on every instruction set that this CPU has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ops.nodes import isas

HERE = Path(__file__).parent
OTHERS = isas()[:-1]  # the last is the fastest, on which they run anyway


@pytest.mark.parametrize("isa", OTHERS)
def test_operators(isa: str) -> None:
    modules = [str(path) for path in sorted(HERE.glob("test_ops_*.py")) if path != Path(__file__)]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            *modules,
        ],
        cwd=HERE.parents[1],
        env={**os.environ, "LFM_OPS_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("variable", "value"), [("LFM_OPS_ISA", "abacus"), ("LFM_OPS_PREFETCH", "far")]
)
def test_what_the_environment_forces_wrongly_is_refused(variable: str, value: str) -> None:
    script = (
        "import onnxruntime as ort; from lfm_ops import library_path; "
        "ort.SessionOptions().register_custom_ops_library(str(library_path()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, variable: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"{variable}={value}: " in done.stderr


def test_the_library_says_what_it_computes_with() -> None:
    script = (
        "from lfm_ops import library; print(library.instruction_set(), library.prefetch_bytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "LFM_OPS_ISA": "scalar", "LFM_OPS_PREFETCH": "512"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "scalar 0\n"  # the plain loops fetch nothing ahead
