"""The NumPy references against the modules of transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_ops import reference as ops
from lfm_ops.quantized import QuantizedTensor
from lfm_ops.reference import Array
from transformers import DynamicCache
from transformers.models.lfm2_moe import modeling_lfm2_moe as truth

from tests.support import random_model, tiny_moe

BOUND = 1e-5  # of values whose RMS is about one


def array(tensor: torch.Tensor) -> Array:
    return tensor.detach().numpy()


def exact(tensor: torch.Tensor) -> QuantizedTensor:
    return QuantizedTensor(32, array(tensor))


def inputs(tokens: int, hidden: int = 64) -> Array:
    return np.random.default_rng(tokens).standard_normal((tokens, hidden)).astype(np.float32)


def batch(x: Array) -> torch.Tensor:
    return torch.from_numpy(x)[None]


@pytest.mark.parametrize("norm_topk_prob", [True, False])
@pytest.mark.parametrize("use_expert_bias", [True, False])
def test_sparse_moe(norm_topk_prob: bool, use_expert_bias: bool) -> None:
    config = tiny_moe(
        norm_topk_prob=norm_topk_prob, use_expert_bias=use_expert_bias, routed_scaling_factor=1.7
    )
    block = random_model(config).model.layers[1].feed_forward
    x = inputs(40)
    experts, weights = ops.route(
        x,
        array(block.gate.weight),
        array(block.expert_bias) if use_expert_bias else None,
        config.num_experts_per_tok,
        norm_topk_prob,
        config.routed_scaling_factor,
    )
    mlps = [
        (exact(gate_up[:32]), exact(gate_up[32:]), exact(down))
        for gate_up, down in zip(block.experts.gate_up_proj, block.experts.down_proj, strict=True)
    ]
    got = ops.sparse_moe(x, experts, weights, mlps)
    assert np.abs(got - array(block(batch(x)))[0]).max() <= BOUND


def test_of_equal_scores_the_lower_expert_is_chosen() -> None:
    experts, weights = ops.route(inputs(3), np.zeros((8, 64), np.float32), None, 2, True, 1.0)
    assert (experts == [0, 1]).all()
    assert np.allclose(weights, 0.5)


def test_gated_mlp() -> None:
    mlp = random_model(tiny_moe()).model.layers[0].feed_forward
    x = inputs(9)
    got = ops.gated_mlp(x, exact(mlp.w1.weight), exact(mlp.w3.weight), exact(mlp.w2.weight))
    assert np.abs(got - array(mlp(batch(x)))[0]).max() <= BOUND


@pytest.mark.parametrize("chunks", [[12], [5, 1, 1, 5], [1] * 12])
def test_gated_short_conv_carries_its_state(chunks: list[int]) -> None:
    conv = random_model(tiny_moe(conv_L_cache=4, conv_bias=True)).model.layers[0].conv
    x = inputs(12)
    state, out = np.zeros((64, 3), np.float32), []
    for part in np.split(x, np.cumsum(chunks)[:-1]):
        y, state = ops.gated_short_conv(
            part,
            exact(conv.in_proj.weight),
            array(conv.in_proj.bias),
            array(conv.conv.weight),
            array(conv.conv.bias),
            exact(conv.out_proj.weight),
            array(conv.out_proj.bias),
            state,
        )
        out.append(y)
    assert np.abs(np.concatenate(out) - array(conv(batch(x)))[0]).max() <= BOUND


@pytest.mark.parametrize("chunks", [[12], [5, 1, 1, 5], [1] * 12])
def test_cached_attention(chunks: list[int]) -> None:
    config = tiny_moe()
    model = random_model(config).model
    attention, x = model.layers[1].self_attn, inputs(12)
    key = value = np.empty((2, 0, 16), np.float32)
    table = ops.rope_table(len(x), ops.rope_frequencies(16, 1e6))
    out = []
    for part in np.split(x, np.cumsum(chunks)[:-1]):
        q, k, v = (
            (part @ array(linear.weight).T).reshape(len(part), -1, 16)
            for linear in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        norms = array(attention.q_layernorm.weight), array(attention.k_layernorm.weight)
        y, key, value = ops.cached_attention(
            q, k, v, key, value, *norms, eps=config.norm_eps, rope=table
        )
        out.append(y @ array(attention.out_proj.weight).T)
    cache = DynamicCache(config=config)
    mask = torch.full((12, 12), float("-inf")).triu(1)[None, None]
    rotary = truth.Lfm2MoeRotaryEmbedding(config)(batch(x), torch.arange(12)[None])
    expected, _ = attention(batch(x), rotary, mask, past_key_values=cache)
    assert np.abs(np.concatenate(out) - array(expected)[0]).max() <= BOUND
    keys = cache.layers[1].keys  # type: ignore[union-attr]
    assert isinstance(keys, torch.Tensor)
    assert np.abs(key - array(keys)[0]).max() <= BOUND


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-30, 1e30))
def test_rounding_to_int8_errs_by_half_a_step_at_most(seed: int, size: float) -> None:
    x = np.random.default_rng(seed).standard_normal((3, 64)).astype(np.float32) * np.float32(size)
    step = np.abs(x.reshape(3, 2, 32)).max(-1, keepdims=True) / 127
    error = np.abs(ops.round_to_int8(x) - x).reshape(3, 2, 32)
    assert (error <= 0.501 * step).all()


def test_rounding_to_int8_keeps_zeros() -> None:
    assert (ops.round_to_int8(np.zeros((1, 32), np.float32)) == 0).all()


def test_a_window_hides_what_lies_before_it() -> None:
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((9, 2, 16)).astype(np.float32) for _ in range(3))
    unrotated = ops.rope_table(9, np.empty(0, np.float32))
    ones, empty = np.ones(16, np.float32), np.empty((2, 0, 16), np.float32)

    def last(first: int, window: int) -> Array:
        """The last token's output when the cache begins at token `first`, unrotated."""
        tokens = slice(first, None)
        return ops.cached_attention(
            *(q[tokens], k[tokens], v[tokens], empty, empty, ones, ones, 1e-5, unrotated),
            window=window,
        )[0][-1]

    assert np.abs(last(0, 4) - last(5, 0)).max() <= BOUND
    assert np.abs(last(0, 9) - last(0, 0)).max() <= BOUND
    assert np.abs(last(0, 4) - last(0, 0)).max() > 0.1


def test_partial_rope_leaves_the_rest() -> None:
    x = inputs(6).reshape(6, 2, 32)
    cos, sin = ops.rope_table(6, ops.rope_frequencies(8, 1e4))
    got = ops.rotate(x, cos, sin)
    assert (got[..., 8:] == x[..., 8:]).all()
    assert (got[..., :8] == ops.rotate(x[..., :8], cos, sin)).all()


@pytest.mark.parametrize(("kv", "bound"), [("f32", 0), ("f16", 2**-11), ("int8", 1 / 250)])
def test_a_cache_rounds(kv: ops.KvType, bound: float) -> None:
    x = inputs(7).reshape(7, 4, 16)
    error = np.abs(ops.round_as_cached(x, kv) - x)
    assert (error <= bound * np.abs(x).max(-1, keepdims=True)).all()
