"""Pictures of speed and memory: panels of bars, side by side."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from .bench_result import BenchResult, Series
from .extras import missing_dependency

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Bar", "Panel", "draw", "plot", "require_matplotlib"]

COLORS = ("#2563eb", "#f59e0b", "#10b981", "#e11d48", "#7c3aed", "#0891b2", "#64748b")
INK, FAINT = "#1f2937", "#9ca3af"


class Bar(NamedTuple):
    """A bar's height and the length of its whisker; None leaves its place empty."""

    value: float | None
    error: float = 0


class Panel(NamedTuple):
    """One quantity: groups of bars, each with one bar per thing compared."""

    title: str
    unit: str
    groups: dict[str, list[Bar]]


def require_matplotlib() -> None:
    """Raises MissingDependencyError where matplotlib is not installed, without importing it."""
    if importlib.util.find_spec("matplotlib") is None:
        raise missing_dependency("matplotlib")


def plot(results: Sequence[BenchResult], labels: Sequence[str], file_format: str = "png") -> bytes:
    """The image file of results: panels for prefill, decode and memory, a bar for each result.

    Bars of speed are medians over the repetitions, whiskers one sample standard deviation.
    """
    return draw(_panels(results), labels, _title(results), file_format)


def draw(
    panels: Sequence[Panel], labels: Sequence[str], title: str, file_format: str = "png"
) -> bytes:
    """Draws panels side by side.

    Args:
        panels: what to draw.
        labels: names of the things compared, in the order of the bars.
        title: one or two lines on how it was measured.
        file_format: any that matplotlib writes, such as `png` or `svg`.

    Returns:
        The bytes of the image file.
    """
    require_matplotlib()
    from matplotlib.figure import Figure  # noqa: PLC0415 (optional)
    from matplotlib.patches import Patch  # noqa: PLC0415 (optional)

    widths = [1 + len(panel.groups) * max(1.6, 0.8 * len(labels)) for panel in panels]
    figure = Figure(figsize=(sum(widths), 4.4), dpi=160)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.08)
    rows = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)
    for axes, panel in zip(rows[0], panels, strict=True):
        _draw_panel(axes, panel)
    figure.suptitle(title, fontsize=10, color=INK, parse_math=False)
    legend = figure.legend(
        handles=[Patch(color=_color(i), label=label) for i, label in enumerate(labels)],
        loc="outside lower center",
        ncols=min(3, len(labels)),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a `$` in a name is a `$`
    buffer = io.BytesIO()
    figure.savefig(buffer, format=file_format)
    return buffer.getvalue()


def _panels(results: Sequence[BenchResult]) -> list[Panel]:
    speeds = {
        "Prefill": [_bar(result.prefill) for result in results],
        "Decode": [_bar(result.decode) for result in results],
    }
    panels = [
        Panel(title, "tokens/s", {"": bars})
        for title, bars in speeds.items()
        if any(bar.value for bar in bars)
    ]
    memory = {
        "peak": [Bar(result.peak_rss_bytes / 1e6) for result in results],
        "private": [Bar(result.private_bytes / 1e6) for result in results],
    }
    return [*panels, Panel("Memory", "MB", memory)]


def _bar(series: Series | None) -> Bar:
    return Bar(series.median, series.standard_deviation) if series else Bar(None)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for group, bars in enumerate(panel.groups.values()):
        step = 0.8 / len(bars)
        for i, bar in enumerate(bars):
            if bar.value is not None:
                x = group + (i - (len(bars) - 1) / 2) * step
                _draw_bar(axes, x, min(step * 0.9, 0.5), bar, _color(i))
    axes.set_title(panel.title, fontsize=11, fontweight="bold", color=INK, loc="left")
    axes.set_ylabel(panel.unit, fontsize=9, color=INK)
    axes.set_xticks(range(len(panel.groups)), list(panel.groups), fontsize=9, color=INK)
    axes.set_xlim(-0.6, len(panel.groups) - 0.4)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.08)
    axes.tick_params(length=0, labelcolor=INK, labelsize=9)
    axes.grid(axis="y", color=FAINT, alpha=0.3, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)


def _draw_bar(axes: Axes, x: float, width: float, bar: Bar, color: str) -> None:
    value = bar.value or 0.0
    axes.bar(x, value, width, color=color)
    if bar.error:
        axes.errorbar(x, value, bar.error, color=INK, capsize=4, linewidth=1.1)
    axes.annotate(
        f"{value:,.0f}" if value >= 100 else f"{value:.1f}",
        (x, value + bar.error),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        fontsize=9,
        color=INK,
    )


def _color(index: int) -> str:
    return COLORS[index % len(COLORS)]


def _title(results: Sequence[BenchResult]) -> str:
    conditions = {_conditions(result) for result in results}
    return conditions.pop() if len(conditions) == 1 else "measured under different conditions"


def _conditions(result: BenchResult) -> str:
    s = result.settings
    return (
        f"prompt {s.prompt_tokens}, generate {s.generated_tokens} at depth {s.depth}, "
        f"{s.threads} threads on {result.device.cpu}\n"
        f"median of {s.repetitions}, whiskers: one standard deviation"
    )
