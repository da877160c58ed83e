"""A comparison as a table on the terminal, as Markdown, and as a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lfm_edge.bench_plot import Bar, Panel, draw
from lfm_edge.bench_result import Series
from rich.table import Table

from .comparison import Comparison, Entry, Ratio, Versus

__all__ = ["markdown", "picture", "table"]


def table(comparison: Comparison) -> Table:
    """The comparison for the terminal."""
    out = Table(title=_conditions(comparison), caption=_legend(comparison))
    out.add_column("quantity")
    for entry in comparison.entries:
        out.add_column(entry.name, justify="right")
    for row in _rows(comparison):
        out.add_row(*row)
    return out


def markdown(comparison: Comparison) -> str:
    """The comparison as a Markdown table."""
    names = [entry.name for entry in comparison.entries]
    rows = (("quantity", *names), ("---", *("---:" for _ in names)), *_rows(comparison))
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n\n".join((_conditions(comparison), "\n".join(lines), _legend(comparison))) + "\n"


def picture(comparison: Comparison, file_format: str) -> bytes:
    """The comparison as an image file."""
    entries = comparison.entries
    limits = {
        "decode of\nbandwidth": [_percent_bar(entry.decode_of_bandwidth) for entry in entries],
        "prefill of\nint8 peak": [_percent_bar(entry.prefill_of_peak) for entry in entries],
    }
    memory = {
        "peak": [Bar(entry.peak_rss_bytes / 1e6) for entry in entries],
        "private": [Bar(entry.private_bytes / 1e6) for entry in entries],
    }
    panels = [
        Panel("Prefill", "tokens/s", {"": [_bar(entry.prefill) for entry in entries]}),
        Panel("Decode", "tokens/s", {"": [_bar(entry.decode) for entry in entries]}),
        Panel("Of the machine's limit", "%", limits),
        Panel("Memory", "MB", memory),
    ]
    title = f"{_conditions(comparison)}\nmedians, whiskers: one standard deviation"
    return draw(panels, [entry.name for entry in entries], title, file_format)


def _rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """The quantity, then a cell for every entry."""
    peers = [versus.peer for versus in comparison.entries[0].versus]

    def row(name: str, cell: Callable[[Entry], str]) -> tuple[str, ...]:
        return (name, *map(cell, comparison.entries))

    def against(name: str, peer: str, quantity: Callable[[Versus], str]) -> tuple[str, ...]:
        found = [
            [quantity(versus) for versus in entry.versus if versus.peer == peer]
            for entry in comparison.entries
        ]
        return (f"{name} {peer}", *("".join(cells) for cells in found))

    yield row("decode, tokens/s", lambda entry: f"{entry.decode.median:.1f}")
    for peer in peers:
        yield against("decode, x", peer, lambda versus: _ratio(versus.decode))
    yield row("decode, of bandwidth", lambda entry: _percent(entry.decode_of_bandwidth))
    yield row("decode, of kernels", lambda entry: _percent(entry.decode_of_kernels))
    yield row("prefill, tokens/s", lambda entry: f"{entry.prefill.median:.1f}")
    for peer in peers:
        yield against("prefill, x", peer, lambda versus: _ratio(versus.prefill))
    yield row("prefill, of int8 peak", lambda entry: _percent(entry.prefill_of_peak))
    yield row("load, s", lambda entry: f"{entry.load_seconds:.2f}")
    yield row("peak resident memory, MB", lambda entry: _megabytes(entry.peak_rss_bytes))
    yield row("private memory, MB", lambda entry: _megabytes(entry.private_bytes))
    yield row("on disk, MB", lambda entry: _megabytes(entry.size_bytes))
    for peer in peers:
        yield against("logits, correlation with", peer, lambda v: f"{v.logits_correlation:.3f}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f}"


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.median:.2f} ({ratio.lowest:.2f}-{ratio.highest:.2f})"


def _percent(ratio: Ratio | None) -> str:
    return f"{ratio.median * 100:.0f} %" if ratio else ""


def _percent_bar(ratio: Ratio) -> Bar:
    return Bar(ratio.median * 100)


def _bar(series: Series) -> Bar:
    return Bar(series.median, series.standard_deviation)


def _conditions(comparison: Comparison) -> str:
    device = comparison.device
    return (
        f"{comparison.model}, prompt of {comparison.prompt_tokens} at depth {comparison.depth:,}, "
        f"{comparison.threads} threads on {device.cpu}, {device.os}"
    )


def _legend(comparison: Comparison) -> str:
    limits = comparison.limits
    return (
        "Medians; ratios (lowest-highest) are of back-to-back pairs. Between the pairs, a bare "
        f"loop read {limits.read.median / 1e9:.1f} GB/s, our kernels alone "
        f"{limits.kernels.median / 1e9:.1f} GB/s of weights; int8 peak "
        f"{limits.multiply.median / 1e9:.0f} G multiply-adds/s. A token needs "
        f"{comparison.decode_bytes / 1e6:.0f} MB of weights, the prompt "
        f"{comparison.prefill_multiply_adds / 1e9:.0f} G multiply-adds."
    )
