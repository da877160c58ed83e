"""The GGUF file for llama.cpp: every weight is there, under its name, within a step of Q4_0."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, ReaderTensor, TokenType
from gguf.quants import dequantize
from lfm_export.checkpoint import SHAPES, Checkpoint, SyntheticCheckpoint, open_checkpoint
from lfm_export.demo import DEMO_MODEL
from lfm_export.errors import ArchitectureError
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks import gguf_export
from benchmarks.engines import GGUF_FILE


@pytest.fixture(scope="module")
def checkpoint() -> Iterator[Checkpoint]:
    with open_checkpoint(str(DEMO_MODEL)) as opened:
        yield opened


@pytest.fixture(scope="module")
def written(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> GGUFReader:
    out = tmp_path_factory.mktemp("gguf") / "out"
    gguf_export.write_folder(checkpoint, out)
    return GGUFReader(out / GGUF_FILE)


def stored(reader: GGUFReader, name: str) -> ReaderTensor:
    (found,) = [tensor for tensor in reader.tensors if tensor.name == name]
    return found


def assert_within_a_step(tensor: ReaderTensor, wanted: NDArray[np.float32]) -> None:
    """A step is an eighth of the largest magnitude in a group of 32: the other end is cut off."""
    assert tensor.tensor_type == GGMLQuantizationType.Q4_0
    assert tuple(tensor.shape[::-1]) == wanted.shape
    error = np.abs(
        dequantize(tensor.data, tensor.tensor_type).reshape(-1, 32) - wanted.reshape(-1, 32)
    )
    step = np.abs(wanted.reshape(-1, 32)).max(-1, keepdims=True) / 8
    assert (error <= step * 1.01).all()
    assert np.sqrt((error**2).mean() / (wanted**2).mean()) < 0.12


def test_matrices_are_q4_0(checkpoint: Checkpoint, written: GGUFReader) -> None:
    for name, source in {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.0.shortconv.in_proj.weight": "model.layers.0.conv.in_proj.weight",
        "blk.0.ffn_down.weight": "model.layers.0.feed_forward.w2.weight",
        "blk.2.attn_k.weight": "model.layers.2.self_attn.k_proj.weight",
        "blk.2.attn_output.weight": "model.layers.2.self_attn.out_proj.weight",
    }.items():
        assert_within_a_step(stored(written, name), checkpoint.read(source))


@pytest.mark.parametrize(("name", "source"), [("gate", "w1"), ("up", "w3"), ("down", "w2")])
def test_experts_are_stacked_in_order(
    checkpoint: Checkpoint, written: GGUFReader, name: str, source: str
) -> None:
    experts = [
        checkpoint.read(f"model.layers.3.feed_forward.experts.{expert}.{source}.weight")
        for expert in range(checkpoint.config["num_experts"])
    ]
    assert_within_a_step(stored(written, f"blk.3.ffn_{name}_exps.weight"), np.stack(experts))


def test_small_tensors_are_exact(checkpoint: Checkpoint, written: GGUFReader) -> None:
    for name, source in {
        "token_embd_norm.weight": "model.embedding_norm.weight",
        "blk.1.attn_norm.weight": "model.layers.1.operator_norm.weight",
        "blk.2.attn_q_norm.weight": "model.layers.2.self_attn.q_layernorm.weight",
        "blk.3.ffn_gate_inp.weight": "model.layers.3.feed_forward.gate.weight",
        "blk.3.exp_probs_b.bias": "model.layers.3.feed_forward.expert_bias",
        "blk.0.shortconv.conv.weight": "model.layers.0.conv.conv.weight",
    }.items():
        tensor, wanted = stored(written, name), checkpoint.read(source)
        assert tensor.tensor_type == GGMLQuantizationType.F32
        assert np.array_equal(tensor.data.reshape(-1), wanted.reshape(-1))
    assert stored(written, "blk.0.shortconv.conv.weight").shape.tolist() == [3, 256]


def test_no_weight_is_left_out(checkpoint: Checkpoint, written: GGUFReader) -> None:
    count = sum(int(np.prod(shape)) for shape in checkpoint.shapes.values())
    assert sum(int(tensor.n_elements) for tensor in written.tensors) == count


def test_keys_describe_the_model(checkpoint: Checkpoint, written: GGUFReader) -> None:
    config = checkpoint.config
    keys = {name: field.contents() for name, field in written.fields.items()}
    kinds = [here == "full_attention" for here in config["layer_types"]]
    assert keys["general.architecture"] == "lfm2moe"
    assert keys["lfm2moe.attention.head_count_kv"] == [
        config["num_key_value_heads"] * kind for kind in kinds
    ]
    assert keys["lfm2moe.expert_count"] == config["num_experts"]
    assert keys["lfm2moe.expert_gating_func"] == 2  # sigmoid
    assert keys["lfm2moe.rope.freq_base"] == config["rope_parameters"]["rope_theta"]
    assert keys["lfm2moe.vocab_size"] == config["vocab_size"]


def test_nothing_half_written_stays(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(gguf_export, "quantize", fail)
    with pytest.raises(OSError, match="disk full"):
        gguf_export.write_folder(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dense_model_is_refused(tmp_path: Path) -> None:
    dense = {**SHAPES["lfm2-350m"], "layer_types": ["conv"], "num_hidden_layers": 1}
    with pytest.raises(ArchitectureError, match="dense: expected lfm2_moe"):
        gguf_export.write_folder(SyntheticCheckpoint("dense", dense, 0), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_tokenizer_and_the_template_are_there(
    checkpoint: Checkpoint, written: GGUFReader
) -> None:
    def value(key: str) -> object:
        field = written.get_field(f"tokenizer.{key}")
        assert field
        return field.contents()

    tokenizer = Tokenizer.from_file(str(checkpoint.files["tokenizer.json"]))
    tokens, types = value("ggml.tokens"), value("ggml.token_type")
    assert isinstance(tokens, list)
    assert isinstance(types, list)
    assert len(tokens) == len(types) == checkpoint.config["vocab_size"]
    for token in range(tokenizer.get_vocab_size()):
        assert tokens[token] == tokenizer.id_to_token(token)
    end = tokenizer.token_to_id("<|im_end|>")
    assert end is not None
    assert types[end] == TokenType.CONTROL
    assert value("ggml.eos_token_id") == end
    first = json.loads(checkpoint.files["tokenizer.json"].read_text())["model"]["merges"][0]
    assert value("ggml.merges")[0] == " ".join(first)  # type: ignore[index]
    assert value("chat_template") == checkpoint.files["chat_template.jinja"].read_text()
