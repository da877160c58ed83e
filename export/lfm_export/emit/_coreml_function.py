"""One function of a Core ML package: the whole model for a fixed number of tokens."""

from __future__ import annotations

from typing import Any

import coremltools
import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import Function, types

from ..architecture import Architecture, Attention, Layer, Mlp, Rope, ShortConv
from ._coreml_moe import MoeForm
from ._coreml_ops import MAX_ROWS, Ops, Var
from ._coreml_state import Caches, StateLayout

__all__ = ["build_function", "table_rows"]


def build_function(ops: Ops, layout: StateLayout, moe: MoeForm, tokens: int) -> Function:
    """Inputs `input_ids` `[1, tokens]`, `position` `[1]`, for several tokens `valid` `[1]`; state.

    Outputs are `logits` `[1, vocab]`, of the last token that counts, and state.
    """
    inputs: dict[str, Any] = {
        "input_ids": mb.TensorSpec((1, tokens), types.int32),
        "position": mb.TensorSpec((1,), types.int32),
    }
    if tokens > 1:
        inputs["valid"] = mb.TensorSpec((1,), types.int32)
    inputs |= layout.inputs()
    with Function(inputs, opset_version=coremltools.target.iOS18) as function:
        caches = Caches(ops, layout, function.inputs)
        body = _Body(ops, layout.architecture, layout.context, moe, caches)
        logits = body.logits(function.inputs["input_ids"], function.inputs.get("valid"))
        function.set_outputs([logits, *caches.outputs()])
    return function


def table_rows(vocab: int) -> list[int]:
    """Rows of each piece in which the embedding and the LM head are stored; all but the last equal.

    So a piece serves both: as a table to pick from and as a product of at most `MAX_ROWS` outputs.
    """
    pieces = -(-vocab // MAX_ROWS)
    rows = -(-vocab // pieces)
    return [min(rows, vocab - first) for first in range(0, vocab, rows)]


class _Body:
    """The model's layers, whose branches are float16.

    The residual stream `[1, tokens, hidden]` that the norms read is float32: in float16 its largest
    values could overflow, and each addition would round what all layers before have added.
    """

    def __init__(
        self, ops: Ops, architecture: Architecture, context: int, moe: MoeForm, caches: Caches
    ) -> None:
        self._ops, self._architecture, self._context = ops, architecture, context
        self._moe, self._caches = moe, caches
        self._rope: dict[Rope, tuple[Var, Var]] = {}
        self._positions = caches.positions()
        self._mask = caches.mask()

    def logits(self, ids: Var, valid: Var | None) -> Var:
        """All layers; behind the last operator only the last token that counts is needed."""
        x = self._ops.single(self._embed(ids))
        layers = self._architecture.layers
        for layer in layers:
            x = self._add(x, self._operator(x, layer))
            if layer is layers[-1] and valid is not None:
                x = mb.gather(x=x, indices=mb.sub(x=valid, y=np.int32(1)), axis=1)
            x = self._add(x, self._feed_forward(x, layer))
        return self._head(x)

    def _embed(self, ids: Var) -> Var:
        """Picks from every piece of the table, then from the right one."""
        name, rows = self._architecture.embedding.tokens.name, table_rows(self._vocab)
        if len(rows) == 1:
            return self._ops.picked(f"{name}.0", ids)
        tokens, hidden = ids.shape[1], self._architecture.hidden_size
        piece = mb.floor_div(x=ids, y=np.int32(rows[0]))
        row = mb.sub(x=ids, y=mb.mul(x=piece, y=np.int32(rows[0])))
        found = [
            self._ops.picked(f"{name}.{index}", mb.minimum(x=row, y=np.int32(count - 1)))
            for index, count in enumerate(rows)
        ]
        stacked = mb.reshape(x=mb.concat(values=found, axis=0), shape=[len(rows) * tokens, hidden])
        steps = self._ops.constant(f"steps.{tokens}", np.arange(tokens, dtype=np.int32))
        place = mb.add(x=mb.mul(x=piece, y=np.int32(tokens)), y=steps)
        return mb.gather(x=stacked, indices=place, axis=0)

    def _head(self, x: Var) -> Var:
        """The logits of one token `[1, vocab]`, as float32."""
        embedding = self._architecture.embedding
        name = (embedding.head or embedding.tokens).name
        x = self._ops.half(self._ops.norm(x, self._architecture.final_norm))
        x = mb.reshape(x=x, shape=[1, self._architecture.hidden_size])
        parts = [
            self._ops.product(x, self._ops.whole(f"{name}.{index}"))
            for index in range(len(table_rows(self._vocab)))
        ]
        return mb.cast(x=self._ops.joined(parts, -1), dtype="fp32", name="logits")

    @property
    def _vocab(self) -> int:
        return self._architecture.vocab_size

    def _add(self, x: Var, branch: Var) -> Var:
        return mb.add(x=x, y=self._ops.single(branch))

    def _operator(self, x: Var, layer: Layer) -> Var:
        x = self._ops.half(self._ops.norm(x, layer.operator_norm))
        if isinstance(layer.operator, Attention):
            return self._attention(x, layer.operator)
        return self._short_conv(x, layer.operator)

    def _feed_forward(self, x: Var, layer: Layer) -> Var:
        ops, part = self._ops, layer.feed_forward
        x = ops.norm(x, layer.ffn_norm)
        if not isinstance(part, Mlp):
            return self._moe.feed_forward(ops, x, layer)
        x = ops.half(x)
        inner = ops.silu_product(ops.linear(x, part.gate), ops.linear(x, part.up))
        return ops.linear(inner, part.down)

    def _attention(self, x: Var, part: Attention) -> Var:
        """Query heads that share a key head become rows of one product."""
        ops, tokens = self._ops, x.shape[1]
        heads, groups, size = part.num_heads, part.num_kv_heads, part.head_dim
        query = self._rotate(ops.norm(ops.single(self._heads(x, part, "q")), part.q_norm), part)
        query = ops.half(mb.mul(x=query, y=np.float32(size**-0.5)))
        key = ops.half(
            self._rotate(ops.norm(ops.single(self._heads(x, part, "k")), part.k_norm), part)
        )
        keys = self._caches.append("key_cache", key)
        values = self._caches.append("value_cache", self._heads(x, part, "v"))
        rows = heads // groups * tokens
        query = mb.reshape(x=query, shape=[1, groups, rows, size])
        scores = mb.matmul(x=query, y=keys, transpose_y=True)
        scores = mb.reshape(x=scores, shape=[groups, heads // groups, tokens, self._context])
        weights = mb.softmax(x=mb.add(x=scores, y=self._mask), axis=-1)
        weights = mb.reshape(x=weights, shape=[1, groups, rows, self._context])
        out = mb.reshape(x=mb.matmul(x=weights, y=values), shape=[1, heads, tokens, size])
        out = mb.transpose(x=out, perm=[0, 2, 1, 3])
        return ops.linear(mb.reshape(x=out, shape=[1, tokens, heads * size]), part.out_proj)

    def _heads(self, x: Var, part: Attention, name: str) -> Var:
        """One of the projections, `[1, heads, tokens, head_dim]`."""
        linear = {"q": part.q_proj, "k": part.k_proj, "v": part.v_proj}[name]
        heads = linear.rows // part.head_dim
        out = mb.reshape(x=self._ops.linear(x, linear), shape=[1, x.shape[1], heads, part.head_dim])
        return mb.transpose(x=out, perm=[0, 2, 1, 3])

    def _rotate(self, x: Var, part: Attention) -> Var:
        """Rotate-half RoPE in float32."""
        cos, sin = self._rope_rows(part)
        first, second = mb.split(x=x, num_splits=2, axis=-1)
        left = mb.sub(x=mb.mul(x=first, y=cos), y=mb.mul(x=second, y=sin))
        right = mb.add(x=mb.mul(x=second, y=cos), y=mb.mul(x=first, y=sin))
        return mb.concat(values=[left, right], axis=-1)

    def _rope_rows(self, part: Attention) -> tuple[Var, Var]:
        """Cosines and sines `[tokens, head_dim / 2]` of the tokens' positions."""
        if part.rope not in self._rope:
            names = (f"rope/{name}.{len(self._rope)}" for name in ("cos", "sin"))
            cos, sin = (
                mb.gather(x=self._ops.constant(name, table), indices=self._positions, axis=0)
                for name, table in zip(names, part.rope.table(self._context), strict=True)
            )
            self._rope[part.rope] = (cos, sin)
        return self._rope[part.rope]

    def _short_conv(self, x: Var, part: ShortConv) -> Var:
        """The convolution is in float32, which its taps are; channels come first."""
        ops = self._ops
        projected = mb.transpose(x=ops.linear(x, part.in_proj), perm=[0, 2, 1])
        before, after, values = mb.split(x=projected, num_splits=3, axis=1)
        inputs = self._caches.with_past_conv(mb.mul(x=before, y=values))
        bias = {} if part.bias is None else {"bias": ops.vector(part.bias)}
        convolved = mb.conv(
            x=ops.single(inputs),
            weight=ops.vector(part.taps),
            strides=[1],
            pad_type="valid",
            groups=part.hidden_size,
            **bias,
        )
        gated = mb.mul(x=after, y=ops.half(convolved))
        return ops.linear(mb.transpose(x=gated, perm=[0, 2, 1]), part.out_proj)
