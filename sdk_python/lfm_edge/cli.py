"""The command line `lfm-edge`: its commands, those of plug-ins, and how errors reach the user."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from lfm_ops.layout import LAYOUT_VERSION
from rich.markup import escape

from . import commands
from .agent.command import agent
from .bench_command import bench
from .display import printable
from .errors import LfmError, MissingDependencyError
from .extras import missing_dependency
from .serve_command import serve

__all__ = ["main"]

PLUGINS = "lfm_edge.commands"
# What typer raises where the command line is wrong; it exports only the kinds of it.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def main() -> None:
    """Runs the command of `sys.argv` and exits.

    A user's mistake gives one line on standard error and exit code 2, Ctrl-C gives 130. Only a bug
    of ours gives a traceback.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started it
            empty = Path(os.devnull).open("r" if name == "stdin" else "w")  # noqa: SIM115
            setattr(sys, name, empty)
        getattr(sys, name).reconfigure(errors="replace")
    try:
        code = _app(sys.argv[1:])(standalone_mode=False)  # so that usage errors come to us
    except LfmError as error:
        _fail(str(error))
    except _UsageError as error:
        _fail_usage(error)
    except typer.Abort:
        _fail("aborted")
    except ModuleNotFoundError as error:
        _fail(str(_missing_dependency(error)))
    except OSError as error:
        _fail(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except SystemExit as ending:
        code = ending.code
    if code == 130:
        print("interrupted", file=sys.stderr)
    raise SystemExit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(
            f"lfm-edge {version('lfm-edge')}, onnxruntime {version('onnxruntime')}, "
            f"layout of the operators' weights {LAYOUT_VERSION}"
        )
        raise typer.Exit


def _app(arguments: Sequence[str]) -> typer.Typer:
    app = typer.Typer(
        name="lfm-edge",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    own: dict[str, Callable[..., None]] = {
        "inspect": commands.inspect,
        "verify": commands.verify,
        "generate": commands.generate,
        "chat": commands.chat,
        "agent": agent,
        "bench": bench,
        "serve": serve,
    }
    for name, function in own.items():
        app.command(name)(function)
    # A plug-in is imported only where it is wanted: its libraries cost time and memory.
    if not (arguments and arguments[0] in {*own, "--version"}):
        for entry in entry_points(group=PLUGINS):
            _register(app, entry)
    return app


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
    ] = False,
) -> None:
    """Put a Liquid LFM model on a phone or laptop: export, run, measure, ship."""


def _register(app: typer.Typer, entry: EntryPoint) -> None:
    try:
        function: Callable[..., Any] = entry.load()
    except ModuleNotFoundError as error:
        missing = _missing_dependency(error)

        def unavailable() -> NoReturn:
            raise missing

        app.command(
            entry.name,
            help=escape(f"Not available: {missing}."),
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
            add_help_option=False,
        )(unavailable)
    else:
        app.command(entry.name)(function)


def _missing_dependency(error: ModuleNotFoundError) -> MissingDependencyError:
    """Says which extra brings the module; an error about a module of no extra is raised again."""
    try:
        return missing_dependency(error.name or "")
    except LookupError:
        raise error from None


def _fail_usage(error: Any) -> NoReturn:
    message = error.format_message().strip().rstrip(".")
    if not message:  # without arguments, the help was shown instead
        raise SystemExit(2)
    # Those without a context come from the command's own options.
    own = "" if sys.argv[1].startswith("-") else f" {sys.argv[1]}"
    command = error.ctx.command_path if error.ctx else f"lfm-edge{own}"
    _fail(f"{message[0].lower()}{message[1:]}; see {command} --help")


def _fail(message: str) -> NoReturn:
    print("error:", printable(" ".join(message.split())), file=sys.stderr)
    sys.stdout.flush()
    raise SystemExit(2)
