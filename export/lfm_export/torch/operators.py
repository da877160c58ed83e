"""The operators `torch.ops.lfm.*`: plain forms for the CPU, and shapes for tracing.

Tensors are float32 where nothing else is said; packed weights are uint8 (`packed.py`). What each
computes is said in docs/ops.md.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)

from .packed import unpack, unpack_gate_up

__all__ = ["cached_attention", "gated_short_conv", "sparse_moe"]

Tensor = torch.Tensor


@torch.library.custom_op("lfm::gated_short_conv", mutates_args=())
def gated_short_conv(
    x: Tensor,
    in_proj: Tensor,
    in_bias: Tensor | None,
    taps: Tensor,
    conv_bias: Tensor | None,
    out_proj: Tensor,
    out_bias: Tensor | None,
    past: Tensor,
) -> tuple[Tensor, Tensor]:
    """`B, C, v = split(in_proj(x)); out_proj(C * conv(B * v))`, with carried state.

    Args:
        x: `[1, S, H]`.
        in_proj: packed, of `[3H, H]`.
        in_bias: `[3H]`, or None.
        taps: `[H, 1, K]`, the last of which meets the current token.
        conv_bias: `[H]`, or None.
        out_proj: packed, of `[H, H]`.
        out_bias: `[H]`, or None.
        past: `[1, H, K - 1]`, the oldest input first.

    Returns:
        The output `[1, S, H]` and the new state `[1, H, K - 1]`.
    """
    hidden, kernel = x.shape[-1], taps.shape[-1]
    projected = F.linear(x, unpack(in_proj, 3 * hidden, hidden), in_bias)
    before, after, values = projected.chunk(3, dim=-1)
    inputs = torch.cat([past, (before * values).transpose(1, 2)], dim=-1)
    convolved = F.conv1d(inputs, taps, conv_bias, groups=hidden).transpose(1, 2)
    out = F.linear(after * convolved, unpack(out_proj, hidden, hidden), out_bias)
    return out, inputs[..., inputs.shape[-1] - (kernel - 1) :].clone()


@gated_short_conv.register_fake
def _(
    x: Tensor,
    in_proj: Tensor,
    in_bias: Tensor | None,
    taps: Tensor,
    conv_bias: Tensor | None,
    out_proj: Tensor,
    out_bias: Tensor | None,
    past: Tensor,
) -> tuple[Tensor, Tensor]:
    del in_proj, in_bias, taps, conv_bias, out_proj, out_bias
    return torch.empty_like(x), torch.empty_like(past)


@torch.library.custom_op("lfm::sparse_moe", mutates_args=())
def sparse_moe(
    x: Tensor,
    router: Tensor,
    expert_bias: Tensor | None,
    gate_up: Tensor,
    down: Tensor,
    intermediate_size: int,
    num_experts_per_tok: int,
    norm_topk_prob: bool,
    routed_scaling_factor: float,
) -> Tensor:
    """The feed-forward of a mixture of experts, router included.

    Args:
        x: `[..., H]`.
        router: `[E, H]`.
        expert_bias: `[E]`, which takes part in the selection alone, or None.
        gate_up: packed `[E, bytes]`, of each expert's gate and up (`pack_gate_up`).
        down: packed `[E, bytes]`, of each expert's `[H, intermediate_size]`.
        intermediate_size: the width of an expert.
        num_experts_per_tok: how many are chosen for a token.
        norm_topk_prob: whether their weights are divided by their sum + 1e-6.
        routed_scaling_factor: what the weights are multiplied by.

    Returns:
        `[..., H]`.
    """
    hidden = x.shape[-1]
    rows = x.reshape(-1, hidden)
    scores = torch.sigmoid(F.linear(rows, router))
    ranked = scores if expert_bias is None else scores + expert_bias
    order = torch.sort(ranked, dim=-1, descending=True, stable=True).indices
    chosen = order[:, :num_experts_per_tok]
    weights = scores.gather(1, chosen)
    if norm_topk_prob:
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-6)
    weights = weights * routed_scaling_factor
    out = torch.zeros_like(rows)
    for expert in torch.unique(chosen).tolist():
        tokens, slots = torch.nonzero(chosen == expert, as_tuple=True)
        gate, up = unpack_gate_up(gate_up[expert], intermediate_size, hidden)
        inner = F.silu(F.linear(rows[tokens], gate)) * F.linear(rows[tokens], up)
        branch = F.linear(inner, unpack(down[expert], hidden, intermediate_size))
        out.index_add_(0, tokens, weights[tokens, slots, None] * branch)
    return out.reshape(x.shape)


@sparse_moe.register_fake
def _(x: Tensor, *args: object) -> Tensor:
    del args
    return torch.empty_like(x)


@torch.library.custom_op("lfm::cached_attention", mutates_args=())
def cached_attention(
    qkv: Tensor,
    q_norm: Tensor,
    k_norm: Tensor,
    cos: Tensor,
    sin: Tensor,
    attention_mask: Tensor,
    past_key: Tensor,
    past_value: Tensor,
    num_heads: int,
    window: int,
    scale: float,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Norms of q and k, RoPE, append to the cache, causal grouped-query attention.

    Args:
        qkv: `[1, S, (N + 2M) D]`: the query heads, the keys and the values of each token.
        q_norm: `[D]`.
        k_norm: `[D]`.
        cos: `[P, R / 2]`, of all positions; the first R values of a head are rotated.
        sin: as `cos`.
        attention_mask: int64 `[1, T]`, of which the length counts: the first token's position is
            T - S.
        past_key: `[1, M, C, D]`, C positions of which the first T - S count.
        past_value: as `past_key`.
        num_heads: N.
        window: how many keys a token sees, itself included; 0: all before it.
        scale: what the products of q and k are multiplied by.
        epsilon: of the norms.

    Returns:
        The output `[1, S, N D]`, and key and value with the new tokens, `[1, M, C, D]`.
    """
    heads, head_dim = past_key.shape[1], past_key.shape[3]
    tokens, total = qkv.shape[1], attention_mask.shape[1]
    past = total - tokens
    parts = qkv[0].reshape(tokens, -1, head_dim).transpose(0, 1)  # [heads, S, D]
    q, k, v = torch.split(parts, [num_heads, heads, heads])
    rope = cos[past:total], sin[past:total]
    q = _rotate(F.rms_norm(q, [head_dim], q_norm, epsilon), *rope)
    k = _rotate(F.rms_norm(k, [head_dim], k_norm, epsilon), *rope)
    key, value = past_key.clone(), past_value.clone()
    key[0, :, past:total], value[0, :, past:total] = k, v
    groups = num_heads // heads
    keys, values = (x[0, :, :total].repeat_interleave(groups, 0) for x in (key, value))
    at, positions = torch.arange(past, total)[:, None], torch.arange(total)
    hidden = (positions > at) | (positions <= at - (window or total))
    scores = (q @ keys.transpose(1, 2) * scale).masked_fill(hidden, float("-inf"))
    out = (scores.softmax(-1) @ values).transpose(0, 1).reshape(1, tokens, -1)
    return out, key, value


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = cos.shape[-1]
    first, second, rest = torch.split(x, [half, half, x.shape[-1] - 2 * half], dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=-1)


@cached_attention.register_fake
def _(
    qkv: Tensor,
    q_norm: Tensor,
    k_norm: Tensor,
    cos: Tensor,
    sin: Tensor,
    attention_mask: Tensor,
    past_key: Tensor,
    past_value: Tensor,
    num_heads: int,
    window: int,
    scale: float,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    del q_norm, k_norm, cos, sin, attention_mask, window, scale, epsilon
    out = qkv.new_empty(1, qkv.shape[1], num_heads * past_key.shape[3])
    return out, torch.empty_like(past_key), torch.empty_like(past_value)
