"""A comparison as a table on the terminal, as Markdown, and as a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lfm_edge.bench_plot import Bar, Panel, draw
from lfm_edge.bench_result import Series
from rich.table import Table

from .comparison import Comparison, Peer, Ratio

__all__ = ["markdown", "picture", "table"]


def table(comparison: Comparison) -> Table:
    """The comparison for the terminal."""
    out = Table(title=_conditions(comparison), caption=_legend(comparison))
    out.add_column("quantity")
    for peer in comparison.peers:
        out.add_column(peer.name, justify="right")
    for row in _rows(comparison):
        out.add_row(*row)
    return out


def markdown(comparison: Comparison) -> str:
    """The comparison as a Markdown table."""
    names = [peer.name for peer in comparison.peers]
    rows = (("quantity", *names), ("---", *("---:" for _ in names)), *_rows(comparison))
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n\n".join((_conditions(comparison), "\n".join(lines), _legend(comparison))) + "\n"


def picture(comparison: Comparison, file_format: str) -> bytes:
    """The comparison as an image file."""
    peers = comparison.peers
    memory = {
        "peak": [Bar(peer.peak_rss_bytes / 1e6) for peer in peers],
        "private": [Bar(peer.private_bytes / 1e6) for peer in peers],
    }
    panels = [
        Panel("Prefill", "tokens/s", {"": [_bar(peer.prefill) for peer in peers]}),
        Panel("Decode", "tokens/s", {"": [_bar(peer.decode) for peer in peers]}),
        Panel("Memory", "MB", memory),
    ]
    title = f"{_conditions(comparison)}\nmedians, whiskers: one standard deviation"
    return draw(panels, [peer.name for peer in peers], title, file_format)


def _rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    rows: dict[str, Callable[[Peer], str]] = {
        "decode, tokens/s": lambda peer: f"{peer.decode_tokens_per_second:.1f}",
        "decode, x baseline": lambda peer: _ratio(peer.decode_ratio),
        "prefill, tokens/s": lambda peer: f"{peer.prefill_tokens_per_second:.1f}",
        "prefill, x baseline": lambda peer: _ratio(peer.prefill_ratio),
        "load, s": lambda peer: f"{peer.load_seconds:.2f}",
        "peak resident memory, MB": lambda peer: _megabytes(peer.peak_rss_bytes),
        "private memory, MB": lambda peer: _megabytes(peer.private_bytes),
        "on disk, MB": lambda peer: _megabytes(peer.size_bytes),
        "logits, correlation": lambda peer: f"{peer.logits_correlation:.3f}",
    }
    for name, cell in rows.items():
        yield name, *(cell(peer) for peer in comparison.peers)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f}"


def _ratio(ratio: Ratio | None) -> str:
    return f"{ratio.median:.2f} ({ratio.lowest:.2f}-{ratio.highest:.2f})" if ratio else "1"


def _bar(series: Series) -> Bar:
    return Bar(series.median, series.standard_deviation)


def _conditions(comparison: Comparison) -> str:
    device = comparison.device
    return (
        f"{comparison.model}, prompt of {comparison.prompt_tokens}, "
        f"{comparison.threads} threads on {device.cpu}, {device.os}"
    )


def _legend(comparison: Comparison) -> str:
    return (
        f"Speeds are medians. Baseline: {comparison.peers[-1].name}; ratios are the median "
        "(lowest-highest) of back-to-back pairs. Logits: after the same prompt."
    )
