"""What a comparison holds, and how pairs of timings become speeds and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import msgspec
from lfm_edge.bench_result import Device, Series

__all__ = ["Comparison", "Entry", "Limits", "Ratio", "Versus"]


class Ratio(msgspec.Struct, frozen=True):
    """Quotients of what was measured back to back, one sample for each time."""

    median: float
    lowest: float
    highest: float
    samples: list[float]

    @classmethod
    def of(cls, pairs: Iterable[tuple[float, float]]) -> Ratio:
        """Sums up pairs, the divisor second."""
        samples = [value / divisor for value, divisor in pairs]
        return cls(statistics.median(samples), min(samples), max(samples), samples)


class Versus(msgspec.Struct, frozen=True, kw_only=True):
    """One of ours against one peer: how many times as fast."""

    peer: str
    decode: Ratio
    prefill: Ratio
    logits_correlation: float
    """Of the prompt's last logits: near 1, since the weights are the same before quantization."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One engine with one export."""

    name: str
    about: str
    """Versions, and what of the CPU the engine says it uses."""
    decode: Series
    """Tokens per second."""
    prefill: Series
    """Tokens per second."""
    decode_of_bandwidth: Ratio
    """Weight bytes that a token needs at 4.5 bits a weight, per second, of `Limits.read`."""
    decode_of_kernels: Ratio | None
    """The same of `Limits.kernels`; None for all but the bundle that these kernels run."""
    prefill_of_peak: Ratio
    """Multiply-adds that the prompt needs, attention included, per second, of `Limits.multiply`."""
    versus: list[Versus]
    """Empty for a peer."""
    load_seconds: float
    peak_rss_bytes: int
    private_bytes: int
    """What the process alone wrote and nothing can drop."""
    size_bytes: int
    """Of the exported folder."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine allowed on as many threads, measured within the pairs."""

    read: Series
    """Bytes per second that a bare loop reads from memory, in large pages."""
    kernels: Series
    """Bytes per second of our decode kernels alone over the mapped weights that a token needs."""
    multiply: Series
    """8-bit multiply-adds per second in registers."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What `benchmarks/peers.py --json` writes; the peers come last."""

    peers_format: int = 3
    model: str
    threads: int
    depth: int
    """Tokens that stand before everything that is timed."""
    prompt_tokens: int
    decoded_tokens: int
    decode_bytes: float
    """Of weights, for a token."""
    prefill_multiply_adds: float
    """For the prompt."""
    device: Device
    limits: Limits
    entries: list[Entry]
