"""`lfm-edge eval`: what a bundle lost of the model that it was made of."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from lfm_edge.bench_plot import require_matplotlib
from lfm_edge.bench_result import write_file
from lfm_edge.bundle import Bundle
from lfm_edge.console_progress import ConsoleProgress
from lfm_edge.display import console, printable
from lfm_edge.errors import InvalidRequestError
from rich.table import Table

from ..checkpoint import open_checkpoint
from .evaluate import EvaluateOptions, evaluate_bundle
from .plot import plot
from .result import EvaluateResult, Figures

__all__ = ["evaluate"]

_PICTURES = ("png", "svg", "pdf")


def evaluate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The bundle's folder.")],
    text: Annotated[
        Path, typer.Option(help='UTF-8 text, or chats: lines of {"messages": [...]} in a .jsonl.')
    ],
    against: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", help="The checkpoint that it was made of: folder, Hub id, synthetic:."
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tokens of the text at most (default: all)."),
    ] = None,
    window: Annotated[
        int, typer.Option(metavar="N", help="Tokens of a sequence; each begins afresh.")
    ] = 512,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the result here.")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.png", help="Draw it by position here."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep what is done here, to go on after a kill."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", help="Threads of the runtime; with --ray, of a worker (1)."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Share the text among the workers of a Ray cluster: HOST:PORT of its head.",
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of SOURCE on the Hub.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of a synthetic SOURCE.")] = None,
) -> None:
    """Measure what a bundle lost: perplexity, and divergence from its source.

    The bundle's weights are read in exact arithmetic, layer by layer, and the bundle runs as it
    does anywhere: so what quantization loses and what the kernels lose is told apart.

    Example: lfm-edge eval OUT --against LiquidAI/LFM2.5-8B-A1B --text notes.txt --json eval.json
    """
    kind = _check_places(json_file, picture)
    if against is None and (revision is not None or seed is not None):
        raise InvalidRequestError("--revision and --seed are of --against SOURCE")
    bundle = Bundle(out)
    options = EvaluateOptions(text, window, tokens, threads, state, ray)
    with ExitStack() as stack:
        checkpoint = None
        if against is not None:
            checkpoint = stack.enter_context(open_checkpoint(against, revision=revision, seed=seed))
        progress = stack.enter_context(ConsoleProgress())
        result = evaluate_bundle(bundle, checkpoint, options, progress)
    if json_file:
        write_file(json_file, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    if picture:
        write_file(picture, plot(result, kind))
    _show(result)


def _check_places(json_file: Path | None, picture: Path | None) -> str:
    """Finds out before the work that a file cannot be written; the picture's kind."""
    for path in filter(None, (json_file, picture)):
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise InvalidRequestError(f"{path}: not a place for a file")
    kind = picture.suffix.removeprefix(".").lower() if picture else "png"
    if kind not in _PICTURES:
        raise InvalidRequestError(
            f"--plot {picture}: expected a name that ends in .png, .svg or .pdf"
        )
    if picture:
        require_matplotlib()
    return kind


def _show(result: EvaluateResult) -> None:
    screen = console()
    title = f"{result.bundle}: {result.quantization}, head {result.head}, {result.tokens:,} tokens"
    table = Table(title=printable(title))
    table.add_column("who reads, against what")
    for name in ("perplexity", "KL mean", "KL 99 %", "same top token"):
        table.add_column(name, justify="right")
    if result.source_perplexity is not None:
        table.add_row("the source", f"{result.source_perplexity:.3f}", "", "", "")
    for name, figures in (
        ("the weights alone, against the source", result.integers),
        (f"as it runs ({result.target}), against the source", result.runtime),
        ("as it runs, against the weights alone", result.kernels),
    ):
        if figures is not None:
            table.add_row(name, *_cells(figures))
    table.add_section()
    for part in result.by_position:
        table.add_row(f"positions {part.first} to {part.last}", *_cells(part.figures))
    screen.print(table)


def _cells(figures: Figures) -> list[str]:
    return [
        "-" if figures.perplexity is None else f"{figures.perplexity:.3f}",
        "-" if figures.kl_mean is None else f"{figures.kl_mean:.2e}",
        "-" if figures.kl_p99 is None else f"{figures.kl_p99:.2e}",
        "-" if figures.top1 is None else f"{figures.top1:.2%}",
    ]
