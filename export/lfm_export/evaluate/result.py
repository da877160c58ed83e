"""What `lfm-edge eval --json` writes."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["EvaluateResult", "Figures", "Positions", "Scores", "figures_of", "positions_of"]

Count = Annotated[int, msgspec.Meta(ge=1)]


class Figures(msgspec.Struct, frozen=True):
    """How one way of computing reads the text; the last three if it is compared."""

    perplexity: float | None
    kl_mean: float | None = None
    """Mean divergence from what it is compared with, in nats a token."""
    kl_p99: float | None = None
    """What 99 of 100 positions stay below."""
    top1: float | None = None
    """Share of positions with the same likeliest token."""


class Positions(msgspec.Struct, frozen=True):
    """The figures of some positions within a sequence."""

    first: int
    last: int
    tokens: Count
    figures: Figures


class EvaluateResult(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a bundle on a text, over every token but the first of each sequence."""

    eval_format: Literal[1] = 1
    perplexity: float | None
    """Of the bundle: as it runs here, or where it does not, of its integers."""
    kl_mean: float | None
    """From the source, in the mean; None without a source."""
    kl_p99: float | None
    top1: float | None
    tokens: Count
    """Predicted ones."""
    sequences: Count
    window: Count
    bundle: str
    target: str
    quantization: str
    head: str
    size_bytes: Count
    source: str | None
    source_perplexity: float | None
    integers: Figures | None
    """The bundle's weights in exact arithmetic, against the source: what quantization loses."""
    runtime: Figures | None
    """The bundle as it runs here, against the source."""
    kernels: Figures | None
    """The bundle as it runs here, against its own weights in exact arithmetic: what the kernels
    lose by rounding activations and the cache."""
    by_position: list[Positions]


class Scores(msgspec.Struct, frozen=True):
    """Of one way of computing at every predicted position: NaN where nothing was compared."""

    losses: NDArray[np.float64]
    kl: NDArray[np.float64]
    same: NDArray[np.float64]


def figures_of(scores: Scores, some: NDArray[np.bool_] | slice = slice(None)) -> Figures:
    """The figures of some positions."""
    losses, kl, same = scores.losses[some], scores.kl[some], scores.same[some]
    if not len(losses):
        return Figures(None)
    perplexity = None if np.isnan(losses).any() else float(np.exp(losses.mean()))
    if np.isnan(kl).any():
        return Figures(perplexity)
    return Figures(perplexity, float(kl.mean()), float(np.quantile(kl, 0.99)), float(same.mean()))


def positions_of(scores: Scores, positions: NDArray[np.int64]) -> list[Positions]:
    """The figures of positions 1, 2 to 3, 4 to 7 and so on; `positions` has that of each score."""
    found, first = [], 1
    while first <= positions.max(initial=0):
        last = 2 * first - 1
        some = (positions >= first) & (positions <= last)
        if some.any():
            found.append(Positions(first, last, int(some.sum()), figures_of(scores, some)))
        first = last + 1
    return found
