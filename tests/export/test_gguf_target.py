"""The target `gguf`: the integers and keys of the file, and llama.cpp's own word on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader, TokenType
from gguf.quants import dequantize
from lfm_edge.bundle import Bundle
from lfm_edge.errors import UnsupportedBundleError
from lfm_edge.targets import open_runtime
from lfm_export.checkpoint import Checkpoint, open_checkpoint
from lfm_export.errors import ExportError
from lfm_export.quantize import METHODS
from tokenizers import Tokenizer

from tests.export.gguf_samples import MOE_KEYS, MOE_TENSORS, write
from tests.support import DEMO_MODEL, export, random_model, saved, tiny_dense, tiny_lfm3, tiny_moe


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(DEMO_MODEL, tmp_path_factory.mktemp("gguf") / "out", target="gguf")


@pytest.fixture(scope="module")
def checkpoint(bundle: Bundle) -> Checkpoint:
    return open_checkpoint(str(DEMO_MODEL))


@pytest.fixture(scope="module")
def file(bundle: Bundle) -> GGUFReader:
    return GGUFReader(bundle.folder / "model.gguf")


def test_llama_cpps_own_reader_finds_our_weights(file: GGUFReader, checkpoint: Checkpoint) -> None:
    tensors = {tensor.name: tensor for tensor in file.tensors}
    count = sum(int(np.prod(shape)) for shape in checkpoint.shapes.values())
    assert sum(int(tensor.n_elements) for tensor in tensors.values()) == count
    experts = "model.layers.3.feed_forward.experts"
    for name, source, method in (
        ("token_embd.weight", "model.embed_tokens.weight", "q8"),
        ("blk.0.shortconv.in_proj.weight", "model.layers.0.conv.in_proj.weight", "q4"),
        ("blk.0.ffn_down.weight", "model.layers.0.feed_forward.w2.weight", "q4"),
        ("blk.2.attn_k.weight", "model.layers.2.self_attn.k_proj.weight", "q4"),
        ("blk.3.ffn_gate_exps.weight", f"{experts}.{{}}.w1.weight", "q4"),
        ("blk.3.ffn_up_exps.weight", f"{experts}.{{}}.w3.weight", "q4"),
        ("blk.3.ffn_down_exps.weight", f"{experts}.{{}}.w2.weight", "q4"),
        ("blk.0.shortconv.conv.weight", "model.layers.0.conv.conv.weight", "f32"),
        ("blk.3.ffn_gate_inp.weight", "model.layers.3.feed_forward.gate.weight", "f32"),
        ("blk.3.exp_probs_b.bias", "model.layers.3.feed_forward.expert_bias", "f32"),
        ("token_embd_norm.weight", "model.embedding_norm.weight", "f32"),
    ):
        sources = [source.format(expert) for expert in range(8)] if "{}" in source else [source]
        values = [checkpoint.read(one) for one in sources]
        if method != "f32":
            values = [METHODS[method](value).dequantize() for value in values]
        tensor = tensors[name]
        found = dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(found.reshape(-1), np.stack(values).reshape(-1))
    assert tensors["blk.0.shortconv.conv.weight"].shape.tolist() == [3, 256]


def test_keys_describe_the_model(file: GGUFReader, checkpoint: Checkpoint) -> None:
    config = checkpoint.config
    keys = {name: field.contents() for name, field in file.fields.items()}
    kinds = [here == "full_attention" for here in config["layer_types"]]
    assert keys["general.architecture"] == "lfm2moe"
    assert keys["general.name"] == "demo_model"
    assert keys["lfm2moe.attention.head_count_kv"] == [
        config["num_key_value_heads"] * kind for kind in kinds
    ]
    assert keys["lfm2moe.expert_count"] == config["num_experts"]
    assert keys["lfm2moe.expert_gating_func"] == 2  # sigmoid
    assert keys["lfm2moe.rope.freq_base"] == config["rope_parameters"]["rope_theta"]
    assert keys["lfm2moe.vocab_size"] == config["vocab_size"]
    assert keys["general.sampling.top_k"] == 80
    assert keys["tokenizer.chat_template"] == (DEMO_MODEL / "chat_template.jinja").read_text()
    tokenizer = Tokenizer.from_file(str(DEMO_MODEL / "tokenizer.json"))
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    assert tokens == [tokenizer.id_to_token(index) for index in range(4096)]
    end = tokenizer.token_to_id("<|im_end|>")
    assert types[end] == TokenType.CONTROL
    assert types[tokenizer.token_to_id("<think>")] == TokenType.USER_DEFINED
    assert keys["tokenizer.ggml.eos_token_id"] == end
    first = json.loads((DEMO_MODEL / "tokenizer.json").read_text())["model"]["merges"][0]
    assert keys["tokenizer.ggml.merges"][0] == " ".join(first)


def test_there_and_back_to_the_byte(bundle: Bundle, tmp_path: Path) -> None:
    """A file of ours, exported again, and its integers in the graph of another target."""
    again = export(bundle.graph_path, tmp_path / "again", target="gguf")
    assert again.manifest.files["model.gguf"] == bundle.manifest.files["model.gguf"]
    assert again.manifest.golden == bundle.manifest.golden
    onnx = export(bundle.graph_path, tmp_path / "onnx").manifest
    straight = export(DEMO_MODEL, tmp_path / "straight").manifest
    assert onnx.files["model.onnx.data"] == straight.files["model.onnx.data"]
    assert onnx.quantization == straight.quantization
    assert onnx.model == straight.model
    assert onnx.golden == straight.golden


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_a_file_of_others_there_and_back(kind: str, tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", MOE_KEYS, MOE_TENSORS, kind)
    bundle = export(tmp_path / "m.gguf", tmp_path / "out", target="gguf")
    theirs, ours = (GGUFReader(path) for path in (tmp_path / "m.gguf", bundle.graph_path))
    found = {tensor.name: tensor for tensor in ours.tensors}
    for tensor in theirs.tensors:
        assert found.pop(tensor.name).data.tobytes() == tensor.data.tobytes(), tensor.name
    assert not found


def test_our_own_program_says_who_runs_it(bundle: Bundle) -> None:
    with pytest.raises(UnsupportedBundleError, match=r"run by llama-server -m .*/model\.gguf"):
        open_runtime(bundle)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: tiny_dense(conv_bias=True), "biases"),
        (lambda: tiny_dense(head_dim=32), "heads of 32"),
        (lambda: tiny_dense(layer_types=["conv"] * 4), "no attention"),
        (lambda: tiny_moe(norm_topk_prob=False), "norm_topk_prob"),
        (lambda: tiny_moe(routed_scaling_factor=2.0), "routed_scaling_factor is 2.0"),
        (
            lambda: tiny_dense(
                rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e6}
            ),
            "RoPE",
        ),
        (tiny_lfm3, "family is lfm3"),
    ],
    ids=["conv bias", "head size", "no attention", "norm_topk_prob", "scaling", "RoPE", "family"],
)
def test_what_llama_cpp_cannot_do_is_refused(model: Any, words: str, tmp_path: Path) -> None:
    source = saved(random_model(model()), tmp_path / "checkpoint")
    with pytest.raises(ExportError, match=f"--target gguf: .*{words}.*--target onnx"):
        export(source, tmp_path / "out", target="gguf")
    assert not (tmp_path / "out").exists()


def test_a_model_without_tokenizer_and_expert_bias(tmp_path: Path) -> None:
    source = saved(random_model(tiny_moe(use_expert_bias=False)), tmp_path / "checkpoint")
    bundle = export(source, tmp_path / "out", target="gguf")
    tensors = {tensor.name: tensor for tensor in GGUFReader(bundle.graph_path).tensors}
    assert not tensors["blk.1.exp_probs_b.bias"].data.any()
    assert tensors["blk.3.exp_probs_b.bias"].data.shape == (8,)


def test_a_tokenizer_that_llama_cpp_does_not_know(tmp_path: Path) -> None:
    config = tiny_dense(vocab_size=4096, bos_token_id=1, pad_token_id=0)
    source = saved(random_model(config), tmp_path / "checkpoint")
    description = json.loads((DEMO_MODEL / "tokenizer.json").read_text())
    description["normalizer"] = {"type": "NFC"}
    (source / "tokenizer.json").write_text(json.dumps(description))
    with pytest.raises(ExportError, match="does not know this tokenizer: it has a normalizer"):
        export(source, tmp_path / "out", target="gguf")
    assert not (tmp_path / "out").exists()


def test_llama_cpp_agrees_with_the_golden_vectors(bundle: Bundle) -> None:
    llama_cpp = pytest.importorskip(
        "llama_cpp", reason="NOT RUN: llama.cpp is not installed (the extra `peers`)"
    )
    golden = bundle.manifest.golden
    model = llama_cpp.Llama(
        str(bundle.graph_path), n_ctx=64, n_batch=64, logits_all=True, n_threads=1, verbose=False
    )
    assert model.tokenize(b"Hello, <|im_end|>", special=True)[0] == 1
    model.eval(golden.ids)
    logits = np.array(model.scores[: len(golden.ids)])
    wanted = np.array(golden.probe_logits)
    worst = np.abs(logits[:, golden.probe_ids] - wanted).max(axis=-1)
    assert (worst > golden.tolerance).sum() <= golden.outliers
