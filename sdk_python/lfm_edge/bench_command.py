"""`lfm-edge bench`: measures a bundle on this device, or compares what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from .bench import measure
from .bench_plot import plot, require_matplotlib
from .bench_result import BenchResult, Series, Settings, read_result, write_file, write_result
from .console_progress import ConsoleProgress
from .display import console, printable
from .errors import InvalidRequestError
from .threads import default_threads

__all__ = ["bench"]

PICTURES = ("png", "svg", "pdf")


def bench(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="OUT", help="A bundle; with --compare: JSON files.", show_default=False
        ),
    ],
    prompt: Annotated[int, typer.Option("-p", help="Tokens of the prompt; 0: skip.")] = 512,
    generate: Annotated[int, typer.Option("-n", help="Tokens to generate; 0: skip.")] = 128,
    repetitions: Annotated[int, typer.Option("-r", help="Repetitions after a warm-up.")] = 5,
    depth: Annotated[int, typer.Option("-d", help="Tokens of context before each part.")] = 0,
    threads: Annotated[
        int | None, typer.Option(help="Threads.", show_default="physical cores")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the result here.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw the result here.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare JSON files: --compare A.json B.json")
    ] = False,
) -> None:
    """Measure a bundle's speed and memory on this device, in llama-bench's terms.

    Example: lfm-edge bench OUT -p 512 -n 128 -r 5 --json a.json --plot a.png
    """
    if picture:
        _check_picture(picture)
    if compare:
        if json_file:
            raise InvalidRequestError("--json goes with a measurement, not with --compare")
        results, labels = _read_all(paths)
        _print_comparison(results, labels)
    else:
        settings = Settings(
            prompt_tokens=prompt,
            generated_tokens=generate,
            repetitions=repetitions,
            depth=depth,
            threads=default_threads() if threads is None else threads,
        )
        results = [_measure(paths, settings, json_file)]
        labels = [_label(results[0])]
    if picture:
        write_file(picture, plot(results, labels, _format(picture)))
        console().print(f"picture: {printable(str(picture))}", soft_wrap=True)


def _measure(paths: list[Path], settings: Settings, json_file: Path | None) -> BenchResult:
    if len(paths) != 1:
        raise InvalidRequestError(
            f"one bundle at a time, not {len(paths)}; did you mean --compare?"
        )
    if json_file:
        _check_place(json_file)
    with ConsoleProgress() as progress:
        result = measure(paths[0], settings, progress=progress)
    if json_file:
        write_result(json_file, result)
    _print_result(result)
    return result


def _read_all(paths: list[Path]) -> tuple[list[BenchResult], list[str]]:
    if len(paths) < 2:
        raise InvalidRequestError("--compare needs at least two JSON files")
    labels = [path.stem for path in paths]
    if len(set(labels)) < len(labels):
        labels = [str(path) for path in paths]
    return [read_result(path) for path in paths], [printable(label) for label in labels]


def _check_place(path: Path) -> None:
    """Finds out before minutes of measuring, not after, that a file cannot be written."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InvalidRequestError(f"{path}: not a place for a file")


def _check_picture(path: Path) -> None:
    if _format(path) not in PICTURES:
        raise InvalidRequestError(f"--plot {path}: expected a name that ends in .png, .svg or .pdf")
    _check_place(path)
    require_matplotlib()


def _format(path: Path) -> str:
    return path.suffix.removeprefix(".").lower()


def _label(result: BenchResult) -> str:
    bundle, units = result.bundle, result.settings.compute_units
    label = f"{bundle.model} {bundle.target} {_quantization(result)}"
    return printable(f"{label} {units}" if units else label)


def _quantization(result: BenchResult) -> str:
    bundle = result.bundle
    same = bundle.head == bundle.quantization
    return printable(bundle.quantization if same else f"{bundle.quantization} (head {bundle.head})")


def _print_result(result: BenchResult) -> None:
    s, device = result.settings, result.device
    at = f" @ d{s.depth}" if s.depth else ""
    table = Table(title=f"{_label(result)}, {result.bundle.size_bytes / 1e6:,.0f} MB")
    table.add_column("quantity")
    for name in ("median", "mean ± sd"):
        table.add_column(name, justify="right")
    table.add_column("unit")
    for name, series, scale, unit in (
        (f"prefill, pp{s.prompt_tokens}{at}", result.prefill, 1, "tokens/s"),
        (f"decode, tg{s.generated_tokens}{at}", result.decode, 1, "tokens/s"),
        ("time to first token", result.time_to_first_token, 1000, "ms"),
    ):
        if series:
            table.add_row(name, _number(series.median * scale), _spread(series, scale), unit)
    table.add_row("load", _number(result.load_seconds * 1000), "", "ms")
    table.add_row("peak resident memory", _number(result.peak_rss_bytes / 1e6), "", "MB")
    table.add_row("private memory", _number(result.private_bytes / 1e6), "", "MB")
    table.caption = (
        f"{s.threads} threads, {s.repetitions} repetitions; {device.cpu}, {device.cores} cores, "
        f"{device.os}, onnxruntime {device.onnxruntime}"
    )
    if device.isa:
        table.caption += f", {device.isa}, fetched {device.prefetch_bytes:,} bytes ahead"
    console().print(table)


def _print_comparison(results: Sequence[BenchResult], labels: Sequence[str]) -> None:
    table = Table(title=f"ratios to {labels[0]}")
    table.add_column("quantity")
    for label in labels:
        table.add_column(label, justify="right")
    table.add_column("unit")
    table.add_row("model", *(printable(result.bundle.model) for result in results), "")
    table.add_row("target", *(printable(result.bundle.target) for result in results), "")
    table.add_row("quantization", *(_quantization(result) for result in results), "")
    table.add_section()
    for name, field, scale, unit in (
        ("prefill", "prefill_tokens_per_second", 1.0, "tokens/s"),
        ("decode", "decode_tokens_per_second", 1.0, "tokens/s"),
        ("time to first token", "time_to_first_token_seconds", 1e3, "ms"),
        ("load", "load_seconds", 1e3, "ms"),
        ("peak resident memory", "peak_rss_bytes", 1e-6, "MB"),
        ("private memory", "private_bytes", 1e-6, "MB"),
    ):
        values: list[float | None] = [getattr(result, field) for result in results]
        table.add_row(name, *_with_ratios(values, scale), unit)
    table.caption = printable("; ".join(_unlike(results))) or None
    console().print(table)


def _with_ratios(values: Sequence[float | None], scale: float) -> list[str]:
    first = values[0]
    cells = ["-" if value is None else _number(value * scale) for value in values]
    return cells[:1] + [
        f"{cell} ({value / first:.2f}x)" if value is not None and first else cell
        for cell, value in zip(cells[1:], values[1:], strict=True)
    ]


def _unlike(results: Sequence[BenchResult]) -> list[str]:
    """What differs besides the bundle, so that the figures do not compare like with like."""
    conditions = {
        "prompt": [str(result.settings.prompt_tokens) for result in results],
        "generated": [str(result.settings.generated_tokens) for result in results],
        "depth": [str(result.settings.depth) for result in results],
        "threads": [str(result.settings.threads) for result in results],
        "compute units": [result.settings.compute_units or "-" for result in results],
        "cpu": [result.device.cpu for result in results],
        "onnxruntime": [result.device.onnxruntime for result in results],
        "instruction set": [result.device.isa or "-" for result in results],
    }
    return [
        f"{name} differs: {' | '.join(values)}"
        for name, values in conditions.items()
        if len(set(values)) > 1
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}"


def _spread(series: Series, scale: float) -> str:
    return f"{_number(series.mean * scale)} ± {_number(series.standard_deviation * scale)}"
