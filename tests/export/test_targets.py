"""Exports of one checkpoint to all targets hold the same integers and scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from gguf import GGUFReader
from gguf.quants import dequantize
from lfm_edge.bundle import Bundle
from lfm_export.emit import TARGETS
from lfm_export.emit.matrices import packed_bits, unpack
from lfm_ops import layout
from lfm_ops.formats import format_named
from onnx import numpy_helper
from safetensors.numpy import load_file
from transformers import Lfm2MoeConfig

from tests.support import export, random_model, saved, tiny_moe


@pytest.fixture(scope="module", params=["q8", "q6", "q4", "q4_64"])
def bundles(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("targets")
    source = saved(random_model(moe()), folder / "checkpoint")
    return {
        target: export(source, folder / target, target=target, quant=request.param)
        for target in TARGETS
    }


def moe() -> Lfm2MoeConfig:
    """Of widths that every format takes."""
    return tiny_moe(intermediate_size=128, moe_intermediate_size=64)


def initializers(bundle: Bundle) -> dict[str, Any]:
    graph = onnx.load(bundle.graph_path).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def test_all_targets_hold_the_same_integers(bundles: dict[str, Bundle]) -> None:
    config = moe()
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
            assert (rows == unpack(other[half::2], packed_bits(format))).all()
        assert gate_up.scales is not None
        of_blocks = gate_up.scales.reshape(-1, 2, 32, hidden // format.group_size)
        assert (of_blocks[:, 1].reshape(inner, -1) == scales[1::2]).all()
        down = layout.unpack(ours["layers.1/moe/down"][expert], format, hidden, inner)
        assert (
            down.values == unpack(portable["layers.1/moe/down"][expert], packed_bits(format))
        ).all()
        assert down.scales is not None
        assert (down.scales == portable["layers.1/moe/down.scales"][expert]).all()
        compared += 1
    assert compared == config.num_experts
    table = layout.unpack(
        ours["model.embed_tokens.weight"], format_named("q8"), config.vocab_size, hidden
    )
    packed = portable["model.embed_tokens.weight"].reshape(config.vocab_size, -1)
    assert (table.values == unpack(packed, 8)).all()


def test_gguf_and_mlx_hold_them_too(bundles: dict[str, Bundle]) -> None:
    config, bundle = moe(), bundles["onnx"]
    format = format_named(bundle.manifest.quantization.method)
    ours = initializers(bundle)
    gguf = {tensor.name: tensor for tensor in GGUFReader(bundles["gguf"].graph_path).tensors}
    mlx = load_file(bundles["mlx"].graph_path)
    hidden, inner = config.hidden_size, config.moe_intermediate_size

    def of_mlx(name: str, bits: int) -> Any:
        """`scale * q + bias`, computed apart: both products are exact."""
        weight, scales, biases = (mlx[f"{name}.{part}"] for part in ("weight", "scales", "biases"))
        stored = np.unpackbits(weight.view("uint8"), axis=-1, bitorder="little")
        digits = stored.reshape(*weight.shape[:-1], -1, bits)
        q = np.packbits(digits, axis=-1, bitorder="little")[..., 0].astype("int32")
        groups = q.reshape(*scales.shape, -1) * scales.astype("f4")[..., None]
        return (groups + biases.astype("f4")[..., None]).reshape(q.shape)

    def of_gguf(name: str) -> Any:
        return dequantize(gguf[name].data, gguf[name].tensor_type)

    down = [
        layout.unpack(packed, format, hidden, inner).dequantize()
        for packed in ours["layers.1/moe/down"]
    ]
    assert (of_gguf("blk.1.ffn_down_exps.weight") == down).all()
    assert (of_mlx("model.layers.1.feed_forward.switch_mlp.down_proj", format.bits) == down).all()
    gate_up = layout.unpack(ours["layers.1/moe/gate_up"][5], format, 2 * inner, hidden).dequantize()
    gate, up = gate_up.reshape(-1, 2, 32, hidden).swapaxes(0, 1).reshape(2, inner, hidden)
    for name, theirs, wanted in (("gate_proj", "gate", gate), ("up_proj", "up", up)):
        stack = f"model.layers.1.feed_forward.switch_mlp.{name}"
        assert (of_mlx(stack, format.bits)[5] == wanted).all()
        assert (of_gguf(f"blk.1.ffn_{theirs}_exps.weight")[5] == wanted).all()
    name, shape = "model.embed_tokens", (config.vocab_size, hidden)
    table = layout.unpack(ours[f"{name}.weight"], format_named("q8"), *shape).dequantize()
    assert (of_gguf("token_embd.weight") == table).all()
    assert (of_mlx(name, 8) == table).all()


def test_two_exports_are_the_same_to_the_byte(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    first = bundles["onnx"]
    source = first.folder.parent / "checkpoint"
    for target in ("onnx", "gguf", "mlx"):
        first = bundles[target]
        quant = first.manifest.quantization.method
        again = export(source, tmp_path / target, target=target, quant=quant)
        assert again.manifest.files == first.manifest.files
        assert again.manifest.golden == first.manifest.golden
