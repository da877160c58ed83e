"""From logits to a token: repetition penalty, temperature, top-k, top-p and min-p.

The filters, their order and their edge cases are those of transformers' logits processors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BundleError, InvalidRequestError

__all__ = ["Sampler", "SamplingOptions"]

_PARTIAL_SORT = 1024
_BLOCK = 64


@dataclass(frozen=True)
class SamplingOptions:
    """How the next token is drawn.

    Raises:
        InvalidRequestError: a value is out of its range; the message names the option.
    """

    temperature: float = 0.0
    """Divides the logits; 0 always takes the most likely token."""
    top_k: int = 0
    """Keeps the k most likely tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keeps the fewest tokens whose probabilities add up to p; 1 keeps all."""
    min_p: float = 0.0
    """Keeps tokens at least this likely, as a fraction of the most likely one's probability."""
    repetition_penalty: float = 1.0
    """Makes tokens of the prompt and the answer less likely (above 1) or more likely (below)."""
    seed: int | None = None
    """The same seed gives the same tokens; None draws a fresh one."""

    def __post_init__(self) -> None:
        real, whole = (Real,), (int, np.integer)
        _check("temperature", self.temperature, real, 0, 1e6, "a number from 0 to 1e6")
        _check("top_k", self.top_k, whole, 0, math.inf, "an integer of 0 (off) or more")
        _check("top_p", self.top_p, real, 5e-324, 1, "a number above 0 and up to 1")
        _check("min_p", self.min_p, real, 0, 1, "a number from 0 to 1")
        _check(
            "repetition_penalty",
            self.repetition_penalty,
            real,
            1e-6,
            1e6,
            "a number above 0, from 1e-6 to 1e6",
        )
        if self.seed is not None:
            _check("seed", self.seed, whole, 0, math.inf, "an integer of 0 or more")


class Sampler:
    """Draws the tokens of one answer.

    Args:
        options: how to draw.
        vocab_size: how many logits a token has.
    """

    def __init__(self, options: SamplingOptions, vocab_size: int) -> None:
        self.options = options
        self._seen = np.zeros(vocab_size, bool)
        self._random = np.random.default_rng(options.seed)

    def observe(self, ids: Sequence[int]) -> None:
        """Tells which tokens the text so far has, for the repetition penalty."""
        self._seen[[token for token in ids if token < len(self._seen)]] = True

    def sample(self, logits: NDArray[np.float32]) -> int:
        """The next token for `logits` [vocab]; it counts as observed from then on.

        Raises:
            BundleError: the logits hold NaN or nothing finite.
        """
        if not np.isfinite(logits.max()):
            raise BundleError(
                "the graph gave logits that are not finite numbers; verify the bundle"
            )
        scores = self._penalize(logits)
        if self.options.temperature == 0:
            token = int(scores.argmax())
        else:
            ids, probabilities = candidates(scores, self.options)
            total = probabilities.cumsum()
            drawn = np.searchsorted(total, self._random.random() * total[-1], side="right")
            token = int(ids[min(drawn, len(ids) - 1)])
        self._seen[token] = True
        return token

    def _penalize(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        penalty = self.options.repetition_penalty
        if penalty == 1:
            return logits
        scores, seen = logits.copy(), np.flatnonzero(self._seen)
        kept = scores[seen]
        scores[seen] = np.where(kept < 0, kept * penalty, kept / penalty)
        return scores


def candidates(
    scores: NDArray[np.float32], options: SamplingOptions
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The tokens that temperature, top-k, top-p and min-p leave of `scores` [vocab].

    Returns:
        Their ids, and their weights: probabilities up to a common factor.
    """
    ids = np.arange(len(scores))
    if 0 < options.top_k < len(scores):
        # Tokens that tie with the k-th stay, as in transformers.
        ids = np.flatnonzero(scores >= _kth_largest(scores, options.top_k))
    kept = scores[ids].astype(np.float64)
    # Below the maximum, no temperature overflows.
    weights = np.exp((kept - kept.max()) / options.temperature)
    if options.top_p < 1:
        nucleus = _nucleus(weights, options.top_p)
        ids, weights = ids[nucleus], weights[nucleus]
    if options.min_p > 0:
        likely = weights >= options.min_p  # the largest weight is 1
        ids, weights = ids[likely], weights[likely]
    return ids, weights


def _nucleus(weights: NDArray[np.float64], top_p: float) -> NDArray[np.intp]:
    """The places of the fewest, largest weights that hold `top_p` of the sum."""
    wanted = top_p * weights.sum()
    places = np.arange(len(weights))
    if len(weights) > _PARTIAL_SORT:
        largest = np.flatnonzero(weights >= _kth_largest(weights, _PARTIAL_SORT))
        if weights[largest].sum() >= wanted:
            places = largest
    places = places[np.argsort(-weights[places], kind="stable")]
    falling = weights[places]
    return places[: np.count_nonzero(falling.cumsum() - falling < wanted)]


def _kth_largest(values: NDArray[Any], k: int) -> Any:
    """The k-th largest of at least k values.

    The k-th largest maximum of all blocks is no larger than that, and most values are below it.
    """
    maxima = values[: len(values) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).max(1)
    if len(maxima) > k:
        values = values[values >= np.partition(maxima, -k)[-k]]
    return np.partition(values, -k)[-k]


def _check(
    name: str, value: object, kinds: tuple[type, ...], low: float, high: float, expected: str
) -> None:
    right_kind = isinstance(value, kinds) and not isinstance(value, bool)
    # NaN fails both comparisons.
    if not (right_kind and low <= value <= high):  # type: ignore[operator]
        raise InvalidRequestError(f"{name}: got {value!r}, expected {expected}")
