"""Plain NumPy of the library's sampler, for its tests and for whoever ports it.

Every step is one of docs/sampling.md, in its order, and gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .sampling import NONE_LEFT, NOT_FINITE, SamplerOptions

__all__ = ["ReferenceSampler", "candidates", "exp_of_negative", "uniform"]

_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_MASK = (1 << 64) - 1


class ReferenceSampler:
    """`lfm_ops.sampling.Sampler`, step by step."""

    def __init__(self, options: SamplerOptions, vocab_size: int) -> None:
        self._options = options
        self._seen = np.zeros(vocab_size, bool)
        self._counts = np.zeros(vocab_size, np.float32)
        self._biases = np.zeros(vocab_size, np.float32)
        self._draws = 0

    def bias(self, ids: Sequence[int], biases: Sequence[float]) -> None:
        """Adds to the logits of tokens; minus infinity bans them."""
        for token, bias in zip(ids, biases, strict=True):
            if 0 <= token < len(self._biases):
                self._biases[token] += np.float32(bias)

    def observe(self, ids: Sequence[int]) -> None:
        """Tells which tokens the prompt has."""
        self._seen[[token for token in ids if 0 <= token < len(self._seen)]] = True

    def choose(self, logits: NDArray[np.float32], allowed: NDArray[np.uint32] | None = None) -> int:
        """The next token, or `NOT_FINITE` or `NONE_LEFT`."""
        if not np.isfinite(logits.max()):
            return NOT_FINITE
        scores = self._scores(logits)
        if allowed is not None:
            bits = np.unpackbits(allowed.view(np.uint8), bitorder="little")[: len(scores)]
            scores[bits == 0] = -np.inf
        if scores.max() == -np.inf:
            return NONE_LEFT
        if self._options.temperature == 0:
            return int(scores.argmax())
        ids, weights = candidates(scores, self._options)
        sums = weights.cumsum()
        above = np.flatnonzero(sums > uniform(self._options.seed, self._draws) * sums[-1])
        place = above[0] if len(above) else np.flatnonzero(weights)[-1]
        return int(ids[place])

    def accept(self, token: int) -> None:
        """Makes `token` the next one of the answer."""
        self._draws += 1
        if 0 <= token < len(self._seen):
            self._seen[token] = True
            self._counts[token] += 1

    def _scores(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        options = self._options
        penalty = np.float32(options.repetition_penalty)
        with np.errstate(over="ignore"):
            higher = np.minimum(logits / penalty, np.finfo(np.float32).max)
            penalized = np.where(logits < 0, logits * penalty, higher)
            scores = np.where(self._seen, penalized, logits)
            lessened = scores - np.float32(options.frequency_penalty) * self._counts
            lessened = lessened - np.float32(options.presence_penalty)
            scores = np.where(self._counts > 0, lessened, scores)
            return scores + self._biases


def candidates(
    scores: NDArray[np.float32], options: SamplerOptions
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The tokens that top-k, temperature, top-p and min-p leave of `scores` [vocab].

    Returns:
        Their ids, rising, and their weights: probabilities up to a common factor.
    """
    ids = np.arange(len(scores))
    if 0 < options.top_k < len(scores):
        # Tokens that tie with the k-th stay, as in transformers.
        ids = np.flatnonzero(scores >= np.sort(scores)[-options.top_k])
    kept = scores[ids].astype(np.float64)
    with np.errstate(over="ignore"):
        weights = exp_of_negative((kept - kept.max()) / options.temperature)
    if options.top_p < 1:
        order = np.argsort(-kept, kind="stable")
        sums = weights[order].cumsum()
        before = np.concatenate([[0.0], sums[:-1]])
        nucleus = np.sort(order[before < options.top_p * weights.cumsum()[-1]])
        ids, weights = ids[nucleus], weights[nucleus]
    if options.min_p > 0:
        likely = weights >= options.min_p  # the largest weight is 1
        ids, weights = ids[likely], weights[likely]
    return ids, weights


def exp_of_negative(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exp for x <= 0; 0 below -700."""
    clamped = np.maximum(x, -700.0)
    n = np.rint(clamped * _LOG2_E)
    r = (clamped - n * _LN2_HIGH) - n * _LN2_LOW
    p = np.full_like(r, 1 / math.factorial(13))
    for k in range(12, -1, -1):
        p = p * r + 1 / math.factorial(k)
    return np.where(x < -700.0, 0.0, np.ldexp(p, n.astype(np.int32)))


def uniform(seed: int, index: int) -> float:
    """Draw `index` of a seed, in [0, 1)."""
    return (_mix64(_mix64(seed) + (index + 1) * 0x9E3779B97F4A7C15) >> 11) * 2.0**-53


def _mix64(z: int) -> int:
    z &= _MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
    return z ^ (z >> 31)
