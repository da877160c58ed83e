"""What the model itself thought of an answer's tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["TokenLogprob", "logprobs"]


@dataclass(frozen=True)
class TokenLogprob:
    """A token and the natural logarithm of its probability.

    That is the log softmax of the logits as the graph gives them: no temperature, filter, penalty,
    bias or constraint changes it. A token that one of these forced or drew may be an unlikely one.
    """

    token: int
    """Its id."""
    bytes: bytes
    """What it stands for; may be a part of a character."""
    logprob: float
    """0 at most; `exp` of it is the probability."""
    top: tuple[TokenLogprob, ...] = ()
    """The most likely tokens in its place, falling; of equal ones the smaller id comes first."""


def logprobs(
    logits: NDArray[np.float32], token: int, top: int = 0
) -> tuple[float, list[tuple[int, float]]]:
    """What the model itself thinks, before any option: natural logarithms of probabilities.

    Args:
        logits: [vocab].
        token: the drawn one.
        top: how many of the most likely tokens to list.

    Returns:
        The token's, and those of the `top` most likely tokens, falling, with their ids.
    """
    largest = logits.max()
    shift = float(largest) + math.log(np.exp(logits - largest).sum(dtype=np.float64))
    ids = np.arange(0)
    if top > 0:
        # Of those that tie with the last, the smaller ids.
        least = np.partition(logits, -top)[-top] if top < len(logits) else -np.inf
        likely = np.flatnonzero(logits >= least)
        ids = likely[np.lexsort((likely, -logits[likely]))][:top]
    return float(logits[token]) - shift, [(int(i), float(logits[i]) - shift) for i in ids]
