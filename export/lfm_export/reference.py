"""The whole model in plain NumPy, a part at a time while the weights stream by.

It answers what a graph must answer, without a runtime and without the model in memory: the golden
vectors of a bundle. The same tokens run several times, side by side, multiplied as the target's
kernels do. All runs but the first have every part's input disturbed by about as much as the target
may differ: by another order of sums, or by the rounding of its activations. How far they lie apart
is measured for this very model and gives the tolerance. Where activations are rounded, a token
whose experts score nearly alike may be sent to another one; such positions are counted, and some
are let pass.
"""

from __future__ import annotations

import numpy as np
from lfm_edge.bundle import GoldenVectors
from lfm_ops import reference as ops
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

from .architecture import Attention, Embedding, Layer, Mlp, Norm, ShortConv, SparseMoe
from .errors import ExportError
from .weights import Weights

__all__ = ["GoldenReference"]

Array = NDArray[np.float32]

_TOP, _PROBES = 8, 56
_DISTURBED_RUNS = 6
_USUAL = 0.75  # of the positions, which an error is measured on
_TOLERANCE = 3.0  # times that error
_LEAST_TOLERANCE = 2e-4  # the parity that every float32 graph is held to


class GoldenReference:
    """A consumer of the walk that computes the golden vectors.

    Rows of `_hidden` are the tokens of the true run, then those of the disturbed ones.
    """

    _hidden: Array
    _head: QuantizedTensor
    _logits: Array

    def __init__(
        self,
        ids: list[int],
        vocab_size: int,
        matmul: ops.Matmul,
        kv: ops.KvType,
        disturbance: float,
        logit_rounding: float = 0.0,
    ) -> None:
        """Computes as the target does.

        Args:
            ids: the tokens.
            vocab_size: how many logits a token has.
            matmul: how the target's kernels multiply.
            kv: the type of the target's cache.
            disturbance: relative, of every part's input in all runs but the first.
            logit_rounding: relative, what the type of the target's logits may take from them.
        """
        self._ids, self._matmul, self._kv = ids, matmul, kv
        self._disturbance = np.float32(disturbance)
        self._logit_rounding = logit_rounding
        self._rng = np.random.default_rng(0)
        probes = min(_PROBES, vocab_size)
        self._probe_ids = np.sort(self._rng.choice(vocab_size, probes, replace=False))

    def golden(self) -> GoldenVectors:
        """The golden vectors, once the walk is over.

        Raises:
            ExportError: the model's logits are no numbers.
        """
        if not np.isfinite(self._logits).all():
            raise ExportError(
                "the model's own logits are not finite: its weights are too large for float32"
            )
        logits, *disturbed = self._runs(self._logits)
        top_ids = np.argsort(-logits, axis=-1, kind="stable")[:, :_TOP]
        errors = np.abs(np.stack(disturbed)[:, :, self._probe_ids] - logits[:, self._probe_ids])
        worst = errors.max(axis=-1)  # [runs, tokens]
        tolerance = max(_TOLERANCE * float(np.quantile(worst, _USUAL)), _LEAST_TOLERANCE)
        tolerance += self._logit_rounding * float(np.abs(logits).max())
        missed = int((worst > tolerance).sum(axis=-1).max())
        return GoldenVectors(
            ids=self._ids,
            top_ids=top_ids.tolist(),
            top_logits=np.take_along_axis(logits, top_ids, axis=-1).tolist(),
            probe_ids=self._probe_ids.tolist(),
            probe_logits=logits[:, self._probe_ids].tolist(),
            tolerance=tolerance,
            outliers=missed + 2 if tolerance > _LEAST_TOLERANCE else 0,
        )

    def embedding(self, part: Embedding, weights: Weights) -> None:
        """Looks the tokens up, and keeps the head for the end."""
        table = weights.matrix(part.tokens)
        rows = [table.rows(i, i + 1).dequantize() for i in self._ids]
        self._hidden = np.concatenate(rows * (1 + _DISTURBED_RUNS))
        self._head = table if part.head is None else weights.matrix(part.head)

    def operator(self, layer: Layer, weights: Weights) -> None:
        """Adds attention or convolution; all tokens come at once, so state starts empty."""
        part = layer.operator
        x = self._normed(layer.operator_norm, weights)
        if isinstance(part, Attention):
            branches = [self._attention(run, part, weights) for run in self._runs(x)]
        else:
            branches = [self._short_conv(run, part, weights) for run in self._runs(x)]
        self._hidden += np.concatenate(branches)

    def mlp(self, layer: Layer, part: Mlp, weights: Weights) -> None:
        """Adds the dense feed-forward."""
        x = self._normed(layer.ffn_norm, weights)
        self._hidden += ops.gated_mlp(x, *_matrices(part, weights), self._matmul)

    def router(self, layer: Layer, part: SparseMoe, weights: Weights) -> None:
        """Chooses each token's experts."""
        self._moe_input = self._normed(layer.ffn_norm, weights)
        self._experts, self._shares = ops.route(
            self._moe_input,
            weights.vector(part.router.weight),
            weights.optional(part.router.bias),
            part.router.num_experts_per_tok,
            part.router.norm_topk_prob,
            part.router.routed_scaling_factor,
        )

    def expert(self, index: int, part: Mlp, weights: Weights) -> None:
        """Adds one expert's share to the tokens that chose it."""
        mlp = _matrices(part, weights)
        ops.add_expert(
            self._hidden, self._moe_input, self._experts, self._shares, index, mlp, self._matmul
        )

    def end_of_experts(self) -> None:
        """Nothing is left to do: experts were added as they came."""

    def final_norm(self, part: Norm, weights: Weights) -> None:
        """Computes the logits of every position."""
        self._logits = self._matmul(self._normed(part, weights), self._head)

    def _runs(self, rows: Array) -> list[Array]:
        return np.split(rows, 1 + _DISTURBED_RUNS)

    def _normed(self, norm: Norm, weights: Weights) -> Array:
        x = ops.rms_norm(self._hidden, weights.vector(norm.weight), norm.eps)
        disturbed = x[len(self._ids) :]
        noise = self._rng.standard_normal(disturbed.shape, np.float32)
        disturbed += disturbed * noise * self._disturbance
        return x

    def _attention(self, x: Array, part: Attention, weights: Weights) -> Array:
        projections = (part.q_proj, part.k_proj, part.v_proj)
        q, k, v = (
            self._matmul(x, weights.matrix(linear)).reshape(len(x), -1, part.head_dim)
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
            part.rope.table(len(x)),
            kv=self._kv,
        )
        return self._matmul(out, weights.matrix(part.out_proj))

    def _short_conv(self, x: Array, part: ShortConv, weights: Weights) -> Array:
        out, _ = ops.gated_short_conv(
            x,
            weights.matrix(part.in_proj),
            weights.optional(part.in_proj.bias),
            weights.vector(part.taps),
            weights.optional(part.bias),
            weights.matrix(part.out_proj),
            weights.optional(part.out_proj.bias),
            np.zeros((part.hidden_size, part.kernel_size - 1), np.float32),
            self._matmul,
        )
        return out


def _matrices(
    part: Mlp, weights: Weights
) -> tuple[QuantizedTensor, QuantizedTensor, QuantizedTensor]:
    return weights.matrix(part.gate), weights.matrix(part.up), weights.matrix(part.down)
