"""Plain NumPy references of every operator: slow, independent of any runtime, easy to read.

Rows are tokens: `x` is float32 `[tokens, features]`. State goes in and comes out; nothing is
changed in place. Router, norms, softmax and RoPE are computed in float32. The numerics follow
`transformers` (`models/lfm2_moe/modeling_lfm2_moe.py`).

A `Matmul` says how a weight meets its activations: exactly (`matmul_float32`), or as the kernels
do it, with activations rounded to int8 in groups of 32 (`matmul_int8`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .quantized import BLOCK_SIZE, QuantizedTensor

__all__ = [
    "KvType",
    "Matmul",
    "add_expert",
    "cached_attention",
    "depthwise_conv",
    "gated_mlp",
    "gated_short_conv",
    "matmul_float32",
    "matmul_int8",
    "rms_norm",
    "rope_frequencies",
    "rope_table",
    "round_as_cached",
    "round_to_int8",
    "route",
    "sigmoid",
    "sparse_moe",
]

Array = NDArray[np.float32]
Matmul = Callable[[Array, QuantizedTensor], Array]
KvType = Literal["f32", "f16", "int8"]

_ROWS_AT_ONCE = 512  # of a weight, so that its dequantized part stays in the cache


def matmul_float32(x: Array, weight: QuantizedTensor) -> Array:
    """`x W^T` with float32 activations: `[tokens, columns] -> [tokens, rows]`."""
    out = np.empty((x.shape[0], weight.shape[0]), np.float32)
    for start in range(0, weight.shape[0], _ROWS_AT_ONCE):
        stop = start + _ROWS_AT_ONCE
        out[:, start:stop] = x @ weight.rows(start, stop).dequantize().T
    return out


def matmul_int8(x: Array, weight: QuantizedTensor) -> Array:
    """`x W^T` with activations as the weight's format has them: float32, or int8 in groups."""
    if weight.format.activations == "int8":
        x = round_to_int8(x)
    return matmul_float32(x, weight)


def round_to_int8(x: Array, block_size: int = BLOCK_SIZE) -> Array:
    """Rounds each group to 127 symmetric steps of its largest magnitude; returns float32."""
    groups = x.reshape(*x.shape[:-1], x.shape[-1] // block_size, block_size)
    scale: Array = np.abs(groups).max(axis=-1, keepdims=True) / np.float32(127)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    rounded: Array = np.rint(groups * inverse) * scale
    return rounded.reshape(x.shape)


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """`x / sqrt(mean(x^2) + eps) * weight` over the last axis."""
    variance: Array = np.mean(np.square(x), axis=-1, keepdims=True, dtype=np.float32)
    normed: Array = x / np.sqrt(variance + np.float32(eps)) * weight
    return normed


def silu(x: Array) -> Array:
    """`x * sigmoid(x)`."""
    return x * sigmoid(x)


def sigmoid(x: Array) -> Array:
    """`1 / (1 + exp(-x))`."""
    with np.errstate(over="ignore"):
        return np.float32(1) / (np.float32(1) + np.exp(-x))


def rope_frequencies(head_dim: int, theta: float) -> Array:
    """RoPE's radians a position, `[head_dim / 2]`: `theta ** (-2 i / head_dim)` in float32."""
    exponent = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequencies: Array = np.float32(1) / np.power(np.float32(theta), exponent, dtype=np.float32)
    return frequencies


def rope_table(
    positions: int, frequencies: Array, attention_factor: float = 1.0
) -> tuple[Array, Array]:
    """Cosines and sines `[positions, len(frequencies)]`, in float32 throughout.

    Args:
        positions: how many, from 0 on.
        frequencies: radians a position, as of `rope_frequencies`.
        attention_factor: what cosines and sines are multiplied by.
    """
    angle = np.arange(positions, dtype=np.float32)[:, None] * frequencies
    factor = np.float32(attention_factor)
    return np.cos(angle) * factor, np.sin(angle) * factor


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """Rotate-half RoPE of the first `rotary_dim` values of each head; the others stay.

    `x` is `[tokens, heads, head_dim]`, the tables are `[tokens, rotary_dim / 2]`.
    """
    half = cos.shape[-1]
    first, second, rest = np.split(x, [half, 2 * half], axis=-1)
    cos, sin = cos[:, None], sin[:, None]
    rotated = first * cos - second * sin, second * cos + first * sin
    return np.concatenate([*rotated, rest], axis=-1)


def round_as_cached(x: Array, kv: KvType) -> Array:
    """What a cache of type `kv` gives back of a key or value; int8 has a scale for each head."""
    if kv == "f32":
        return x
    if kv == "f16":
        return x.astype(np.float16).astype(np.float32)
    return round_to_int8(x, x.shape[-1])


def cached_attention(
    q: Array,
    k: Array,
    v: Array,
    past_key: Array,
    past_value: Array,
    q_norm: Array,
    k_norm: Array,
    eps: float,
    rope: tuple[Array, Array],
    window: int = 0,
    kv: KvType = "f32",
    replayed: int = 0,
) -> tuple[Array, Array, Array]:
    """QK-norm, RoPE, append, causal grouped-query attention.

    Args:
        q: `[tokens, heads, head_dim]`; `k` and `v`: `[tokens, kv_heads, head_dim]`.
        k: see `q`.
        v: see `q`.
        past_key: `[kv_heads, past, head_dim]`, normed and rotated; `past_value` alike.
        past_value: see `past_key`.
        q_norm: RMS norm weight `[head_dim]`; `k_norm` alike.
        k_norm: see `q_norm`.
        eps: the norms' epsilon.
        rope: cosines and sines of all positions, `[positions, rotary_dim / 2]`, see `rotate`.
        window: how many keys a token sees, itself included; 0: all before it.
        kv: the type of the cache, to which new keys and values are rounded.
        replayed: how many of the first tokens stand at the end of the past already: they attend
            to it as it stands, and nothing is appended for them.

    Returns:
        The output `[tokens, heads * head_dim]`, and key and value `[kv_heads, past + tokens -
        replayed, head_dim]`.
    """
    tokens, heads, head_dim = q.shape
    past = past_key.shape[1] - replayed  # before the first token
    cos, sin = (table[past : past + tokens] for table in rope)
    q = rotate(rms_norm(q, q_norm, eps), cos, sin)
    k = round_as_cached(rotate(rms_norm(k, k_norm, eps), cos, sin), kv)
    v = round_as_cached(v, kv)
    key = np.concatenate([past_key, k[replayed:].transpose(1, 0, 2)], axis=1)
    value = np.concatenate([past_value, v[replayed:].transpose(1, 0, 2)], axis=1)
    groups = heads // key.shape[0]
    # One product for each head: `einsum` would take its plain loops, many times as long.
    scores = q.transpose(1, 0, 2) @ np.repeat(key, groups, axis=0).transpose(0, 2, 1)
    scores /= np.sqrt(np.float32(head_dim))
    at, positions = past + np.arange(tokens)[:, None], np.arange(past + tokens)
    visible = (positions <= at) & (positions > at - (window or past + tokens))
    scores = np.where(visible, scores, np.float32(-np.inf))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    out = (weights @ np.repeat(value, groups, axis=0)).transpose(1, 0, 2)
    return out.reshape(tokens, -1), key, value


def depthwise_conv(
    x: Array, taps: Array, bias: Array | None, past: Array, kept_columns: int | None = None
) -> tuple[Array, Array]:
    """Causal depthwise convolution with carried state.

    Args:
        x: `[tokens, hidden]`.
        taps: `[hidden, 1, kernel]`; the last tap meets the current token.
        bias: `[hidden]`, or None.
        past: the last `kernel - 1` inputs, `[hidden, kernel - 1]`, oldest first.
        kept_columns: how many inputs are kept, at most those of `past` and the tokens; by default
            as many as `past` has. Any `kernel - 1` neighbours are the state after the token that
            the last of them comes from.

    Returns:
        The output `[tokens, hidden]` and the last inputs `[hidden, kept_columns]`: the new state.
    """
    inputs = np.concatenate([past.T, x])
    kernel = taps.shape[-1]
    out = np.zeros_like(x)
    for tap in range(kernel):
        out += inputs[tap : tap + len(x)] * taps[:, 0, tap]
    if bias is not None:
        out += bias
    kept = kernel - 1 if kept_columns is None else kept_columns
    return out, inputs[len(inputs) - kept :].T.copy()


def gated_short_conv(
    x: Array,
    in_proj: QuantizedTensor,
    in_bias: Array | None,
    taps: Array,
    conv_bias: Array | None,
    out_proj: QuantizedTensor,
    out_bias: Array | None,
    past: Array,
    matmul: Matmul = matmul_float32,
    kept_columns: int | None = None,
) -> tuple[Array, Array]:
    """`B, C, x = split(in_proj(h)); out_proj(C * conv(B * x))`; see `depthwise_conv`."""
    projected = matmul(x, in_proj)
    if in_bias is not None:
        projected += in_bias
    before, after, values = np.split(projected, 3, axis=-1)
    convolved, state = depthwise_conv(before * values, taps, conv_bias, past, kept_columns)
    out = matmul(after * convolved, out_proj)
    return (out if out_bias is None else out + out_bias), state


def gated_mlp(
    x: Array,
    gate: QuantizedTensor,
    up: QuantizedTensor,
    down: QuantizedTensor,
    matmul: Matmul = matmul_float32,
) -> Array:
    """SwiGLU: `down(silu(gate(x)) * up(x))`."""
    return matmul(silu(matmul(x, gate)) * matmul(x, up), down)


def route(
    x: Array,
    weight: Array,
    bias: Array | None,
    top_k: int,
    norm_topk_prob: bool,
    scaling_factor: float,
) -> tuple[NDArray[np.int64], Array]:
    """The experts of each token, `[tokens, top_k]`, and their weights.

    The bias takes part in the selection alone. Of equal scores the lower index comes first.
    """
    scores = sigmoid(x @ weight.T)
    ranked = scores if bias is None else scores + bias
    experts = np.argsort(-ranked, axis=-1, kind="stable")[:, :top_k]
    weights = np.take_along_axis(scores, experts, axis=-1)
    if norm_topk_prob:
        weights = weights / (weights.sum(axis=-1, keepdims=True) + np.float32(1e-6))
    return experts, weights * np.float32(scaling_factor)


def sparse_moe(
    x: Array,
    experts: NDArray[np.int64],
    weights: Array,
    mlps: Iterable[tuple[QuantizedTensor, QuantizedTensor, QuantizedTensor]],
    matmul: Matmul = matmul_float32,
) -> Array:
    """The weighted sum of each token's experts, for the choice that `route` made.

    `mlps` yields gate, up and down of every expert in order, so that one is in memory at a time.
    """
    out = np.zeros_like(x)
    for index, mlp in enumerate(mlps):
        add_expert(out, x, experts, weights, index, mlp, matmul)
    return out


def add_expert(
    out: Array,
    x: Array,
    experts: NDArray[np.int64],
    weights: Array,
    index: int,
    mlp: tuple[QuantizedTensor, QuantizedTensor, QuantizedTensor],
    matmul: Matmul = matmul_float32,
) -> None:
    """One term of `sparse_moe`: adds expert `index` to the rows of `out` that chose it."""
    tokens, slots = np.nonzero(experts == index)
    if len(tokens):
        out[tokens] += weights[tokens, slots, None] * gated_mlp(x[tokens], *mlp, matmul)
