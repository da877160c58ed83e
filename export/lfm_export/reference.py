"""The whole model in plain NumPy, a part at a time while the weights stream by.

It answers what a graph must answer, without a runtime and without the model in memory: the golden
vectors of a bundle. Two passes run side by side over the same weights. Both multiply as the
target's kernels do; the second disturbs every input by a millionth, which is what another order of
sums does. How far they lie apart is measured for this very model and gives the tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from lfm_edge.bundle import GoldenVectors
from lfm_ops import reference as ops
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

from .architecture import Attention, Embedding, Layer, Mlp, Norm, ShortConv, SparseMoe
from .weights import Weights

__all__ = ["GoldenReference"]

Array = NDArray[np.float32]

_TOP, _PROBES = 8, 56
_TOLERANCE = 3.0  # times the measured difference, which is one sample of many
_DISTURBANCE = 1e-6  # relative
_LEAST_TOLERANCE = 2e-4  # the parity that every float32 graph is held to


@dataclass
class _Pass:
    """One forward pass: how weights meet activations, and where it stands."""

    matmul: ops.Matmul
    hidden: Array = field(init=False)
    normed: Array = field(init=False)
    chosen: NDArray[np.int64] = field(init=False)
    shares: Array = field(init=False)
    logits: Array = field(init=False)


class GoldenReference:
    """A consumer of the walk that computes the golden vectors."""

    def __init__(self, ids: list[int], vocab_size: int, matmul: ops.Matmul) -> None:
        """`matmul` is how the target's kernels multiply, for instance `ops.matmul_int8`."""
        self._ids = ids
        rng, probes = np.random.default_rng(0), min(_PROBES, vocab_size)
        self._probe_ids = np.sort(rng.choice(vocab_size, probes, replace=False))
        self._true, self._disturbed = _Pass(matmul), _Pass(_disturb(matmul))
        self._head: QuantizedTensor | None = None

    def golden(self) -> GoldenVectors:
        """The golden vectors, once the walk is over."""
        logits = self._true.logits
        top_ids = np.argsort(-logits, axis=-1, kind="stable")[:, :_TOP]
        difference = np.abs(logits - self._disturbed.logits)
        measured = max(
            float(np.take_along_axis(difference, top_ids, axis=-1).max()),
            float(difference[:, self._probe_ids].max()),
        )
        return GoldenVectors(
            ids=self._ids,
            top_ids=top_ids.tolist(),
            top_logits=np.take_along_axis(logits, top_ids, axis=-1).tolist(),
            probe_ids=self._probe_ids.tolist(),
            probe_logits=logits[:, self._probe_ids].tolist(),
            tolerance=max(_TOLERANCE * measured, _LEAST_TOLERANCE),
        )

    def embedding(self, part: Embedding, weights: Weights) -> None:
        """Looks the tokens up, and keeps the head for the end."""
        table = weights.matrix(part.tokens)
        rows = np.concatenate([table.rows(i, i + 1).dequantize() for i in self._ids])
        for forward in self._passes():
            forward.hidden = rows
        self._head = table if part.head is None else weights.matrix(part.head)

    def operator(self, layer: Layer, weights: Weights) -> None:
        """Adds attention or convolution; all tokens come at once, so state starts empty."""
        part = layer.operator
        for forward in self._passes():
            x = _norm(forward.hidden, layer.operator_norm, weights)
            if isinstance(part, Attention):
                branch = _attention(x, part, weights, forward.matmul)
            else:
                branch = _short_conv(x, part, weights, forward.matmul)
            forward.hidden = forward.hidden + branch

    def mlp(self, layer: Layer, part: Mlp, weights: Weights) -> None:
        """Adds the dense feed-forward."""
        for forward in self._passes():
            x = _norm(forward.hidden, layer.ffn_norm, weights)
            forward.hidden = forward.hidden + _mlp(x, part, weights, forward.matmul)

    def router(self, layer: Layer, part: SparseMoe, weights: Weights) -> None:
        """Chooses each token's experts."""
        router = part.router
        for forward in self._passes():
            forward.normed = _norm(forward.hidden, layer.ffn_norm, weights)
            forward.hidden = forward.hidden.copy()
            forward.chosen, forward.shares = ops.route(
                forward.normed,
                weights.vector(router.weight),
                weights.optional(router.bias),
                router.num_experts_per_tok,
                router.norm_topk_prob,
                router.routed_scaling_factor,
            )

    def expert(self, index: int, part: Mlp, weights: Weights) -> None:
        """Adds one expert's share to the tokens that chose it."""
        for forward in self._passes():
            tokens, slots = np.nonzero(forward.chosen == index)
            if len(tokens):
                out = _mlp(forward.normed[tokens], part, weights, forward.matmul)
                forward.hidden[tokens] += forward.shares[tokens, slots, None] * out

    def end_of_experts(self) -> None:
        """Nothing is left to do: experts were added as they came."""

    def final_norm(self, part: Norm, weights: Weights) -> None:
        """Computes the logits of every position."""
        assert self._head is not None
        for forward in self._passes():
            forward.logits = forward.matmul(_norm(forward.hidden, part, weights), self._head)

    def _passes(self) -> tuple[_Pass, _Pass]:
        return self._true, self._disturbed


def _disturb(matmul: ops.Matmul) -> ops.Matmul:
    rng = np.random.default_rng(0)

    def disturbed(x: Array, weight: QuantizedTensor) -> Array:
        noise = rng.standard_normal(x.shape, np.float32) * np.float32(_DISTURBANCE)
        return matmul(x + x * noise, weight)

    return disturbed


def _norm(x: Array, norm: Norm, weights: Weights) -> Array:
    return ops.rms_norm(x, weights.vector(norm.weight), norm.eps)


def _mlp(x: Array, part: Mlp, weights: Weights, matmul: ops.Matmul) -> Array:
    gate, up, down = (weights.matrix(linear) for linear in (part.gate, part.up, part.down))
    return ops.gated_mlp(x, gate, up, down, matmul)


def _attention(x: Array, part: Attention, weights: Weights, matmul: ops.Matmul) -> Array:
    projections = (part.q_proj, part.k_proj, part.v_proj)
    q, k, v = (
        matmul(x, weights.matrix(linear)).reshape(len(x), -1, part.head_dim)
        for linear in projections
    )
    empty = np.empty((part.num_kv_heads, 0, part.head_dim), np.float32)
    out, _, _ = ops.cached_attention(
        q,
        k,
        v,
        empty,
        empty,
        weights.vector(part.q_norm.weight),
        weights.vector(part.k_norm.weight),
        part.q_norm.eps,
        part.rope_theta,
    )
    return matmul(out, weights.matrix(part.out_proj))


def _short_conv(x: Array, part: ShortConv, weights: Weights, matmul: ops.Matmul) -> Array:
    out, _ = ops.gated_short_conv(
        x,
        weights.matrix(part.in_proj),
        weights.optional(part.in_proj.bias),
        weights.vector(part.taps),
        weights.optional(part.bias),
        weights.matrix(part.out_proj),
        weights.optional(part.out_proj.bias),
        np.zeros((part.hidden_size, part.kernel_size - 1), np.float32),
        matmul,
    )
    return out
