"""Options of a command that other code describes: of answers, of an export's targets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_type_hints

import typer

from .generation_options import AnswerOptions, Described, GenerationOptions

__all__ = ["with_answer_options", "with_generation_options", "with_options"]

Command = Callable[..., None]


def with_options(command: Command, into: str, options: Mapping[str, Any]) -> Command:
    """Adds options to a command, which receives those that were given in its parameter `into`.

    Args:
        command: a command for typer, which takes `into` by its name.
        into: the parameter, a mapping from option to value; no option of the command line.
        options: for each name the type that typer reads, `Annotated`.
    """
    signature = inspect.signature(command, eval_str=True)
    parameters = {name: p for name, p in signature.parameters.items() if name != into}
    for name, annotation in options.items():
        parameters[name] = inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
        )

    def run(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in options}
        command(**given, **{into: {n: value for n, value in chosen.items() if _given(value)}})

    run.__doc__ = command.__doc__
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=sorted(parameters.values(), key=lambda p: p.kind)
    )
    run.__annotations__ = {name: p.annotation for name, p in parameters.items()}
    return run


def _given(value: Any) -> bool:
    """Whether the user gave an option: a repeatable one comes as an empty list otherwise."""
    return value is not None and value != []


def with_generation_options(command: Command) -> Command:
    """Adds every option of an answer that is described to `options` of a command."""
    return with_options(command, "options", dict(_described(GenerationOptions)))


def with_answer_options(command: Command) -> Command:
    """Adds those, and what an answer of a chat takes besides."""
    return with_options(command, "options", dict(_described(AnswerOptions)))


def _described(options: type) -> Sequence[tuple[str, Any]]:
    found = []
    for name, hint in get_type_hints(options, include_extras=True).items():
        kind, *extras = get_args(hint)
        for extra in extras:
            if isinstance(extra, Described):
                type_ = list[str] | None if str in get_args(kind) else kind
                option = typer.Option(metavar=extra.metavar, help=extra.help, show_default=False)
                found.append((name, Annotated[type_, option]))
    return found
