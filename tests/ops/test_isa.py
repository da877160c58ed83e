"""The instruction set that the operators take is the best that the system says the CPU has."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

FLAGS = {
    "avx512vnni": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"},
    "avxvnni": {"avx_vnni"},
    "avx2": set[str](),
}
"""Besides those of AVX2; the best first."""


@pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"),
    reason="NOT RUN: Linux alone tells what an x86-64 has; `make arm` tests ARM's choice",
)
def test_the_best_instruction_set_is_taken() -> None:
    cpuinfo = Path("/proc/cpuinfo").read_text()
    [line, *_] = [line for line in cpuinfo.splitlines() if line.startswith("flags")]
    flags = set(line.split())
    expected = "scalar"
    if flags >= {"avx2", "fma", "f16c"}:
        expected = next(isa for isa, needed in FLAGS.items() if flags >= needed)
    environment = {key: value for key, value in os.environ.items() if key != "LFM_OPS_ISA"}
    command = [
        sys.executable,
        "-c",
        "from lfm_ops.library import instruction_set; print(instruction_set())",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
