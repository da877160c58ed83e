"""A float32 bundle gives the logits of transformers, whatever the shape of the model."""

from __future__ import annotations

import itertools

import lfm_edge
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support import (
    ROPE,
    Config,
    export,
    logits_of,
    random_model,
    saved,
    tiny_dense,
    tiny_lfm3,
    tiny_moe,
)

BOUND = 2e-4
PROMPT, STEPS = 21, 32

CONFIGS: dict[str, Config] = {
    "dense": tiny_dense(),
    "dense, kernel 2": tiny_dense(conv_L_cache=2),
    "dense, kernel 5, biases": tiny_dense(conv_L_cache=5, conv_bias=True),
    "dense, untied": tiny_dense(tie_word_embeddings=False),
    "dense, width as given": tiny_dense(block_auto_adjust_ff_dim=False),
    "dense, width multiplied": tiny_dense(block_ffn_dim_multiplier=1.3),
    "dense, one kv head": tiny_dense(num_key_value_heads=1),
    "dense, as many kv heads": tiny_dense(num_key_value_heads=4),
    "dense, wide heads": tiny_dense(hidden_size=128, num_attention_heads=2),
    "dense, odd widths": tiny_dense(
        hidden_size=44, head_dim=16, intermediate_size=77, block_auto_adjust_ff_dim=False
    ),
    "dense, other theta": tiny_dense(rope_parameters={**ROPE, "rope_theta": 10_000.0}),
    "dense, frequencies and factor of YaRN": tiny_dense(
        rope_parameters={
            **{"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0},
            "original_max_position_embeddings": 16,
        }
    ),
    "dense, attention first": tiny_dense(layer_types=["full_attention", "conv"] * 2),
    "dense, convolution only": tiny_dense(layer_types=["conv"] * 4),
    "moe": tiny_moe(),
    "moe, odd widths": tiny_moe(
        hidden_size=44, head_dim=16, intermediate_size=77, moe_intermediate_size=20
    ),
    "moe, weights as they are": tiny_moe(norm_topk_prob=False),
    "moe, scaled": tiny_moe(routed_scaling_factor=2.5),
    "moe, scaled, weights as they are": tiny_moe(norm_topk_prob=False, routed_scaling_factor=0.5),
    "moe, no expert bias": tiny_moe(use_expert_bias=False),
    "moe, one expert a token": tiny_moe(num_experts_per_tok=1),
    "moe, all experts": tiny_moe(num_experts=4, num_experts_per_tok=4),
    "moe, no dense layer": tiny_moe(num_dense_layers=0),
    "moe, kernel 4, untied, biases": tiny_moe(
        conv_L_cache=4, tie_word_embeddings=False, conv_bias=True
    ),
    "lfm3": tiny_lfm3(),
    "lfm3, heads of 128, window of one": tiny_lfm3(
        head_dim=128, num_key_value_heads=1, sliding_window=1
    ),
    "lfm3, untied, biases, no gate": tiny_lfm3(
        tie_word_embeddings=False, attention_bias=True, conv_bias=True, use_attention_gate=False
    ),
    "lfm3, no sandwich, window of a prompt": tiny_lfm3(
        use_sandwich_norm=False, sliding_window=PROMPT
    ),
    "lfm3, sliding only": tiny_lfm3(
        sliding_window=5, num_hidden_layers=3, layer_types=["sliding_attention"] * 3
    ),
}


TARGETS = ("onnx", "onnx-portable")


@pytest.fixture(params=itertools.product(CONFIGS, TARGETS), scope="module", ids=", ".join)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[lfm_edge.Model, NDArray[np.int64], NDArray[np.float32]]:
    """A loaded bundle, a sequence, and transformers' logits for it."""
    folder = tmp_path_factory.mktemp("tiny")
    name, target = request.param
    truth = random_model(CONFIGS[name])
    export(saved(truth, folder / "checkpoint"), folder / "bundle", target=target, quant="f32")
    ids = np.random.default_rng(1).integers(0, truth.config.vocab_size, PROMPT + STEPS)
    return lfm_edge.load(folder / "bundle", threads=1), ids, logits_of(truth, ids)


def check(logits: NDArray[np.float32], truth: NDArray[np.float32]) -> None:
    assert np.abs(logits - truth).max() <= BOUND
    best = np.sort(truth)[..., -2:]
    decided = best[..., 1] - best[..., 0] > 2 * BOUND
    assert (logits.argmax(-1) == truth.argmax(-1))[decided].all()


def test_prefill_then_decode(
    model: tuple[lfm_edge.Model, NDArray[np.int64], NDArray[np.float32]],
) -> None:
    loaded, ids, truth = model
    session = loaded.session(context=len(ids))
    logits = [session.prefill(ids[:PROMPT])]
    logits += [session.decode(int(token)) for token in ids[PROMPT:]]
    assert session.position == len(ids)
    check(np.stack(logits), truth[PROMPT - 1 :])


def test_ragged_chunks(
    model: tuple[lfm_edge.Model, NDArray[np.int64], NDArray[np.float32]],
) -> None:
    loaded, ids, truth = model
    session = loaded.session(context=64)
    ends = np.cumsum([8, 1, 13, 2, 29])
    logits = [session.prefill(part) for part in np.split(ids, ends[:-1])]
    check(np.stack(logits), truth[ends - 1])


def test_token_by_token(
    model: tuple[lfm_edge.Model, NDArray[np.int64], NDArray[np.float32]],
) -> None:
    loaded, ids, truth = model
    session = loaded.session(context=100)
    check(np.stack([session.decode(int(token)) for token in ids]), truth)
