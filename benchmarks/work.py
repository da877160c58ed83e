"""What a model asks of a machine: bytes to read for a token, products to form for a prompt."""

from __future__ import annotations

from collections.abc import Iterator

from lfm_export.architecture import Architecture, Attention, Linear, Mlp, ShortConv, SparseMoe

__all__ = ["decode_bytes", "prefill_multiply_adds"]

BITS = 4.5
"""Of a weight: 4, and a float16 scale for 32 of them."""


def decode_bytes(architecture: Architecture) -> float:
    """Bytes of the matrices that one token is multiplied with, head included, at 4.5 bits."""
    return (_weights(architecture) + _head(architecture)) * BITS / 8


def prefill_multiply_adds(architecture: Architecture, tokens: int, depth: int = 0) -> float:
    """Of matrices and causal attention for a prompt of which only the last logits are wanted.

    It stands behind `depth` other tokens.
    """
    pairs = tokens * (tokens + 1) / 2 + tokens * depth
    attention = sum(
        2 * pairs * operator.num_heads * operator.head_dim
        for operator in (layer.operator for layer in architecture.layers)
        if isinstance(operator, Attention)
    )
    return _weights(architecture) * tokens + _head(architecture) + attention


def _head(architecture: Architecture) -> int:
    return architecture.vocab_size * architecture.hidden_size


def _weights(architecture: Architecture) -> int:
    """Weights of the layers' matrices that one token is multiplied with."""
    return sum(
        matrix.rows * matrix.columns
        for layer in architecture.layers
        for part in (layer.operator, layer.feed_forward)
        for matrix in _matrices(part)
    )


def _matrices(part: Attention | ShortConv | Mlp | SparseMoe) -> Iterator[Linear]:
    match part:
        case Attention():
            yield from (part.q_proj, part.k_proj, part.v_proj, part.out_proj)
            yield from (part.gate_proj,) if part.gate_proj else ()
        case ShortConv():
            yield from (part.in_proj, part.out_proj)
        case Mlp():
            yield from (part.gate, part.up, part.down)
        case SparseMoe():
            for expert in part.experts[: part.router.num_experts_per_tok]:
                yield from _matrices(expert)
