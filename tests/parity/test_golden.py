"""Golden vectors: the graph meets them, and every mistake worth naming misses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
import pytest
from lfm_edge.bundle import GoldenVectors
from lfm_edge.session import Session
from lfm_edge.verify import verify
from lfm_export.checkpoint import FolderCheckpoint
from lfm_export.export import ExportOptions, export_bundle
from numpy.typing import NDArray

from tests.support import (
    DEMO_MODEL,
    Config,
    export,
    random_model,
    saved,
    tiny_dense,
    tiny_lfm3,
    tiny_moe,
)

Array = NDArray[np.float32]


@pytest.mark.parametrize("target", ["onnx", "onnx-portable"])
@pytest.mark.parametrize(
    ("quant", "head"),
    [("f32", None), ("q8", None), ("q6", "q8"), ("q4_64", "q8"), ("q4", "q8"), ("q4", "q4")],
)
def test_the_shipped_model_meets_its_golden_vectors(
    demo_bundle: Callable[..., Path], target: str, quant: str, head: str | None
) -> None:
    report = verify(demo_bundle(target, quant, head=head), threads=1)
    assert report.positions == 32
    assert 0 < report.decode_error <= report.tolerance
    assert 0 < report.prefill_error <= report.tolerance


@pytest.mark.parametrize(
    "config",
    [tiny_dense(conv_bias=True), tiny_moe(norm_topk_prob=False), tiny_lfm3()],
    ids=["dense", "moe", "lfm3"],
)
def test_a_float_bundle_is_held_to_the_bound_of_parity(config: Config, tmp_path: Path) -> None:
    source = saved(random_model(config), tmp_path / "checkpoint")
    export(source, tmp_path / "bundle", quant="f32")
    assert verify(tmp_path / "bundle").tolerance == 2e-4


@pytest.mark.parametrize("target", ["onnx", "onnx-portable"])
@pytest.mark.parametrize("head", ["q8", "q4"])
def test_a_model_of_one_layer_may_round_a_few_positions_otherwise(
    target: str, head: str, tmp_path: Path
) -> None:
    """Most positions stay below the least tolerance, and yet a step of int8 moves one beyond it."""
    model = random_model(tiny_dense(num_hidden_layers=1, layer_types=["conv"]))
    source, out = saved(model, tmp_path / "checkpoint"), tmp_path / "bundle"
    golden = export(source, out, target=target, quant="q4", head=head).manifest.golden
    assert golden.tolerance == 2e-4
    assert golden.outliers > 0
    verify(out, threads=1)


@pytest.mark.parametrize("target", ["onnx", "onnx-portable"])
@pytest.mark.parametrize("quant", ["q8", "q4"])
def test_lfm3_meets_its_golden_vectors_and_mistakes_of_its_own_miss_them(
    target: str, quant: str, tmp_path: Path
) -> None:
    def folder_of(name: str, **changes: Any) -> Path:
        model = random_model(tiny_lfm3(**changes))
        export(saved(model, tmp_path / f"{name}.source"), tmp_path / name, **options)
        return tmp_path / name

    options = {"target": target, "quant": quant}
    right = folder_of("right")
    report = verify(right, threads=1)
    assert 0 < report.decode_error <= report.tolerance
    assert 0 < report.prefill_error <= report.tolerance
    golden = lfm_edge.load(right).bundle.manifest.golden
    ropes = {"rope_type": "default", "rope_theta": 1e6}
    mistakes: dict[str, dict[str, Any]] = {
        "a window one too wide": {"sliding_window": 9},
        "one RoPE for both kinds": {
            "rope_parameters": {"full_attention": ropes, "sliding_attention": ropes}
        },
        "no gates": {"use_attention_gate": False},
        "no sandwich": {"use_sandwich_norm": False},
    }
    for name, changes in mistakes.items():
        wrong = lfm_edge.load(folder_of(name, **changes), threads=1)
        assert misses(wrong, golden, leave) > golden.outliers, name


class Meddled(FolderCheckpoint):
    """The shipped model, with a mistake in what is read."""

    def __init__(self, change: Callable[[str, Callable[[str], Array]], Array]) -> None:
        super().__init__(DEMO_MODEL)
        self._change = change

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        return self._change(name, super().read)[start:stop]


def no_expert_bias(name: str, read: Callable[[str], Array]) -> Array:
    return read(name) * 0 if name.endswith("expert_bias") else read(name)


def swapped_experts(name: str, read: Callable[[str], Array]) -> Array:
    for one, other in (("experts.0.", "experts.1."), ("experts.1.", "experts.0.")):
        if one in name:
            return read(name.replace(one, other))
    return read(name)


def nothing(name: str, read: Callable[[str], Array]) -> Array:
    return read(name)


def forget_convolution(session: Session) -> None:
    for tensor in session.state.tensors.values():
        if tensor.ndim == 3:
            tensor.fill(0)


def leave(session: Session) -> None:
    del session


@pytest.mark.parametrize(
    ("change", "meddle", "is_mistake"),
    [
        (nothing, leave, False),
        (no_expert_bias, leave, True),
        (swapped_experts, leave, True),
        (nothing, forget_convolution, True),
    ],
)
@pytest.mark.parametrize("quant", ["f32", "q4"])
def test_a_mistake_exceeds_the_tolerance(
    demo_bundle: Callable[..., Path],
    tmp_path: Path,
    quant: str,
    change: Callable[[str, Callable[[str], Array]], Array],
    meddle: Callable[[Session], None],
    is_mistake: bool,
) -> None:
    golden = lfm_edge.load(demo_bundle("onnx", quant)).bundle.manifest.golden
    with Meddled(change) as checkpoint:
        export_bundle(checkpoint, tmp_path / "bundle", ExportOptions(quant=quant))
    missed = misses(lfm_edge.load(tmp_path / "bundle", threads=1), golden, meddle)
    assert (missed > golden.outliers) is is_mistake, missed


def misses(model: lfm_edge.Model, golden: GoldenVectors, meddle: Callable[[Session], None]) -> int:
    """Positions beyond the tolerance, read one by one."""
    session = model.session(context=len(golden.ids))
    count = 0
    for position, token in enumerate(golden.ids):
        meddle(session)
        count += is_missed(golden, position, session.decode(token))
    return count


def is_missed(golden: GoldenVectors, position: int, logits: Array) -> bool:
    ids = golden.top_ids[position] + golden.probe_ids
    expected = golden.top_logits[position] + golden.probe_logits[position]
    return bool(np.abs(logits[ids] - expected).max() > golden.tolerance)


@pytest.mark.parametrize("quant", ["f32", "q4"])
def test_rope_one_position_off_exceeds_the_tolerance(
    demo_bundle: Callable[..., Path], quant: str
) -> None:
    """The rest is rotated, and stored, one position too far from the first."""
    model = lfm_edge.load(demo_bundle("onnx", quant), threads=1)
    golden = model.bundle.manifest.golden
    state = model.runtime.bind(capacity=64)
    missed = 0
    for position, token in enumerate(golden.ids):
        logits = state.run(np.array([token]), position + (position >= 8))
        missed += is_missed(golden, position, logits)
    assert missed > golden.outliers
