"""A picture of an evaluation: divergence and perplexity by position within a sequence."""

from __future__ import annotations

import io

from lfm_edge.bench_plot import COLORS, FAINT, INK, require_matplotlib
from lfm_edge.display import printable

from .result import EvaluateResult

__all__ = ["plot"]


def plot(result: EvaluateResult, file_format: str) -> bytes:
    """The image file; raises MissingDependencyError without matplotlib."""
    require_matplotlib()
    from matplotlib.figure import Figure  # noqa: PLC0415 (optional)

    curves = {
        "perplexity": [(p.first, p.figures.perplexity) for p in result.by_position],
        "KL from the source, mean (nats)": [
            (p.first, p.figures.kl_mean) for p in result.by_position
        ],
        "same likeliest token": [(p.first, p.figures.top1) for p in result.by_position],
    }
    shown = {
        name: [(x, y) for x, y in points if y is not None]
        for name, points in curves.items()
        if any(y is not None for _, y in points)
    }
    figure = Figure(figsize=(1 + 3.6 * len(shown), 3.8), dpi=160)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.08)
    row = figure.subplots(1, len(shown), squeeze=False)[0]
    for i, (axes, (name, points)) in enumerate(zip(row, shown.items(), strict=True)):
        axes.plot(*zip(*points, strict=True), marker="o", color=COLORS[i], linewidth=1.6)
        axes.set_xscale("log", base=2)
        if name == "perplexity":
            axes.set_yscale("log")
        axes.set_title(name, fontsize=10, color=INK, loc="left")
        axes.set_xlabel("tokens before it, at least", fontsize=9, color=INK)
        axes.grid(color=FAINT, alpha=0.3, linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelcolor=INK, labelsize=8)
    title = f"{result.bundle}, {result.quantization} (head {result.head}), {result.tokens:,} tokens"
    figure.suptitle(printable(title), fontsize=10, color=INK, parse_math=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=file_format)
    return buffer.getvalue()
