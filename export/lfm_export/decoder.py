"""How a model is put together, once, from top to bottom.

A target, or the reference, says in `Operations` how one operation is done there; this file says
which operations make a model, and in which order. Source: transformers, models `lfm2`, `lfm2_moe`,
`lfm3`.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from .architecture import (
    Architecture,
    Attention,
    Embedding,
    Layer,
    Mlp,
    Norm,
    ShortConv,
    SparseMoe,
)

__all__ = ["Operations", "decode"]

Stream = TypeVar("Stream")
Value = TypeVar("Value")


class Operations(Protocol[Stream, Value]):
    """What a model is made of.

    `Stream` is the residual stream `[tokens, hidden]`, to which every layer adds twice; `Value` is
    any other tensor `[tokens, width]`. A target that adds and norms in one step lets `add` note
    what is to be added.
    """

    def embed(self, part: Embedding) -> Stream:
        """The rows of the token embedding."""
        ...

    def norm(self, stream: Stream, part: Norm) -> Value:
        """The RMS norm of the stream."""
        ...

    def attention(self, x: Value, layer: int, part: Attention) -> Value:
        """Grouped-query attention over what came before and `x`, with the norms of q and k."""
        ...

    def short_conv(self, x: Value, layer: int, part: ShortConv) -> Value:
        """The gated short convolution over what came before and `x`."""
        ...

    def mlp(self, x: Value, layer: int, part: Mlp) -> Value:
        """The dense feed-forward."""
        ...

    def sparse_moe(self, x: Value, layer: int, part: SparseMoe) -> Value:
        """The router's choice of experts, and their weighed sum."""
        ...

    def norm_branch(self, branch: Value, part: Norm) -> Value:
        """The RMS norm of what is to be added."""
        ...

    def add(self, stream: Stream, branch: Value) -> Stream:
        """The stream with a branch added."""
        ...

    def last_token(self, stream: Stream) -> Stream:
        """The stream of the one token whose logits are wanted; or all of it, if all are."""
        ...

    def lm_head(self, x: Value, part: Embedding) -> Value:
        """The logits."""
        ...


def decode(architecture: Architecture, ops: Operations[Stream, Value]) -> Value:
    """The logits of a model, made by `ops`."""
    stream = ops.embed(architecture.embedding)
    for layer in architecture.layers:
        x = ops.norm(stream, layer.operator_norm)
        branch = _normed(_operator(layer, x, ops), layer.post_operator_norm, ops)
        stream = ops.add(stream, branch)
        if layer is architecture.layers[-1]:
            # No later token looks back on what follows: the other tokens are done.
            stream = ops.last_token(stream)
        x = ops.norm(stream, layer.ffn_norm)
        branch = _normed(_feed_forward(layer, x, ops), layer.post_ffn_norm, ops)
        stream = ops.add(stream, branch)
    return ops.lm_head(ops.norm(stream, architecture.final_norm), architecture.embedding)


def _operator(layer: Layer, x: Value, ops: Operations[Stream, Value]) -> Value:
    if isinstance(layer.operator, Attention):
        return ops.attention(x, layer.index, layer.operator)
    return ops.short_conv(x, layer.index, layer.operator)


def _normed(branch: Value, part: Norm | None, ops: Operations[Stream, Value]) -> Value:
    return branch if part is None else ops.norm_branch(branch, part)


def _feed_forward(layer: Layer, x: Value, ops: Operations[Stream, Value]) -> Value:
    if isinstance(layer.feed_forward, Mlp):
        return ops.mlp(x, layer.index, layer.feed_forward)
    return ops.sparse_moe(x, layer.index, layer.feed_forward)
