"""The parts that a model is made of. Each names its own tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass

import numpy as np
from lfm_ops import reference as ops
from numpy.typing import NDArray

__all__ = [
    "Architecture",
    "Attention",
    "Embedding",
    "Layer",
    "Linear",
    "Mlp",
    "Norm",
    "Rope",
    "Router",
    "ShortConv",
    "SparseMoe",
    "Vector",
    "tensors_of",
]


@dataclass(frozen=True)
class Vector:
    """A small float32 tensor that is never quantized: a norm, a bias, convolution taps."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Linear:
    """A weight matrix `[rows, columns]`, `y = x W^T + bias`."""

    name: str
    rows: int
    columns: int
    bias: Vector | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs."""
        return (self.rows, self.columns)


@dataclass(frozen=True)
class Norm:
    """RMS norm over the last axis, computed in fp32."""

    weight: Vector
    eps: float


@dataclass(frozen=True)
class Rope:
    """Rotate-half RoPE of a whole head, whatever rule its frequencies came from."""

    frequencies: tuple[float, ...]
    """Radians a position, `head_dim / 2` of them, exact in float32."""
    attention_factor: float = 1.0
    """What cosines and sines are multiplied by."""
    theta: float | None = None
    """The base, where the frequencies are its powers alone: what a runtime that makes its own table
    is told."""

    def table(self, positions: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cosines and sines `[positions, head_dim / 2]`."""
        frequencies = np.array(self.frequencies, np.float32)
        return ops.rope_table(positions, frequencies, self.attention_factor)


@dataclass(frozen=True)
class Attention:
    """Grouped-query attention; q and k are normed per head before rotate-half RoPE."""

    q_proj: Linear
    k_proj: Linear
    v_proj: Linear
    gate_proj: Linear | None
    """`[num_heads, hidden]`: each head's output is multiplied by the sigmoid of its row."""
    out_proj: Linear
    q_norm: Norm
    k_norm: Norm
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope: Rope
    window: int
    """How many keys a token sees, itself included; 0: all before it."""


@dataclass(frozen=True)
class ShortConv:
    """`B, C, x = in_proj(h)`; `out_proj(C * conv(B * x))`, conv causal and depthwise."""

    in_proj: Linear
    taps: Vector
    """`[hidden, 1, kernel]`; the last tap meets the current token."""
    bias: Vector | None
    out_proj: Linear
    hidden_size: int
    kernel_size: int


@dataclass(frozen=True)
class Mlp:
    """SwiGLU: `down(silu(gate(h)) * up(h))`; a dense feed-forward, or one expert."""

    gate: Linear
    up: Linear
    down: Linear


@dataclass(frozen=True)
class Router:
    """`s = sigmoid(h W^T)` in fp32; the top k of `s + bias` are selected and weighed by `s`."""

    weight: Vector
    bias: Vector | None
    num_experts: int
    num_experts_per_tok: int
    norm_topk_prob: bool
    routed_scaling_factor: float


@dataclass(frozen=True)
class SparseMoe:
    """A router and its experts."""

    router: Router
    experts: tuple[Mlp, ...]


@dataclass(frozen=True)
class Layer:
    """`h += operator(operator_norm(h)); h += feed_forward(ffn_norm(h))`.

    In a family with sandwich norms, what is added is normed as well.
    """

    index: int
    operator_norm: Norm
    operator: Attention | ShortConv
    post_operator_norm: Norm | None
    ffn_norm: Norm
    feed_forward: Mlp | SparseMoe
    post_ffn_norm: Norm | None


@dataclass(frozen=True)
class Embedding:
    """The token embedding `[vocab, hidden]`, and the LM head's own matrix where it is not tied."""

    tokens: Linear
    head: Linear | None


@dataclass(frozen=True)
class Architecture:
    """A whole model."""

    family: str
    hidden_size: int
    vocab_size: int
    max_context: int
    bos_token_id: int | None
    eos_token_ids: tuple[int, ...]
    pad_token_id: int | None
    embedding: Embedding
    layers: tuple[Layer, ...]
    final_norm: Norm

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Every tensor that the checkpoint must hold, with its shape."""
        return {tensor.name: tensor.shape for tensor in tensors_of(self)}

    def seen_by_convolutions(self) -> int:
        """How many tokens before its own all short convolutions together see."""
        operators = [layer.operator for layer in self.layers]
        return sum(part.kernel_size - 1 for part in operators if isinstance(part, ShortConv))

    def num_parameters(self) -> int:
        """The number of weights."""
        total = 0
        for shape in self.tensors().values():
            count = 1
            for size in shape:
                count *= size
            total += count
        return total


def tensors_of(part: object) -> Iterator[Vector | Linear]:
    """The tensors of a description in order; every part is a dataclass or a tuple of parts."""
    if isinstance(part, Vector | Linear):
        yield part
    if isinstance(part, tuple):
        for item in part:
            yield from tensors_of(item)
    elif is_dataclass(part):
        for field in fields(part):
            yield from tensors_of(getattr(part, field.name))
