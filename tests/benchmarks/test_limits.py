"""What a model asks of a machine, and what the machine is measured to give."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path

import onnx
import pytest
from lfm_edge.bundle import Bundle
from lfm_export.architecture import describe
from lfm_export.checkpoint.synthetic import open_synthetic
from lfm_export.demo import DEMO_MODEL

from benchmarks import work
from benchmarks.limits import Machine, token_matrices
from tests.support import export


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("limits") / "bundle"
    return export(DEMO_MODEL, out, target="onnx", quant="q4", head="q4")


def test_work_of_the_published_model() -> None:
    """1.68G weights a token, 262M of them in the head, six layers of attention 2048 wide."""
    architecture = describe(open_synthetic("synthetic:lfm2.5-8b-a1b", 0).config)
    head = 128_000 * 2048
    weights = work.decode_bytes(architecture) * 8 / 4.5
    assert weights == pytest.approx(1.68e9, rel=0.01)

    once, three = (work.prefill_multiply_adds(architecture, tokens) for tokens in (1, 3))
    assert once == weights + 6 * 2 * 2048
    behind = work.prefill_multiply_adds(architecture, 1, depth=10)
    assert behind == once + 6 * 2 * 2048 * 10
    assert three == 3 * (weights - head) + head + 6 * 2 * 2048 * (1 + 2 + 3)


def test_the_kernels_read_what_a_token_needs(bundle: Bundle) -> None:
    graph = onnx.load(bundle.folder / "model.onnx", load_external_data=False).graph
    words = list(token_matrices(graph, random.Random(0)))
    matrices = [
        (int(offset), format, int(rows), int(columns))
        for offset, format, rows, columns in (word.split(":") for word in words)
    ]
    config = json.loads((Path(DEMO_MODEL) / "config.json").read_text())

    size = (bundle.folder / "model.onnx.data").stat().st_size
    spans = sorted(
        (offset, offset + rows * columns * 9 // 16) for offset, _, rows, columns in matrices
    )
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
    assert spans[-1][1] <= size
    assert {format for _, format, _, _ in matrices} == {"q4"}
    assert sum(end - begin for begin, end in spans) == work.decode_bytes(describe(config))
    assert words != list(token_matrices(graph, random.Random(1)))


def test_a_machine_is_measured(bundle: Bundle) -> None:
    with Machine(bundle.folder, threads=1) as machine:
        for _ in range(2):
            assert machine.read() > 0
            assert machine.kernels() > 0
            assert machine.multiply() > 0
        with pytest.raises(RuntimeError, match="bench_limits: died with code 2"):
            machine._measure("decode 0:q4:4096:1048576")
    assert machine.process.returncode is not None
