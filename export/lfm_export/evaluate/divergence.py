"""How far one distribution over the next token lies from another, by slices of the vocabulary.

Logits `[tokens, some of the vocabulary]` come slice by slice, so that no more than a slice need be
in memory. All sums are in float64; divergence is in nats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Distribution", "Divergence"]

Array = NDArray[np.float32]
Sums = NDArray[np.float64]


class Distribution:
    """The normalizer, the likeliest token and the log-probability of the right one."""

    def __init__(self, targets: NDArray[np.int64]) -> None:
        """`targets` `[tokens]`: the tokens that did come next."""
        self._targets, tokens = targets, len(targets)
        self._most = np.full(tokens, -np.inf)
        self._sum = np.zeros(tokens)
        self._chosen = np.zeros(tokens)
        self.argmax = np.zeros(tokens, np.int64)
        """The likeliest token so far; of equal ones the first."""

    def add(self, logits: Array, first: int) -> None:
        """The logits of the tokens from `first` on."""
        rows, here = np.arange(len(logits)), logits.argmax(-1)
        best = logits[rows, here].astype(np.float64)
        self.argmax = np.where(best > self._most, first + here, self.argmax)
        most = np.maximum(self._most, best)
        exact = np.exp(logits.astype(np.float64) - most[:, None]).sum(-1)
        self._sum = self._sum * np.exp(self._most - most) + exact
        self._most = most
        inside = (self._targets >= first) & (self._targets < first + logits.shape[1])
        self._chosen[inside] = logits[inside, self._targets[inside] - first]

    @property
    def log_normalizer(self) -> Sums:
        """`log(sum(exp(logits)))`."""
        return self._most + np.log(self._sum)

    @property
    def losses(self) -> Sums:
        """Minus the log-probability of the right token, `[tokens]`."""
        return self.log_normalizer - self._chosen


@dataclass
class Divergence:
    """`KL(p || q)` and whether both have the same likeliest token, for every position.

    Attributes:
        p: the truth's distribution, which `add` feeds.
        q: the other's, which it feeds not: it may take part in several divergences.
    """

    p: Distribution
    q: Distribution

    def __post_init__(self) -> None:
        tokens = len(self.p.argmax)
        self._most, self._sum = np.full(tokens, -np.inf), np.zeros(tokens)

    def add(self, p_logits: Array, q_logits: Array) -> None:
        """The logits of both for the same slice of the vocabulary."""
        exact = p_logits.astype(np.float64)
        most = np.maximum(self._most, exact.max(-1))
        weighed = np.exp(exact - most[:, None]) * (exact - q_logits.astype(np.float64))
        self._sum = self._sum * np.exp(self._most - most) + weighed.sum(-1)
        self._most = most

    @property
    def kl(self) -> Sums:
        """`sum p (log p - log q)`, `[tokens]`, in nats."""
        # The sum of p times the logits' difference, less that of the normalizers.
        mean = self._sum * np.exp(self._most - self.p.log_normalizer)
        return np.maximum(mean - self.p.log_normalizer + self.q.log_normalizer, 0)

    @property
    def same_argmax(self) -> NDArray[np.bool_]:
        """Whether the likeliest token is the same, `[tokens]`."""
        return np.equal(self.p.argmax, self.q.argmax)
