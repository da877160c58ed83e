"""The 8B-A1B in full beside its first eight layers: load, memory, decode, and what is not kernels.

    python benchmarks/full_size.py [--json FILE]

Decode reads every active weight once a token, so the full model should take as much longer as it
reads more. Both bundles (target `onnx`, q4, head q4) alternate in processes of their own, all but
the one being timed stopped. Then one more session, profiled by ONNX Runtime, tells which part of a
token's time is spent outside our operators: in ONNX Runtime's own nodes, between nodes, in Python.
Profiling itself adds to that part.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import lfm_edge
import msgspec
import numpy as np
import onnxruntime as ort
from lfm_edge.bench_result import write_file
from lfm_edge.memory import linux_memory
from lfm_edge.onnx_runtime import OnnxRuntime
from lfm_export.architecture import describe
from lfm_export.checkpoint import open_checkpoint
from lfm_ops.library import library_path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import exports
from benchmarks.comparison import Ratio
from benchmarks.work import decode_bytes
from benchmarks.worker import Task, Worker

PART, WHOLE = 8, 24
CAPACITY, TOKENS, PAIRS, THREADS = 4096, 64, 9, 2
VOCAB_SIZE = 128_000


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle."""

    layers: int
    size_bytes: int
    read_bytes: float
    """Weights that a token needs."""
    load_seconds: float
    """From a warm page cache to a session, libraries' import included."""
    private_bytes: int
    """After the decoded tokens, in a session of 4096."""
    decode_ms: float


class FullSize(msgspec.Struct, frozen=True, kw_only=True):
    """What a run measured."""

    part: Measured
    whole: Measured
    of_prediction: Ratio
    """The whole's speed, of what the part's and the bytes to read predict."""
    outside_operators: float
    """Part of the whole's time per token."""


def compare(folders: tuple[Path, Path]) -> tuple[Measured, Measured, Ratio]:
    """Times both bundles in turn; the first pair is a warm-up."""
    ids = np.random.default_rng(0).integers(VOCAB_SIZE, size=TOKENS).tolist()
    for folder in folders:
        _read(folder)
    with (
        Worker("lfm-edge", folders[0], THREADS, CAPACITY) as part,
        Worker("lfm-edge", folders[1], THREADS, CAPACITY) as whole,
    ):
        task = Task("decode", ids)
        pairs = [(part.run(task).seconds, whole.run(task).seconds) for _ in range(PAIRS + 1)][1:]
        measured = [
            Measured(
                layers=layers,
                size_bytes=sum(file.stat().st_size for file in folder.iterdir()),
                read_bytes=_read_bytes(layers),
                load_seconds=worker.ready.load_seconds,
                private_bytes=linux_memory(worker.pid).private_bytes,
                decode_ms=statistics.median(seconds) / TOKENS * 1e3,
            )
            for layers, folder, worker, seconds in zip(
                (PART, WHOLE), folders, (part, whole), zip(*pairs, strict=True), strict=True
            )
        ]
    growth = measured[1].read_bytes / measured[0].read_bytes
    ratio = Ratio.of((small * growth, large) for small, large in pairs)
    return measured[0], measured[1], ratio


def outside_operators(folder: Path) -> float:
    """The part of a decoded token's time that no operator of ours accounts for."""
    model = lfm_edge.load(folder, threads=THREADS)
    runtime = model.runtime
    assert isinstance(runtime, OnnxRuntime)
    with tempfile.TemporaryDirectory() as temporary:
        options = ort.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.enable_mem_pattern = False
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(temporary) / "profile")
        options.register_custom_ops_library(str(library_path()))
        runtime.session = ort.InferenceSession(
            str(model.bundle.graph_path), options, providers=["CPUExecutionProvider"]
        )
        session = model.session(context=CAPACITY)
        session.prefill([1] * TOKENS)
        wall = []
        for _ in range(TOKENS):
            start = time.perf_counter()
            session.decode(1)
            wall.append((time.perf_counter() - start) * 1e6)
        events = json.loads(Path(runtime.session.end_profiling()).read_bytes())
    nodes = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
    runs = len([e for e in events if e["name"] == "model_run"])
    a_run = len(nodes) // runs
    ours = [
        sum(e["dur"] for e in nodes[i * a_run : (i + 1) * a_run] if e["args"]["op_name"] in OURS)
        for i in range(runs - TOKENS, runs)
    ]
    return statistics.median(1 - ops / all_ for ops, all_ in zip(ours, wall, strict=True))


OURS = (
    "AddRmsNorm",
    "CachedAttention",
    "GatedMlp",
    "GatedShortConv",
    "QuantizedEmbedding",
    "QuantizedLinear",
    "SparseMoe",
)


def _read_bytes(layers: int) -> float:
    with open_checkpoint(f"synthetic:lfm2.5-8b-a1b:{layers}") as checkpoint:
        return decode_bytes(describe(checkpoint.config))


def _read(folder: Path) -> None:
    """Brings a bundle's files into the page cache."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            while file.read(64 << 20):
                pass


def _lines(result: FullSize) -> Sequence[str]:
    return [
        *(
            f"{m.layers:>2} layers: {m.size_bytes / 1e9:.2f} GB, {m.read_bytes / 1e6:.0f} MB a "
            f"token; loaded in {m.load_seconds:.2f} s, {m.private_bytes / 1e6:.0f} MB private, "
            f"decode {m.decode_ms:.2f} ms"
            for m in (result.part, result.whole)
        ),
        f"{result.whole.layers} layers decode at {result.of_prediction.median:.3f} "
        f"({result.of_prediction.lowest:.3f}-{result.of_prediction.highest:.3f}) of what "
        f"{result.part.layers} predict",
        f"outside our operators, profiler included: {result.outside_operators:.1%} of a token",
    ]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    options = parser.parse_args()
    folders = exports.synthetic_bundle(PART), exports.synthetic_bundle(WHOLE)
    part, whole, ratio = compare(folders)
    result = FullSize(
        part=part,
        whole=whole,
        of_prediction=ratio,
        outside_operators=outside_operators(folders[1]),
    )
    print("\n".join(_lines(result)))
    if options.json:
        write_file(options.json, msgspec.json.format(msgspec.json.encode(result)))


if __name__ == "__main__":
    main()
