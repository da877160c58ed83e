"""The whole model in plain NumPy, an operation at a time while the weights stream by.

It answers what a graph must answer, without a runtime and without the model in memory: the golden
vectors of a bundle. The same tokens run several times, side by side, multiplied as the target's
kernels do. All runs but the first have every part's input disturbed by about as much as the target
may differ: by another order of sums, or by the rounding of its activations. How far they lie apart
is measured for this very model and gives the tolerance. Where activations are rounded, a token
whose experts score nearly alike may be sent to another one; such positions are counted, and some
are let pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from lfm_edge.bundle import GoldenVectors
from lfm_ops import reference as ops
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

from .architecture import (
    Architecture,
    Attention,
    Embedding,
    Linear,
    Mlp,
    Norm,
    ShortConv,
    SparseMoe,
    Vector,
)
from .decoder import Operations, decode
from .errors import ExportError
from .weights import WeightStream

__all__ = ["Numerics", "Reference", "Tensors", "golden_vectors"]

Array = NDArray[np.float32]

_TOP, _PROBES = 8, 56
_DISTURBED_RUNS = 6
_USUAL = 0.75  # of the positions, which an error is measured on
_TOLERANCE = 3.0  # times that error
_LEAST_TOLERANCE = 2e-4  # the parity that every float32 graph is held to


class Tensors(Protocol):
    """Who has a model's weights: `WeightStream`, or what stands for a part of it."""

    def matrix(self, linear: Linear) -> QuantizedTensor:
        """A linear layer's weight."""
        ...

    def vector(self, vector: Vector) -> Array:
        """A small tensor in float32."""
        ...

    def optional(self, vector: Vector | None) -> Array | None:
        """The same for one that the model may not have."""
        ...


@dataclass(frozen=True)
class Numerics:
    """How a target computes, as far as the reference imitates it."""

    matmul: ops.Matmul
    """How its kernels multiply."""
    kv: ops.KvType
    """The type of its cache."""
    disturbance: float
    """Relative, of every part's input in all runs but the first."""
    logit_rounding: float = 0.0
    """Relative, what the type of its logits may take from them."""


def golden_vectors(
    architecture: Architecture, weights: WeightStream, ids: list[int], numerics: Numerics
) -> GoldenVectors:
    """Takes `weights` from first to last, and computes the golden vectors of `ids`.

    Raises:
        ExportError: the model's logits are no numbers.
        CheckpointError: a tensor cannot be read, or holds no finite numbers.
    """
    rng = np.random.default_rng(0)
    vocab = architecture.vocab_size
    probe_ids = np.sort(rng.choice(vocab, min(_PROBES, vocab), replace=False))
    reference = Reference(weights, ids, numerics, _DISTURBED_RUNS, rng)
    with np.errstate(over="ignore", invalid="ignore"):  # which the next line finds
        runs = reference.runs(decode(architecture, reference))
    if not np.isfinite(runs).all():
        raise ExportError(
            "the model's own logits are not finite: its weights are too large for float32"
        )
    logits, *disturbed = runs
    top_ids = np.argsort(-logits, axis=-1, kind="stable")[:, :_TOP]
    errors = np.abs(np.stack(disturbed)[:, :, probe_ids] - logits[:, probe_ids])
    worst = errors.max(axis=-1)  # [runs, tokens]
    tolerance = max(_TOLERANCE * float(np.quantile(worst, _USUAL)), _LEAST_TOLERANCE)
    tolerance += numerics.logit_rounding * float(np.abs(logits).max())
    missed = int((worst > tolerance).sum(axis=-1).max())
    return GoldenVectors(
        ids=ids,
        top_ids=top_ids.tolist(),
        top_logits=np.take_along_axis(logits, top_ids, axis=-1).tolist(),
        probe_ids=probe_ids.tolist(),
        probe_logits=logits[:, probe_ids].tolist(),
        tolerance=tolerance,
        outliers=missed + 2 if missed or tolerance > _LEAST_TOLERANCE else 0,
    )


class Reference(Operations[Array, Array]):
    """Every operation in NumPy, on a sequence that is read at once: its state starts empty.

    Rows of the stream are the tokens of the true run, then those of the disturbed ones.
    """

    _head: QuantizedTensor

    def __init__(
        self,
        weights: Tensors,
        ids: list[int],
        numerics: Numerics,
        disturbed_runs: int,
        rng: np.random.Generator,
    ) -> None:
        self._weights, self._ids, self._numerics = weights, ids, numerics
        self._num_runs, self._rng = 1 + disturbed_runs, rng
        self._matmul = numerics.matmul

    def runs(self, rows: Array) -> list[Array]:
        """The rows of each run."""
        return np.split(rows, self._num_runs)

    def embed(self, part: Embedding) -> Array:
        """Looks the tokens up, and keeps the head for the end."""
        table = self._weights.matrix(part.tokens)
        self._head = table if part.head is None else self._weights.matrix(part.head)
        rows = [table.rows(i, i + 1).dequantize() for i in self._ids]
        return np.concatenate(rows * self._num_runs)

    def norm(self, stream: Array, part: Norm) -> Array:
        """The norm, disturbed in all runs but the first."""
        x = ops.rms_norm(stream, self._weights.vector(part.weight), part.eps)
        disturbed = x[len(self._ids) :]
        noise = self._rng.standard_normal(disturbed.shape, np.float32)
        disturbed += disturbed * noise * np.float32(self._numerics.disturbance)
        return x

    def attention(self, x: Array, layer: int, part: Attention) -> Array:
        """Each run apart, from an empty cache."""
        del layer
        return np.concatenate([self._attention(run, part) for run in self.runs(x)])

    def short_conv(self, x: Array, layer: int, part: ShortConv) -> Array:
        """Each run apart, from an empty state."""
        del layer
        return np.concatenate([self._short_conv(run, part) for run in self.runs(x)])

    def mlp(self, x: Array, layer: int, part: Mlp) -> Array:
        """Gate, up and down."""
        del layer
        return ops.gated_mlp(x, *self._matrices(part), self._matmul)

    def sparse_moe(self, x: Array, layer: int, part: SparseMoe) -> Array:
        """The experts' shares, added as the experts come."""
        del layer
        router = part.router
        experts, shares = ops.route(
            x,
            self._weights.vector(router.weight),
            self._weights.optional(router.bias),
            router.num_experts_per_tok,
            router.norm_topk_prob,
            router.routed_scaling_factor,
        )
        out = np.zeros_like(x)
        for index, expert in enumerate(part.experts):
            ops.add_expert(out, x, experts, shares, index, self._matrices(expert), self._matmul)
        return out

    def norm_branch(self, branch: Array, part: Norm) -> Array:
        """The norm; the parts before it were disturbed already."""
        return ops.rms_norm(branch, self._weights.vector(part.weight), part.eps)

    def add(self, stream: Array, branch: Array) -> Array:
        """The sum, in place."""
        stream += branch
        return stream

    def last_token(self, stream: Array) -> Array:
        """All tokens: golden vectors have the logits of each."""
        return stream

    def lm_head(self, x: Array, part: Embedding) -> Array:
        """The logits of every position."""
        del part
        return self._matmul(x, self._head)

    def _attention(self, x: Array, part: Attention) -> Array:
        weights = self._weights
        q, k, v = (
            self._linear(x, linear).reshape(len(x), -1, part.head_dim)
            for linear in (part.q_proj, part.k_proj, part.v_proj)
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
            part.window,
            kv=self._numerics.kv,
        )
        if part.gate_proj is not None:
            gates = ops.sigmoid(self._linear(x, part.gate_proj))
            out = (out.reshape(q.shape) * gates[:, :, None]).reshape(out.shape)
        return self._linear(out, part.out_proj)

    def _linear(self, x: Array, linear: Linear) -> Array:
        out = self._matmul(x, self._weights.matrix(linear))
        bias = self._weights.optional(linear.bias)
        return out if bias is None else out + bias

    def _short_conv(self, x: Array, part: ShortConv) -> Array:
        weights = self._weights
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

    def _matrices(self, part: Mlp) -> tuple[QuantizedTensor, QuantizedTensor, QuantizedTensor]:
        gate, up, down = (self._weights.matrix(m) for m in (part.gate, part.up, part.down))
        return gate, up, down
