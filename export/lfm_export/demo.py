"""`lfm-edge demo`: the main job from end to end, on the small model that ships with the package."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import lfm_edge
import typer
from lfm_edge.console_progress import ConsoleProgress
from lfm_edge.display import console, printable
from lfm_edge.targets import COREML
from lfm_edge.verify import verify
from rich.console import Console

from .checkpoint import open_checkpoint
from .export import ExportOptions, export_bundle

__all__ = ["DEMO_MODEL", "demo"]

DEMO_MODEL = Path(__file__).parent / "demo_model"

_PROMPT = "def read_lines(path):\n    "
_QUESTION = "Write a Python function: Return the sum of a list of numbers."
_MOST_TOKENS = 96


def demo(
    out: Annotated[Path, typer.Argument(help="A folder for what is made.")] = Path("demo"),
) -> None:
    """Export, verify, run and measure the small model that ships with LFM Edge.

    Example: lfm-edge demo build/demo
    """
    screen = console()
    bundle, figures, picture = out / "bundle", out / "bench.json", out / "bench.png"
    apple = out / "coreml"
    screen.rule("1. export: a checkpoint becomes a bundle")
    _export(bundle, ExportOptions())
    screen.rule("2. verify: files are intact, the graph computes what the reference computes")
    _verify(bundle, screen)
    screen.rule("3. generate: text as it comes")
    model = lfm_edge.load(bundle)
    screen.print(_PROMPT, end="")
    for piece in model.generate(_PROMPT, max_tokens=_MOST_TOKENS, temperature=0):
        _show(piece)
    screen.print()
    screen.rule("4. chat: the checkpoint's own template")
    screen.print(f"> {_QUESTION}")
    messages = [{"role": "user", "content": _QUESTION}]
    for piece in model.chat(messages, max_tokens=_MOST_TOKENS, seed=0):
        _show(piece)
    screen.print()
    screen.rule("5. bench: speed and memory on this device")
    _bench(bundle, "-p", "256", "-n", "64", "-r", "3", "--json", figures, "--plot", picture)
    screen.rule("6. Core ML: the same weights for Apple's engine, checked here in NumPy")
    if with_apple := importlib.util.find_spec("coremltools") is not None:
        _export(apple, ExportOptions(target=COREML, context=256))
        _verify(apple, screen)
    else:
        screen.print("left out: it needs pip install 'lfm-edge[coreml]'")
    screen.rule("where everything lies")
    for path, what in (
        (bundle, "the bundle: graph, weights, tokenizer, template, manifest"),
        (figures, "what bench measured; lfm-edge bench --compare reads such files"),
        (picture, "the same as a picture"),
        *([(apple, "the bundle for Core ML")] if with_apple else []),
        (DEMO_MODEL, "the checkpoint that was exported"),
    ):
        screen.print(f"{printable(str(path))}\n    {what}", soft_wrap=True)


def _export(bundle: Path, options: ExportOptions) -> None:
    with open_checkpoint(str(DEMO_MODEL)) as checkpoint, ConsoleProgress() as progress:
        export_bundle(checkpoint, bundle, options, progress)


def _verify(bundle: Path, screen: Console) -> None:
    report = verify(bundle)
    error = max(report.decode_error, report.prefill_error)
    screen.print(
        f"{report.files} files whole; largest logit error {error:.2g}, "
        f"tolerance {report.tolerance:.2g}"
    )


def _bench(*arguments: str | Path) -> None:
    """Measures in a process of its own: this one has memory that the bundle does not need."""
    command = [sys.executable, "-m", "lfm_edge", "bench", *map(str, arguments)]
    if code := subprocess.run(command, check=False).returncode:  # noqa: S603 - our own command line
        raise typer.Exit(code)  # it has said why


def _show(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()
