"""A calibration on a local Ray cluster: the integers of one process, always."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lfm_edge.progress import Quiet
from lfm_export.architecture import Linear, describe, tensors_of
from lfm_export.calibrate import calibrate, part, walk
from lfm_export.checkpoint import open_checkpoint
from lfm_export.cluster import Cluster
from lfm_export.demo import DEMO_MODEL
from lfm_export.quantize import Scheme
from lfm_export.walk import Sequences
from lfm_export.workers import Threads, Workers
from lfm_ops.quantized import QuantizedTensor

from tests.cluster.pieces import Noting, quantize_or_die
from tests.support import random_model, saved, tiny_lfm3, tiny_moe

TEXT = Sequences(tuple(np.random.default_rng(3).integers(0, 320, 40) for _ in range(4)))


class StoppedError(Exception):
    pass


class StoppedAfter(Noting):
    def __init__(self, amounts: int) -> None:
        super().__init__()
        self.left = amounts

    def advance(self, amount: int) -> None:
        if not self.left:
            raise StoppedError
        self.left -= 1
        super().advance(amount)


@pytest.fixture(scope="module", params=["moe", "lfm3"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = random_model(tiny_moe() if request.param == "moe" else tiny_lfm3())
    return saved(model, tmp_path_factory.mktemp("source") / request.param)


def calibrated(
    source: Path, folder: Path, workers: Workers, progress: Quiet
) -> dict[str, QuantizedTensor]:
    with open_checkpoint(str(source)) as checkpoint:
        architecture, scheme = describe(checkpoint.config), Scheme.choose("q4", "q4")
        with calibrate(checkpoint, architecture, scheme, TEXT, folder, progress, workers) as found:
            linears = [t for t in tensors_of(architecture) if isinstance(t, Linear)]
            linears = [linear for linear in linears if linear.name in found.names]
            matrices = {linear.name: found.matrix(linear) for linear in linears}
            return {name: matrix for name, matrix in matrices.items() if matrix is not None}


def assert_same(one: dict[str, QuantizedTensor], other: dict[str, QuantizedTensor]) -> None:
    assert one.keys() == other.keys()
    for name, matrix in one.items():
        assert np.array_equal(matrix.values, other[name].values), name
        assert np.array_equal(matrix.scales, other[name].scales), name  # type: ignore[arg-type]


def test_integers_are_those_of_one_process_whoever_is_lost(
    address: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Noting()
    alone = calibrated(source, tmp_path / "alone", Threads(), heard)
    assert len(alone) > 10
    for cpus in (1, 2):  # a worker that takes both CPUs is the only one
        progress = Noting()
        with Cluster.open(address, cpus, progress.note) as cluster:
            got = calibrated(source, tmp_path / f"cpus{cpus}", cluster, progress)
        assert_same(got, alone)
        assert progress.done == heard.done
        assert progress.notes == []
    if source.name != "moe":
        return
    dying = functools.partial(quantize_or_die, tmp_path / "dead")
    monkeypatch.setattr(walk, "quantize_part", dying)
    progress = Noting()
    with Cluster.open(address, 1, progress.note) as cluster:
        assert_same(calibrated(source, tmp_path / "lost", cluster, progress), alone)
    assert (tmp_path / "dead").exists()
    assert progress.notes
    assert re.fullmatch(r"a worker was lost .*: piece \d+ is done again", progress.notes[0])
    assert progress.done == heard.done


def test_what_a_killed_calibration_found_is_taken_up(
    address: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = calibrated(source, tmp_path / "alone", Threads(), Quiet())
    state = tmp_path / "state"
    with Cluster.open(address, 1, print) as cluster:
        with pytest.raises(StoppedError):
            calibrated(source, state, cluster, StoppedAfter(12 if source.name == "moe" else 5))
        begun = {file.name for file in (state / "tensors").iterdir()}
        assert 0 < len(begun) < len(alone)
        again: list[str] = []

        def watched(scheme: Scheme, read: part.PartRead, workers: Workers) -> object:
            again.extend(read.original.matrices)
            return part.quantize_part(scheme, read, workers)

        if source.name == "lfm3":  # whose parts are begun here
            monkeypatch.setattr(walk, "quantize_part", watched)
        assert_same(calibrated(source, state, cluster, Quiet()), alone)
    assert begun.isdisjoint(f"{name}.npz" for name in again)


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lfm_edge", "export", DEMO_MODEL, *words]
    return subprocess.run([*map(str, command)], stderr=subprocess.PIPE, text=True, check=False)


def test_an_export_on_a_cluster_is_that_of_one_process(address: str, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("def read(path):\n    return open(path).read()\n" * 99)
    words = ("--calibrate", text, "--quant", "auto", "--bits", "4.5")
    assert run(tmp_path / "alone", *words).returncode == 0
    done = run(tmp_path / "together", *words, "--ray", address)
    assert done.returncode == 0, done.stderr
    for name in ("model.onnx", "model.onnx.data"):
        alone, together = (tmp_path / who / name for who in ("alone", "together"))
        assert alone.read_bytes() == together.read_bytes()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--calibrate", "TEXT", "--ray", "127.0.0.1:1"), "--ray 127.0.0.1:1: does not answer"),
        (("--calibrate", "TEXT", "--ray", "there"), "--ray there: expected HOST:PORT"),
        (("--ray", "127.0.0.1:1"), "--ray 127.0.0.1:1: goes with --calibrate TEXT"),
    ],
)
def test_what_cannot_be_shared_is_refused_in_one_line(
    tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("words " * 2000)
    done = run(tmp_path / "out", *(text if word == "TEXT" else word for word in words))
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if "--ray" in line)
    assert says in line
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]
