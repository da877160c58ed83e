"""What a comparison holds, and how pairs of timings become speeds and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec
from lfm_edge.bench_result import Device, Series

__all__ = ["Comparison", "Peer", "Ratio"]


class Ratio(msgspec.Struct, frozen=True):
    """How many times as fast as the baseline: each sample is one back-to-back pair."""

    median: float
    lowest: float
    highest: float
    samples: list[float]

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> Ratio:
        """Sums up pairs of speeds, the baseline's second."""
        samples = [speed / baseline for speed, baseline in pairs]
        return cls(statistics.median(samples), min(samples), max(samples), samples)


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """One engine with one export; ratios are None for the baseline itself."""

    name: str
    decode_tokens_per_second: float
    prefill_tokens_per_second: float
    decode_ratio: Ratio | None
    prefill_ratio: Ratio | None
    decode: Series
    prefill: Series
    logits_correlation: float
    """Of the prompt's last logits with the baseline's: near 1, since the weights are the same."""
    load_seconds: float
    peak_rss_bytes: int
    private_bytes: int
    """What the process alone wrote and nothing can drop."""
    size_bytes: int
    """Of the exported folder."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What `benchmarks/peers.py --json` writes; the baseline comes last."""

    peers_format: int = 1
    model: str
    threads: int
    prompt_tokens: int
    decoded_tokens: int
    device: Device
    peers: list[Peer]
