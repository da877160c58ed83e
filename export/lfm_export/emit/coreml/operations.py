"""Every operation of a model in Core ML's operations, for a fixed number of tokens."""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from ...architecture import (
    Architecture,
    Attention,
    Embedding,
    Mlp,
    Norm,
    Rope,
    ShortConv,
    SparseMoe,
)
from ...decoder import Operations
from .moe import MoeForm
from .pieces import MAX_ROWS, Pieces, Var
from .state import Caches

__all__ = ["CoreMLOperations", "table_rows"]


def table_rows(vocab: int) -> list[int]:
    """Rows of each piece in which the embedding and the LM head are stored; all but the last equal.

    So a piece serves both: as a table to pick from and as a product of at most `MAX_ROWS` outputs.
    """
    pieces = -(-vocab // MAX_ROWS)
    rows = -(-vocab // pieces)
    return [min(rows, vocab - first) for first in range(0, vocab, rows)]


class CoreMLOperations(Operations[Var, Var]):
    """Branches are float16.

    The residual stream `[1, tokens, hidden]` that the norms read is float32: in float16 its largest
    values could overflow, and each addition would round what all layers before have added.
    """

    def __init__(
        self,
        pieces: Pieces,
        architecture: Architecture,
        context: int,
        moe: MoeForm,
        caches: Caches,
    ) -> None:
        self._pieces, self._architecture, self._context = pieces, architecture, context
        self._moe, self._caches = moe, caches
        self._rope: dict[Rope, tuple[Var, Var]] = {}
        self._masks: dict[int, Var] = {}
        self._positions = caches.positions()

    def embed(self, part: Embedding) -> Var:
        """Picks from every piece of the table, then from the right one."""
        return self._pieces.single(self._embed(part, self._caches.input_ids))

    def norm(self, stream: Var, part: Norm) -> Var:
        """In float32."""
        return self._pieces.norm(stream, part)

    def norm_branch(self, branch: Var, part: Norm) -> Var:
        """In float32."""
        return self._pieces.norm(self._pieces.single(branch), part)

    def add(self, stream: Var, branch: Var) -> Var:
        """In float32."""
        return mb.add(x=stream, y=self._pieces.single(branch))

    def last_token(self, stream: Var) -> Var:
        """The last one that counts."""
        valid = self._caches.valid
        if valid is None:
            return stream
        return mb.gather(x=stream, indices=mb.sub(x=valid, y=np.int32(1)), axis=1)

    def mlp(self, x: Var, layer: int, part: Mlp) -> Var:
        """Three products."""
        del layer
        pieces, x = self._pieces, self._pieces.half(x)
        inner = pieces.silu_product(pieces.linear(x, part.gate), pieces.linear(x, part.up))
        return pieces.linear(inner, part.down)

    def sparse_moe(self, x: Var, layer: int, part: SparseMoe) -> Var:
        """In the form that was asked for."""
        return self._moe.feed_forward(self._pieces, x, layer, part)

    def attention(self, x: Var, layer: int, part: Attention) -> Var:
        """Query heads that share a key head become rows of one product."""
        del layer
        pieces, tokens = self._pieces, x.shape[1]
        x = pieces.half(x)
        heads, groups, size = part.num_heads, part.num_kv_heads, part.head_dim
        query = pieces.norm(pieces.single(self._heads(x, part, "q")), part.q_norm)
        query = mb.mul(x=self._rotate(query, part), y=np.float32(size**-0.5))
        query = pieces.half(query)
        key = pieces.norm(pieces.single(self._heads(x, part, "k")), part.k_norm)
        key = pieces.half(self._rotate(key, part))
        keys = self._caches.append("key_cache", key)
        values = self._caches.append("value_cache", self._heads(x, part, "v"))
        rows = heads // groups * tokens
        query = mb.reshape(x=query, shape=[1, groups, rows, size])
        scores = mb.matmul(x=query, y=keys, transpose_y=True)
        scores = mb.reshape(x=scores, shape=[groups, heads // groups, tokens, self._context])
        weights = mb.softmax(x=mb.add(x=scores, y=self._mask(part.window)), axis=-1)
        weights = mb.reshape(x=weights, shape=[1, groups, rows, self._context])
        out = mb.reshape(x=mb.matmul(x=weights, y=values), shape=[1, heads, tokens, size])
        out = mb.transpose(x=out, perm=[0, 2, 1, 3])
        if part.gate_proj is not None:
            gates = mb.sigmoid(x=pieces.linear(x, part.gate_proj))
            out = mb.mul(x=out, y=mb.expand_dims(x=gates, axes=[-1]))
        return pieces.linear(mb.reshape(x=out, shape=[1, tokens, heads * size]), part.out_proj)

    def short_conv(self, x: Var, layer: int, part: ShortConv) -> Var:
        """The convolution is in float32, which its taps are; channels come first."""
        del layer
        pieces = self._pieces
        projected = mb.transpose(x=pieces.linear(pieces.half(x), part.in_proj), perm=[0, 2, 1])
        before, after, values = mb.split(x=projected, num_splits=3, axis=1)
        inputs = self._caches.with_past_conv(mb.mul(x=before, y=values))
        bias = {} if part.bias is None else {"bias": pieces.vector(part.bias)}
        convolved = mb.conv(
            x=pieces.single(inputs),
            weight=pieces.vector(part.taps),
            strides=[1],
            pad_type="valid",
            groups=part.hidden_size,
            **bias,
        )
        gated = mb.mul(x=after, y=pieces.half(convolved))
        return pieces.linear(mb.transpose(x=gated, perm=[0, 2, 1]), part.out_proj)

    def lm_head(self, x: Var, part: Embedding) -> Var:
        """The logits of one token `[1, vocab]`, as float32."""
        table = part.head or part.tokens
        x = mb.reshape(x=self._pieces.half(x), shape=[1, table.columns])
        parts = [
            self._pieces.product(x, self._pieces.whole(f"{table.name}.{index}"))
            for index in range(len(table_rows(table.rows)))
        ]
        return mb.cast(x=self._pieces.joined(parts, -1), dtype="fp32", name="logits")

    def _embed(self, part: Embedding, ids: Var) -> Var:
        name, rows = part.tokens.name, table_rows(part.tokens.rows)
        if len(rows) == 1:
            return self._pieces.picked(f"{name}.0", ids)
        tokens, hidden = ids.shape[1], self._architecture.hidden_size
        piece = mb.floor_div(x=ids, y=np.int32(rows[0]))
        row = mb.sub(x=ids, y=mb.mul(x=piece, y=np.int32(rows[0])))
        found = [
            self._pieces.picked(f"{name}.{index}", mb.minimum(x=row, y=np.int32(count - 1)))
            for index, count in enumerate(rows)
        ]
        stacked = mb.reshape(x=mb.concat(values=found, axis=0), shape=[len(rows) * tokens, hidden])
        steps = self._pieces.constant(f"steps.{tokens}", np.arange(tokens, dtype=np.int32))
        place = mb.add(x=mb.mul(x=piece, y=np.int32(tokens)), y=steps)
        return mb.gather(x=stacked, indices=place, axis=0)

    def _heads(self, x: Var, part: Attention, name: str) -> Var:
        """One of the projections, `[1, heads, tokens, head_dim]`."""
        linear = {"q": part.q_proj, "k": part.k_proj, "v": part.v_proj}[name]
        heads = linear.rows // part.head_dim
        out = mb.reshape(
            x=self._pieces.linear(x, linear), shape=[1, x.shape[1], heads, part.head_dim]
        )
        return mb.transpose(x=out, perm=[0, 2, 1, 3])

    def _mask(self, window: int) -> Var:
        """One for all layers that look back as far."""
        if window not in self._masks:
            self._masks[window] = self._caches.mask(window)
        return self._masks[window]

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
                mb.gather(x=self._pieces.constant(name, table), indices=self._positions, axis=0)
                for name, table in zip(names, part.rope.table(self._context), strict=True)
            )
            self._rope[part.rope] = (cos, sin)
        return self._rope[part.rope]
