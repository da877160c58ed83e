"""The commands that run a bundle: inspect, verify, generate, chat."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from . import repl
from .bundle import MANIFEST, Bundle
from .command_options import with_answer_options, with_generation_options
from .console_progress import ConsoleProgress
from .display import console, printable
from .errors import BundleError
from .generation import Generation
from .generation_options import AnswerOptions, GenerationOptions
from .model import load
from .runtime import state_bytes
from .verify import verify as verify_bundle

__all__ = ["chat", "generate", "inspect", "verify"]

Folder = Annotated[Path, typer.Argument(metavar="OUT", help="The bundle's folder.")]
Threads = Annotated[
    int | None,
    typer.Option(metavar="N", help="Threads (default: physical cores).", show_default=False),
]


def inspect(
    out: Folder,
    *,
    recipe: Annotated[
        bool, typer.Option("--recipe", help="Print its recipe alone, for export --recipe.")
    ] = False,
) -> None:
    """Show what a bundle holds.

    Example: lfm-edge inspect OUT
    """
    bundle = Bundle(out)
    if recipe:
        print(_recipe(bundle))
        return
    screen = console(soft_wrap=True)
    screen.print(_facts(bundle))
    screen.print(_file_table(bundle))


def verify(
    out: Folder,
    tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Golden positions to replay (default: all; of a large Core ML bundle, a few).",
            show_default=False,
        ),
    ] = None,
    threads: Threads = None,
) -> None:
    """Prove a bundle: hash its files and replay its golden vectors.

    A Core ML bundle is replayed in NumPy, on any machine.

    Example: lfm-edge verify OUT
    """
    with ConsoleProgress() as progress:
        report = verify_bundle(out, progress, threads, tokens)
    exact = "".join(f"; {way} right to the bit" for way in report.to_the_bit)
    print(
        f"{printable(str(out))}: {report.files} files, {_size(report.size)}, whole; "
        f"{report.positions} of {report.golden_positions} golden positions: largest logit error "
        f"{report.decode_error:.2e} token by token (position {report.decode_worst}), "
        f"{report.prefill_error:.2e} in chunks "
        f"(position {report.prefill_worst}), tolerance {report.tolerance:.2e}; "
        f"{report.decode_outliers} and {report.prefill_outliers} outliers; greedy token right at "
        f"all {report.argmaxes} clear positions{exact}"
    )


@with_generation_options
def generate(
    out: Folder,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The text to continue.")],
    *,
    threads: Threads = None,
    options: GenerationOptions,
) -> None:
    """Continue a text, by up to 256 tokens. Sampling options default to the bundle's.

    Example: lfm-edge generate OUT "def area(r):" --max-tokens 64 --temperature 0
    """
    options.setdefault("max_tokens", 256)
    _stream(load(out, threads).generate(prompt, **options))


@with_answer_options
def chat(
    out: Folder,
    *,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Instructions for the model.")
    ] = None,
    threads: Threads = None,
    options: AnswerOptions,
) -> None:
    """Talk with the model; /help lists what else it does. Lines of a pipe are turns.

    Example: lfm-edge chat OUT --system "Answer briefly."
    """
    model = load(out, threads)
    conversation = model.conversation(system, context=options.pop("context", None))
    conversation.check(**options)
    repl.Chat(model, conversation, options).run(repl.turns())


def _stream(generation: Generation) -> None:
    """Prints an answer as it comes, and its speed where a person looks on."""
    begun = time.perf_counter()
    first, before = begun, 0
    pieces = 0
    for piece in generation:
        if not pieces:
            first, before = time.perf_counter(), len(generation.ids)
        pieces += 1
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()
    if sys.stderr.isatty():
        facts, seconds = [], time.perf_counter() - first
        if generation.ids:
            waited = f", first text after {first - begun:.2f} s" if pieces else ""
            facts.append(f"{generation.prompt_tokens} tokens read{waited}")
            later = len(generation.ids) - before if pieces else 0
            speed = f", {later / seconds:.1f} a second" if later and seconds else ""
            facts.append(f"{len(generation.ids)} tokens{speed}")
        print(f"[{'; '.join([*facts, f'ended by {generation.finish_reason}'])}]", file=sys.stderr)


def _recipe(bundle: Bundle) -> str:
    recipe = bundle.manifest.quantization.recipe
    if recipe is None:
        raise BundleError(f"{bundle.folder}: {MANIFEST} has no recipe; export the bundle again")
    return json.dumps(recipe, indent=2)


def _facts(bundle: Bundle) -> Table:
    manifest = bundle.manifest
    model, graph, quantization = manifest.model, manifest.graph, manifest.quantization
    formats = ", ".join(
        f"{f.name}: {f.bits} bits" + (f" in groups of {f.group_size}" if f.group_size else "")
        for f in quantization.formats
    )
    tokens = quantization.calibration_tokens
    calibrated = f"; calibrated on {tokens:,} tokens" if tokens else ""
    functions = ", ".join(function.name for function in graph.functions)
    growing = sum(state_bytes(t, 1) for t in graph.state if "capacity" in t.shape)
    fixed = sum(state_bytes(t, 1) for t in graph.state if "capacity" not in t.shape)
    last = [t for t in graph.state if t.window is not None and "capacity" not in t.shape]
    kept = ", ".join(sorted({str(size) for t in last for size in t.shape[2:3]}))
    sliding = f"; sliding layers keep the last {kept} positions" if kept else ""
    state = f"{len(graph.state)} tensors: {growing:,} bytes a token and {fixed:,} bytes{sliding}"
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in (
        ("model", f"{model.name} ({model.family})"),
        ("layers", f"{model.num_hidden_layers}, {model.hidden_size} wide"),
        ("vocabulary", f"{model.vocab_size:,} tokens"),
        ("context", f"up to {model.max_context:,} tokens"),
        ("graph", f"{graph.file}, target {graph.target}, {functions}"),
        ("state", state),
        ("quantization", f"{quantization.method}, head {quantization.head}; {formats}{calibrated}"),
        ("golden vectors", f"{len(manifest.golden.ids)}, within {manifest.golden.tolerance:.2e}"),
        ("written by", f"{manifest.producer}, format {manifest.format_version}"),
    ):
        table.add_row(name, printable(value))
    return table


def _file_table(bundle: Bundle) -> Table:
    files = bundle.manifest.files
    table = Table("file", show_footer=True, box=None, pad_edge=False, header_style="bold")
    table.columns[0].footer = "total"
    table.add_column("size", _size(sum(entry.size for entry in files.values())), justify="right")
    for name, entry in sorted(files.items()):
        table.add_row(name, _size(entry.size))
    return table


def _size(count: int) -> str:
    """A number of bytes as people read it, in decimal units."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.2f} {unit}"
    return f"{count} bytes"
