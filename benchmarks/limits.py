"""What the machine allows, measured by `bench_limits`, a program of the operators' tests."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import msgspec
import onnx
from lfm_export.emit.onnx_graph.signature import GRAPH_FILE, WEIGHTS_FILE

__all__ = ["Machine", "token_matrices"]

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "core"
TOKENS_AT_ONCE = 8


class Measured(msgspec.Struct):
    """An answer of `bench_limits`."""

    amount: float
    seconds: float


class Machine:
    """A process that measures the machine on request and sleeps at all other times.

    Args:
        bundle: of target `onnx`; its weights are what `kernels` reads.
        threads: how many measure at once.
        environment: variables that it gets besides those of this process.

    Raises:
        RuntimeError: the program died; what it wrote to standard error says why.
    """

    def __init__(
        self, bundle: Path, threads: int, environment: Mapping[str, str] | None = None
    ) -> None:
        graph = onnx.load(bundle / GRAPH_FILE, load_external_data=False).graph
        self.graph, self.random = graph, random.Random(0)
        self.process = subprocess.Popen(
            [_program(), str(threads), str(bundle / WEIGHTS_FILE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def read(self) -> float:
        """Bytes per second that a bare loop reads from memory."""
        return self._measure("read")

    def kernels(self) -> float:
        """Bytes per second of the decode kernels alone over what some tokens need."""
        tokens = (token_matrices(self.graph, self.random) for _ in range(TOKENS_AT_ONCE))
        return self._measure("decode " + " ".join(word for token in tokens for word in token))

    def multiply(self) -> float:
        """8-bit multiply-adds per second in registers."""
        return self._measure("multiply")

    def _measure(self, task: str) -> float:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(task + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"bench_limits: died with code {self.process.wait()}")
        measured = msgspec.json.decode(line, type=Measured)
        return measured.amount / measured.seconds


def token_matrices(graph: onnx.GraphProto, choice: random.Random) -> Iterator[str]:
    """`OFFSET:FORMAT:ROWS:COLUMNS` of the packed matrices that one token needs, in order.

    Experts are drawn at random.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        sizes = {attribute.name: attribute.i for attribute in node.attribute}
        formats = {a.name: a.s.decode() for a in node.attribute if a.name.endswith("format")}
        hidden, inner = sizes.get("hidden_size", 0), sizes.get("intermediate_size", 0)
        experts = [0]
        match node.op_type:
            case "QuantizedLinear":
                shapes = [(1, "format", sizes["rows"], sizes["columns"])]
            case "GatedShortConv":
                shapes = [
                    (1, "in_proj_format", 3 * hidden, hidden),
                    (5, "out_proj_format", hidden, hidden),
                ]
            case "GatedMlp":
                shapes = [
                    (1, "gate_up_format", 2 * inner, hidden),
                    (2, "down_format", hidden, inner),
                ]
            case "SparseMoe":
                shapes = [
                    (3, "gate_up_format", 2 * inner, hidden),
                    (4, "down_format", hidden, inner),
                ]
                experts = choice.sample(range(sizes["num_experts"]), sizes["num_experts_per_tok"])
            case _:
                continue
        for place, format, rows, columns in shapes:
            tensor = weights[node.input[place]]
            stored = {entry.key: entry.value for entry in tensor.external_data}
            for expert in experts:
                offset = int(stored["offset"]) + expert * tensor.dims[-1]
                yield f"{offset}:{formats[format]}:{rows}:{columns}"


def _program() -> Path:
    """Builds it, which does nothing where it is up to date."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    cmake = shutil.which("cmake", path=folders)
    if not cmake:
        raise SystemExit("cmake: not found; install it with: pip install 'lfm-edge[test]'")
    for step in (
        ["-S", str(ROOT / "core"), "-B", str(BUILD)],
        ["--build", str(BUILD), "--target", "bench_limits", "--parallel", "2"],
    ):
        subprocess.run([cmake, *step], check=True, stdout=sys.stderr)
    return BUILD / "ops" / "tests" / "bench_limits"
