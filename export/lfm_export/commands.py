"""The exporter's commands; `lfm-edge` finds them by the entry points `lfm_edge.commands`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from lfm_edge.command_options import with_options
from lfm_edge.console_progress import ConsoleProgress
from lfm_edge.display import console, printable
from lfm_edge.targets import RUN_ELSEWHERE

from .auto import AUTO
from .checkpoint import open_checkpoint
from .emit import TARGETS
from .export import ExportOptions, export_bundle
from .quantize import METHODS

__all__ = ["export"]

_TARGETS_HELP = "; ".join(f"{target.name}: {target.summary}" for target in TARGETS.values())


def _with_target_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds an option for every one that a target has."""
    found: dict[str, list[str]] = {}
    helps: dict[str, str] = {}
    for target in TARGETS.values():
        for option in target.options:
            found.setdefault(option.name, []).append(f"{target.name}: {', '.join(option.values)}")
            helps[option.name] = option.help
    return with_options(
        command,
        "own",
        {
            name.replace("-", "_"): Annotated[
                str | None, typer.Option(help=f"{helps[name]}; {'; '.join(values)}.")
            ]
            for name, values in found.items()
        },
    )


@_with_target_options
def export(
    source: Annotated[
        str,
        typer.Argument(
            help="Local folder, GGUF file, Hub id, or synthetic:lfm2.5-8b-a1b[:LAYERS]."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    *,
    target: Annotated[str, typer.Option(help=_TARGETS_HELP)] = next(iter(TARGETS)),
    quant: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(METHODS)} (default: q4), or {AUTO} with --bits or --size."),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(help="LM head, embedding: q8 (default), or another of no fewer bits."),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(help="Most tokens of a session (default: the model's, on Apple 4096)."),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="TEXT",
            help="Choose integers by what the model reads: UTF-8 text, chats in a .jsonl; or self: "
            "what it writes.",
        ),
    ] = None,
    bits: Annotated[
        float | None,
        typer.Option(
            help="With auto: as small and fast as layers of so many bits a weight, head q8."
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="With auto: of the weights, such as 4.8GB or 700MB.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The format of every matrix (JSON); `inspect OUT --recipe` prints a bundle's.",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Keep the calibration here, for other targets of this model."
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Share the calibration among the workers of a Ray cluster: HOST:PORT of its head.",
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of synthetic weights (default: 0).")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder with a tokenizer for synthetic weights (`make tokenizer`)."),
    ] = None,
    own: dict[str, str],
) -> None:
    """Turn a checkpoint into a bundle.

    Example: lfm-edge export LiquidAI/LFM2.5-8B-A1B my-bundle --quant q4
    """
    own = {name.replace("_", "-"): value for name, value in own.items()}
    options = ExportOptions(
        target, quant, head, context, own, calibrate, bits, size, recipe, state, ray
    )
    with (
        open_checkpoint(source, revision=revision, seed=seed, tokenizer=tokenizer) as checkpoint,
        ConsoleProgress() as progress,
    ):
        bundle = export_bundle(checkpoint, out, options, progress)
    total = sum(entry.size for entry in bundle.manifest.files.values())
    place = shlex.quote(str(bundle.folder))
    elsewhere = RUN_ELSEWHERE.get(target)
    then = (
        f"{elsewhere.format(place)} runs it" if elsewhere else f"lfm-edge verify {place} proves it"
    )
    done = f"{bundle.folder}: {total / 1e9:.2f} GB; {then}"
    console(stderr=True).print(printable(done), soft_wrap=True)
