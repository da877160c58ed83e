"""The target `mlx`: the folder's files, and where mlx-lm is there, what it computes from them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lfm_edge.bundle import Bundle
from lfm_edge.errors import UnsupportedBundleError
from lfm_edge.targets import open_runtime
from lfm_export.architecture import describe
from lfm_export.checkpoint import open_checkpoint
from lfm_export.checkpoint.safetensors_file import SafetensorsFile
from lfm_export.emit.mlx.store import MLX_FILE
from lfm_export.errors import ExportError
from lfm_export.loading import architecture_of
from safetensors.numpy import load_file

from tests.export.gguf_samples import KEYS, MATRICES, TENSORS, write
from tests.support import (
    DEMO_MODEL,
    dequantized,
    export,
    logits_of,
    random_model,
    saved,
    tiny_dense,
    tiny_moe,
)

MODELS: dict[str, Callable[[], Any]] = {
    "dense": tiny_dense,
    "convolutions with biases": lambda: tiny_dense(conv_bias=True, conv_L_cache=4),
    "moe": tiny_moe,
    "moe without bias": lambda: tiny_moe(
        use_expert_bias=False, norm_topk_prob=False, routed_scaling_factor=1.5
    ),
    "moe without experts": lambda: tiny_moe(num_dense_layers=4),
}


def checkpoint(name: str, folder: Path) -> Path:
    return (
        DEMO_MODEL if name == "shipped" else saved(random_model(MODELS[name]()), folder / "model")
    )


def config(bundle: Bundle) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bundle.folder / "config.json").read_text())
    return found


@pytest.mark.parametrize("name", MODELS)
def test_the_config_describes_the_same_model(name: str, tmp_path: Path) -> None:
    source = checkpoint(name, tmp_path)
    written = config(export(source, tmp_path / "out", target="mlx", quant="f32"))
    assert "quantization" not in written
    with open_checkpoint(str(source)) as opened:
        architecture = architecture_of(opened, lambda _: None)
    same = describe(written)
    assert same.layers == architecture.layers
    assert same.embedding == architecture.embedding
    assert same.final_norm == architecture.final_norm
    assert same.eos_token_ids == architecture.eos_token_ids


def test_quantization_is_told_module_by_module(tmp_path: Path) -> None:
    source = checkpoint("moe", tmp_path)
    q4, q8 = (config(export(source, tmp_path / q, target="mlx", quant=q)) for q in ("q4", "q8"))
    usual = {"group_size": 32, "bits": 4, "mode": "affine"}
    assert q4["quantization"] == {**usual, "model.embed_tokens": {"group_size": 32, "bits": 8}}
    assert q8["quantization"] == {**usual, "bits": 8}
    types = dict.fromkeys(MATRICES, "Q8_0") | {"blk.1.attn_output.weight": "Q4_0"}
    write(tmp_path / "m.gguf", KEYS, TENSORS, types)
    mixed = config(export(tmp_path / "m.gguf", tmp_path / "mixed", target="mlx"))
    name = "model.layers.1.self_attn.out_proj"
    assert mixed["quantization"] == {**usual, "bits": 8, name: {"group_size": 32, "bits": 4}}


@pytest.mark.parametrize("activations", ["f32", "f16"])
def test_small_tensors(activations: str, tmp_path: Path) -> None:
    source = checkpoint("moe", tmp_path)
    bundle = export(source, tmp_path / "out", target="mlx", activations=activations)
    tensors = load_file(bundle.folder / MLX_FILE)
    half = np.float16 if activations == "f16" else np.float32
    with open_checkpoint(str(source)) as opened:
        for name, dtype in {
            "model.embedding_norm.weight": half,
            "model.layers.0.conv.conv.weight": half,
            "model.layers.1.feed_forward.gate.weight": np.float32,
            "model.layers.1.feed_forward.expert_bias": np.float32,
        }.items():
            assert tensors[name].dtype == dtype
            wanted = opened.read(name).astype(dtype)
            if name.endswith("conv.weight"):
                wanted = wanted.transpose(0, 2, 1)
            np.testing.assert_array_equal(tensors[name], wanted)
    SafetensorsFile(bundle.folder / MLX_FILE).close()  # which checks the whole layout


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tie_word_embeddings": False}, "LM head"),
        ({"head_dim": 32}, "heads of 32"),
        ({"layer_types": ["full_attention"] * 4}, "no convolution"),
        ({"layer_types": ["conv"] * 4}, "no attention"),
    ],
    ids=["untied", "head size", "no convolution", "no attention"],
)
def test_what_mlx_lm_cannot_do_is_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    source = saved(random_model(tiny_dense(**changes)), tmp_path / "model")
    with pytest.raises(ExportError, match=f"--target mlx: .*{words}.*--target onnx"):
        export(source, tmp_path / "out", target="mlx")
    assert not (tmp_path / "out").exists()


def test_weights_too_large_for_a_bias(tmp_path: Path) -> None:
    model = random_model(tiny_dense())
    with torch.no_grad():
        model.model.layers[0].conv.out_proj.weight[0, 0] = 65500
    source = saved(model, tmp_path / "model")
    with pytest.raises(ExportError, match=r"layers\.0\.conv\.out_proj\.weight holds .* so large"):
        export(source, tmp_path / "out", target="mlx", quant="q8")
    assert not (tmp_path / "out").exists()


def test_our_own_program_says_who_runs_it(tmp_path: Path) -> None:
    bundle = export(checkpoint("dense", tmp_path), tmp_path / "out", target="mlx")
    with pytest.raises(UnsupportedBundleError, match=r"run by mlx_lm\.chat --model"):
        open_runtime(bundle)


def ran_by_mlx(folder: Path, ids: Any, count: int) -> tuple[Any, list[int]]:
    """Logits of `ids`, and `count` greedy tokens after the first 8 of them, read step by step."""
    pytest.importorskip("mlx_lm", reason="NOT RUN: pip install mlx mlx-cpu mlx-lm")
    import mlx.core as mx  # noqa: PLC0415
    from mlx_lm.models.cache import make_prompt_cache  # noqa: PLC0415
    from mlx_lm.utils import load_model  # noqa: PLC0415

    with mx.stream(mx.cpu):
        model, _ = load_model(folder)
        logits = np.array(model(mx.array(ids[None].astype(np.int32)))[0])
        cache, tokens = make_prompt_cache(model), []
        step = mx.array(ids[None, :8].astype(np.int32))
        for _ in range(count):
            tokens.append(int(mx.argmax(model(step, cache=cache)[0, -1]).item()))
            step = mx.array([[tokens[-1]]])
    return logits, tokens


@pytest.mark.parametrize(
    ("name", "quant"),
    [*itertools.product(["shipped", *MODELS], ["q8", "q6", "q4"]), ("shipped", "q4_64")],
)
def test_mlx_lm_computes_what_transformers_does(name: str, quant: str, tmp_path: Path) -> None:
    source = checkpoint(name, tmp_path)
    bundle = export(source, tmp_path / "out", target="mlx", quant=quant)
    ids = np.random.default_rng(0).integers(0, bundle.manifest.model.vocab_size, 40)
    logits, tokens = ran_by_mlx(bundle.folder, ids, 64)
    truth = dequantized(source, quant)
    np.testing.assert_allclose(logits, logits_of(truth, ids), atol=1e-3, rtol=0)
    seen = np.concatenate([ids[:8], tokens])
    greedy = logits_of(truth, seen)[7:-1].argmax(-1)
    assert tokens == greedy.tolist()
