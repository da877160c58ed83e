"""The exporter's commands; `lfm-edge` finds them by the entry points `lfm_edge.commands`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from lfm_edge.display import console, printable
from lfm_ops.reference import KvType

from .checkpoint import open_checkpoint
from .export import CONV_STATES, MOE_FORMS, TARGETS, ExportOptions, export_bundle
from .progress import ConsoleProgress
from .quantize import METHODS

__all__ = ["export"]


def export(
    source: Annotated[
        str, typer.Argument(help="Local folder, Hub id, or synthetic:lfm2.5-8b-a1b[:LAYERS].")
    ],
    out: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    target: Annotated[str, typer.Option(help=" or ".join(TARGETS))] = TARGETS[0],
    quant: Annotated[str, typer.Option(help=", ".join(METHODS))] = "q4",
    head: Annotated[
        str | None, typer.Option(help="LM head and embedding within q4: q8 (default) or q4.")
    ] = None,
    kv: Annotated[
        str | None, typer.Option(help="KV cache: f32, f16 (default, f32 with f32) or int8.")
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(help="Most tokens of a session (default: the model's, on Apple 4096)."),
    ] = None,
    moe: Annotated[
        str | None, typer.Option(help=f"Experts in coreml: {', '.join(MOE_FORMS)}.")
    ] = None,
    conv_state: Annotated[
        str | None, typer.Option(help=f"Conv state in coreml: {' or '.join(CONV_STATES)}.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of synthetic weights (default: 0).")
    ] = None,
) -> None:
    """Turn a checkpoint into a bundle.

    Example: lfm-edge export LiquidAI/LFM2.5-8B-A1B my-bundle --quant q4
    """
    options = ExportOptions(target, quant, head, cast(KvType | None, kv), context, moe, conv_state)
    with (
        open_checkpoint(source, revision=revision, seed=seed) as checkpoint,
        ConsoleProgress() as progress,
    ):
        bundle = export_bundle(checkpoint, out, options, progress)
    size = sum(entry.size for entry in bundle.manifest.files.values())
    done = f"{out}: {size / 1e9:.2f} GB; lfm-edge verify {out} proves it"
    console(stderr=True).print(printable(done), soft_wrap=True)
