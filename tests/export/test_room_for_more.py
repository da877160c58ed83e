"""What a new target touches, shown by adding one.

The formats' table has its own such test (`tests/ops/test_formats.py`).
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from lfm_edge import cli
from lfm_edge.bundle import Bundle, Function, Graph
from lfm_export.architecture import Attention, Embedding, Mlp, Norm, ShortConv, SparseMoe
from lfm_export.decoder import Operations, decode
from lfm_export.emit import TARGETS, Job, Store, Target
from lfm_export.reference import Numerics
from lfm_export.weights import Part, Weights
from lfm_ops import reference as ops

from tests.support import random_model, saved, tiny_moe

# A target that writes down which operations it is asked for: one class and an entry.


class Printer(Operations[str, str]):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def _said(self, line: str) -> str:
        self.lines.append(line)
        return line

    def embed(self, part: Embedding) -> str:
        return self._said(f"embed {part.tokens.name}")

    def norm(self, stream: str, part: Norm) -> str:
        return self._said(f"norm {part.weight.name}")

    def attention(self, x: str, layer: int, part: Attention) -> str:
        return self._said(f"attention {layer}: {part.num_heads} heads")

    def short_conv(self, x: str, layer: int, part: ShortConv) -> str:
        return self._said(f"short_conv {layer}: kernel {part.kernel_size}")

    def mlp(self, x: str, layer: int, part: Mlp) -> str:
        return self._said(f"mlp {layer}: {part.gate.rows}")

    def sparse_moe(self, x: str, layer: int, part: SparseMoe) -> str:
        return self._said(f"sparse_moe {layer}: {len(part.experts)} experts")

    def norm_branch(self, branch: str, part: Norm) -> str:
        return self._said(f"norm_branch {part.weight.name}")

    def add(self, stream: str, branch: str) -> str:
        return self._said("add")

    def last_token(self, stream: str) -> str:
        return self._said("last_token")

    def lm_head(self, x: str, part: Embedding) -> str:
        return self._said("lm_head")


class PrintingStore:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.sizes: list[int] = []

    def put(self, part: Part, weights: Weights) -> None:
        self.sizes.append(weights.size)

    def finish(self) -> Graph:
        printer = Printer()
        decode(self.job.architecture, printer)
        assert sum(self.sizes) == self.job.architecture.num_parameters()
        (self.job.folder / "operations.txt").write_text("\n".join(printer.lines))
        return Graph("print", "operations.txt", [Function("main", "ids", "logits")], [])


class Printing(Target):
    name = "print"
    summary = "writes down which operations it is asked for"

    def numerics(self, options: Mapping[str, str]) -> Numerics:
        return Numerics(ops.matmul_float32, "f32", 1e-6)

    @contextmanager
    def open(self, job: Job) -> Iterator[Store]:
        yield PrintingStore(job)


def test_a_target_is_one_class_and_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TARGETS, Printing.name, Printing())
    source = saved(random_model(tiny_moe()), tmp_path / "checkpoint")
    command = ["lfm-edge", "export", source, tmp_path / "out", "--target", "print"]
    monkeypatch.setattr(sys, "argv", [*map(str, command)])
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(SystemExit) as ending:
        cli.main()
    assert ending.value.code in {0, None}
    lines = Bundle(tmp_path / "out").graph_path.read_text().splitlines()
    assert lines[:5] == [
        "embed model.embed_tokens.weight",
        "norm model.layers.0.operator_norm.weight",
        "short_conv 0: kernel 3",
        "add",
        "norm model.layers.0.ffn_norm.weight",
    ]
    assert lines[-7:] == [
        "add",
        "last_token",
        "norm model.layers.3.ffn_norm.weight",
        "sparse_moe 3: 8 experts",
        "add",
        "norm model.embedding_norm.weight",
        "lm_head",
    ]
