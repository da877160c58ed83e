"""Exports of one checkpoint to all targets hold the same integers and scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from lfm_edge.bundle import Bundle
from lfm_export.emit import TARGETS
from lfm_export.emit.matrices import unpack
from lfm_ops import layout
from lfm_ops.formats import format_named
from onnx import numpy_helper

from tests.support import export, random_model, saved, tiny_moe


@pytest.fixture(scope="module", params=["q8", "q4"])
def bundles(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("targets")
    source = saved(random_model(tiny_moe()), folder / "checkpoint")
    return {
        target: export(source, folder / target, target=target, quant=request.param)
        for target in TARGETS
    }


def initializers(bundle: Bundle) -> dict[str, Any]:
    graph = onnx.load(bundle.graph_path).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def test_all_targets_hold_the_same_integers(bundles: dict[str, Bundle]) -> None:
    config = tiny_moe()
    format = format_named(bundles["onnx"].manifest.quantization.method)
    ours, portable = (initializers(bundles[target]) for target in ("onnx", "onnx-portable"))
    hidden, inner = config.hidden_size, config.moe_intermediate_size
    compared = 0
    for expert in range(config.num_experts):
        gate_up = layout.unpack(ours["layers.1/moe/gate_up"][expert], format, 2 * inner, hidden)
        other = portable["layers.1/moe/gate_up"][expert]
        scales = portable["layers.1/moe/gate_up.scales"][expert]
        blocks = gate_up.values.reshape(-1, 2, 32, hidden)  # 32 gate rows, then 32 up rows
        for half in range(2):
            rows = blocks[:, half].reshape(inner, hidden)
            assert (rows == unpack(other[half::2], format.bits)).all()
        assert gate_up.scales is not None
        of_blocks = gate_up.scales.reshape(-1, 2, 32, hidden // 32)
        assert (of_blocks[:, 1].reshape(inner, -1) == scales[1::2]).all()
        down = layout.unpack(ours["layers.1/moe/down"][expert], format, hidden, inner)
        assert (down.values == unpack(portable["layers.1/moe/down"][expert], format.bits)).all()
        assert down.scales is not None
        assert (down.scales == portable["layers.1/moe/down.scales"][expert]).all()
        compared += 1
    assert compared == config.num_experts
    table = layout.unpack(
        ours["model.embed_tokens.weight"], format_named("q8"), config.vocab_size, hidden
    )
    packed = portable["model.embed_tokens.weight"].reshape(config.vocab_size, -1)
    assert (table.values == unpack(packed, 8)).all()


def test_two_exports_are_the_same_to_the_byte(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    first = bundles["onnx"]
    source = first.folder.parent / "checkpoint"
    again = export(source, tmp_path / "again", quant=first.manifest.quantization.method)
    assert again.manifest.files == first.manifest.files
    assert again.manifest.golden == first.manifest.golden
