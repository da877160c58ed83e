"""Whole bundles in a real ONNX Runtime, driven by a program in C++: here, and on ARM.

`make core` and `make arm` build what is run, `make clang` and `make wheels` what it is compared
with. The ARM machines are emulated: one has 8-bit matrix products, one dot products only, one
neither.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
import onnxruntime
import pytest
from lfm_edge.bundle import Bundle, GoldenVectors, StateTensor
from numpy.typing import NDArray

from tests.ops.nodes import isas
from tests.support import export, random_model, saved, tiny_moe
from tests.wheels import library_of, wheel_for

ROOT = Path(__file__).parents[2]
CAPACITY = 40
RAGGED = (8, 5, 1, 3, 8, 7)
ONNX_TYPES = {"float32": 1, "int8": 3, "float16": 10}
BUNDLES: dict[str, dict[str, Any]] = {
    "f32": {"quant": "f32"},
    "q8": {"quant": "q8"},
    "q4": {"quant": "q4", "kv": "f32"},
    "q4-head-int8-cache": {"quant": "q4", "head": "q4", "kv": "int8"},
}


@dataclass(frozen=True)
class Machine:
    """Where builds of ours run, on which ONNX Runtime, and the instruction sets to be tried."""

    build: Path
    clang: Path
    cpu: str
    runtime: Path
    isas: tuple[str, ...]
    emulator: tuple[str, ...] = ()

    @property
    def library(self) -> Path:
        return self.build / "liblfm_ops.so"

    def run(
        self, script: str, library: Path, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        program = self.build / "tests" / "run_graph"
        (runtime,) = self.runtime.glob("libonnxruntime.so.*")
        return subprocess.run(
            [*self.emulator, str(program), str(runtime), str(library)],
            input=script.encode(),
            env={**os.environ, **environment},
            capture_output=True,
            check=False,
        )


def emulated(cpu: str, best: str) -> Machine:
    build = ROOT / "build" / "aarch64"
    emulator = ("qemu-aarch64", "-L", str(build / "sysroot"), "-cpu", cpu)
    clang, runtime = ROOT / "build" / "clang" / "aarch64" / "ops", build / "onnxruntime" / "capi"
    return Machine(build / "ops", clang, "aarch64", runtime, (best,), emulator)


MACHINES = {
    "here": Machine(
        ROOT / "build" / "core" / "ops",
        ROOT / "build" / "clang" / "core" / "ops",
        platform.machine(),
        Path(onnxruntime.__file__).parent / "capi",
        tuple(isas()),
    ),
    "arm-max": emulated("max", "neon_i8mm"),
    "arm-cortex-a76": emulated("cortex-a76", "neon_dotprod"),
    "arm-cortex-a72": emulated("cortex-a72", "scalar"),
}


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> Machine:
    """A machine whose builds are there."""
    found = MACHINES[request.param]
    target = "arm" if found.emulator else "core"
    if platform.system() != "Linux":
        pytest.skip("NOT RUN: run_graph is built and run on Linux")
    if not found.library.is_file() or not any(found.runtime.glob("libonnxruntime.so.*")):
        pytest.skip(f"NOT RUN, not built: `make {target}` does it, where its tools can be had")
    return found


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """Exports of one model with convolution, attention, a dense layer and experts."""
    folder = tmp_path_factory.mktemp("bundles")
    source = saved(random_model(tiny_moe()), folder / "checkpoint")
    made: dict[str, Bundle] = {}

    def make(name: str) -> Bundle:
        if name not in made:
            made[name] = export(source, folder / name, **BUNDLES[name])
        return made[name]

    return make


@dataclass(frozen=True)
class Reading:
    """What a graph gave for the golden ids, read in some chunks."""

    logits: NDArray[np.float32]  # [chunks, vocab]
    state: bytes


def read(
    machine: Machine,
    bundle: Bundle,
    *readings: Sequence[int],
    library: Path | None = None,
    **environment: str,
) -> list[Reading]:
    """Reads the golden ids in one session, each time in other chunks."""
    graph, vocab = bundle.manifest.graph, bundle.manifest.model.vocab_size
    script = [f"graph {bundle.graph_path} {vocab} 2", *map(_state_line, graph.state)]
    for chunks in readings:
        ids = iter(bundle.manifest.golden.ids)
        script += [" ".join(["run", str(n), *(str(next(ids)) for _ in range(n))]) for n in chunks]
        script.append("reset")
    done = machine.run("\n".join(script), library or machine.library, **environment)
    assert done.returncode == 0, done.stderr.decode()
    size = sum(_shape_and_bytes(tensor)[1] for tensor in graph.state)
    results, start = [], 0
    for chunks in readings:
        stop = start + 4 * vocab * len(chunks)
        logits = np.frombuffer(done.stdout[start:stop], np.float32).reshape(-1, vocab)
        results.append(Reading(logits, done.stdout[stop : stop + size]))
        start = stop + size
    assert start == len(done.stdout)
    return results


def _state_line(tensor: StateTensor) -> str:
    shape, _ = _shape_and_bytes(tensor)
    size = np.dtype(tensor.dtype).itemsize
    kind = ONNX_TYPES[tensor.dtype]
    return f"state {tensor.input} {tensor.output} {kind} {size} {len(shape)} " + " ".join(
        map(str, shape)
    )


def _shape_and_bytes(tensor: StateTensor) -> tuple[list[int], int]:
    shape = [CAPACITY if size == "capacity" else size for size in tensor.shape]
    return shape, int(np.prod(shape)) * np.dtype(tensor.dtype).itemsize


def here(bundle: Bundle) -> NDArray[np.float32]:
    """The logits of a session in this process, token by token."""
    session = lfm_edge.load(bundle.folder).session(CAPACITY)
    return np.stack([session.decode(token) for token in bundle.manifest.golden.ids])


def golden_errors(golden: GoldenVectors, logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """The largest error of each position."""
    errors = []
    for row, ids, top, probes in zip(
        logits, golden.top_ids, golden.top_logits, golden.probe_logits, strict=True
    ):
        wanted = np.array(top + probes)
        errors.append(np.abs(row[ids + golden.probe_ids] - wanted).max())
    return np.array(errors)


@pytest.mark.parametrize("name", BUNDLES)
def test_a_session_meets_the_golden_vectors(
    machine: Machine, bundle: Callable[[str], Bundle], name: str
) -> None:
    made = bundle(name)
    golden = made.manifest.golden
    singly, ragged = read(machine, made, [1] * len(golden.ids), RAGGED)
    missed = golden_errors(golden, singly.logits) > golden.tolerance
    assert missed.sum() <= golden.outliers
    # The bits do not depend on the chunks.
    ends = np.cumsum(RAGGED) - 1
    assert np.array_equal(singly.logits[ends], ragged.logits)
    assert singly.state == ragged.state
    # Products have the same bits everywhere, attention differs in its last ones; where that makes
    # an activation round to another integer, the position is off by as much as that integer counts.
    errors = np.abs(singly.logits - here(made)).max(axis=-1)
    assert (errors > 1e-5).sum() <= (0 if name == "f32" else 3)


def test_the_best_instruction_set_is_taken(
    machine: Machine, bundle: Callable[[str], Bundle]
) -> None:
    """To be refused, one that this machine lacks is asked for: the answer names the best."""
    made = bundle("f32")
    absent = "avx2" if machine.emulator else "neon_dotprod"
    script = f"graph {made.graph_path} {made.manifest.model.vocab_size} 1"
    refused = machine.run(script, machine.library, LFM_OPS_ISA=absent)
    assert refused.returncode == 1
    assert refused.stderr.decode().rstrip().endswith(f"its best is {machine.isas[-1]}")


def library_by(maker: str, machine: Machine, folder: Path) -> Path:
    """What another compiler made for a machine."""
    if maker == "wheel":
        return library_of(wheel_for(machine.cpu), folder)
    library = machine.clang / "liblfm_ops.so"
    if not library.is_file():
        pytest.skip("NOT RUN, not built: `make clang` or `make clang-arm-library` does it")
    return library


@pytest.mark.parametrize("maker", ["clang", "wheel"])
@pytest.mark.parametrize("name", BUNDLES)
def test_the_bits_do_not_depend_on_the_compiler(
    machine: Machine, bundle: Callable[[str], Bundle], name: str, maker: str, tmp_path: Path
) -> None:
    made, library = bundle(name), library_by(maker, machine, tmp_path)
    for isa in machine.isas:
        (mine,) = read(machine, made, RAGGED, LFM_OPS_ISA=isa)
        (other,) = read(machine, made, RAGGED, library=library, LFM_OPS_ISA=isa)
        assert np.array_equal(mine.logits, other.logits), isa
        assert mine.state == other.state, isa
