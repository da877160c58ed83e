"""What a new target and a new family touch, shown by adding them.

The formats' table has its own such test (`tests/ops/test_formats.py`).
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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

EXPORTER = Path(__file__).parents[2] / "export" / "lfm_export"


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


# LFM3's norms behind a branch and its gated attention: the description, the wiring, and the
# operations concerned, here those of the reference.

SANDWICH: Mapping[str, list[tuple[str, str]]] = {
    "architecture/parts.py": [
        (
            "    num_heads: int\n",
            "    gate_proj: Linear | None\n    num_heads: int\n",
        ),
        (
            "    operator: Attention | ShortConv\n",
            "    operator: Attention | ShortConv\n    operator_post_norm: Norm\n",
        ),
        (
            "    feed_forward: Mlp | SparseMoe\n",
            "    feed_forward: Mlp | SparseMoe\n    ffn_post_norm: Norm\n",
        ),
    ],
    "architecture/families.py": [
        (
            "            else _conv(config, _prefix(index)),\n",
            "            else _conv(config, _prefix(index)),\n"
            '            _norm(config, f"{_prefix(index)}.operator_post_norm", hidden),\n',
        ),
        (
            "            feed_forward(index),\n",
            "            feed_forward(index),\n"
            '            _norm(config, f"{_prefix(index)}.ffn_post_norm", hidden),\n',
        ),
        (
            "        num_heads=heads.num_heads,\n",
            '        gate_proj=_linear(f"{prefix}.gate_proj", queries, hidden),\n'
            "        num_heads=heads.num_heads,\n",
        ),
    ],
    "decoder.py": [
        (
            "_operator(layer, x, ops))\n",
            "ops.norm_branch(_operator(layer, x, ops), layer.operator_post_norm))\n",
        ),
        (
            "_feed_forward(layer, x, ops))\n",
            "ops.norm_branch(_feed_forward(layer, x, ops), layer.ffn_post_norm))\n",
        ),
    ],
    "reference.py": [
        (
            "    def attention(self,",
            "    def norm_branch(self, x: Array, part: Norm) -> Array:\n"
            "        return ops.rms_norm(x, self._weights.vector(part.weight), part.eps)\n\n"
            "    def attention(self,",
        ),
        (
            "        return self._matmul(out, weights.matrix(part.out_proj))\n",
            "        gate = self._matmul(x, weights.matrix(part.gate_proj))\n"
            "        out = out.reshape(gate.shape) / (1 + np.exp(-gate))\n"
            "        return self._matmul(out, weights.matrix(part.out_proj))\n",
        ),
    ],
}

# Run beside the changed exporter: the reference's logits of one sandwiched attention layer, and
# the same by hand from those of the plain one's branches.
SCRIPT = """
import numpy as np
from lfm_export.checkpoint.synthetic import SyntheticCheckpoint
from lfm_export.architecture import describe
from lfm_export.decoder import decode
from lfm_export.quantize import Scheme
from lfm_export.reference import Numerics, Reference
from lfm_export.weights import WeightStream
from lfm_ops import reference as ops
from tests.export.checkpoint_samples import TINY_DENSE

config = {**TINY_DENSE, "layer_types": ["full_attention"], "num_hidden_layers": 1}
checkpoint, ids = SyntheticCheckpoint("tiny", config, 0), [5, 9, 200, 31]
architecture = describe(config)
numerics = Numerics(ops.matmul_float32, "f32", 0.0)
with WeightStream(architecture, checkpoint, Scheme("f32", "f32"), lambda *_: None, int) as weights:
    reference = Reference(weights, ids, numerics, 0, np.random.default_rng(0))
    got = decode(architecture, reference)

def tensor(name):
    return checkpoint.read(f"model.{name}.weight")

def norm(x, name):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * tensor(name)

h = tensor("embed_tokens")[ids].astype(np.float64)
x = norm(h, "layers.0.operator_norm")
part = architecture.layers[0].operator
def heads(name):
    return (x @ tensor(f"layers.0.self_attn.{name}").T).reshape(len(ids), -1, part.head_dim)
cos, sin = part.rope.table(len(ids))
def turn(y, name):
    y = norm(y, f"layers.0.self_attn.{name}")
    a, b = np.split(y, 2, -1)
    c, s = cos[:, None], sin[:, None]
    return np.concatenate([a * c - b * s, b * c + a * s], -1)
q, k = (turn(heads(f"{name}_proj"), f"{name}_layernorm") for name in "qk")
v = heads("v_proj")
out = np.zeros_like(q)
for t in range(len(ids)):
    for head in range(part.num_heads):
        kv = head // (part.num_heads // part.num_kv_heads)
        score = k[: t + 1, kv] @ q[t, head] * part.head_dim**-0.5
        share = np.exp(score - score.max())
        out[t, head] = share @ v[: t + 1, kv] / share.sum()
gate = 1 / (1 + np.exp(-(x @ tensor("layers.0.self_attn.gate_proj").T)))
branch = (out.reshape(len(ids), -1) * gate) @ tensor("layers.0.self_attn.out_proj").T
h = h + norm(branch, "layers.0.operator_post_norm")
x = norm(h, "layers.0.ffn_norm")
gate, up = (x @ tensor(f"layers.0.feed_forward.{w}").T for w in ("w1", "w3"))
inner = (gate / (1 + np.exp(-gate)) * up) @ tensor("layers.0.feed_forward.w2").T
h = h + norm(inner, "layers.0.ffn_post_norm")
want = norm(h, "embedding_norm") @ tensor("embed_tokens").T
print(np.abs(got - want).max(), np.abs(want).max())
"""


def test_a_sandwich_and_a_gate_touch_the_description_the_wiring_and_their_operations(
    tmp_path: Path,
) -> None:
    package = tmp_path / "lfm_export"
    shutil.copytree(EXPORTER, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, edits in SANDWICH.items():
        path = package / name
        text = path.read_text(encoding="utf-8")
        for old, new in edits:
            assert old in text, (name, old)
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    done = run(SCRIPT, tmp_path)
    assert done.returncode == 0, done.stderr
    error, largest = map(float, done.stdout.split())
    assert error < 1e-4 < largest


def run(script: str, exporter: Path) -> Any:
    """Runs a script for which `lfm_export` is the one in `exporter`."""
    root = str(EXPORTER.parents[1])
    start = f"import sys; sys.path[:0] = [{str(exporter)!r}, {root!r}]\n"
    # The editable install's own finder would come first.
    start += "sys.meta_path[:] = [f for f in sys.meta_path if 'skbc' not in type(f).__module__]\n"
    start += f"sys.path += [{str(EXPORTER.parents[1] / 'ops')!r}, "
    start += f"{str(EXPORTER.parents[1] / 'sdk_python')!r}]\n"
    return subprocess.run(
        [sys.executable, "-c", start + script], capture_output=True, text=True, check=False
    )
