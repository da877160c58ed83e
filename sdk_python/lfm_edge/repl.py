"""A conversation on the command line: turns come from a person or from a pipe."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator

from .display import printable
from .errors import ContextFullError
from .generation import Generation
from .generation_options import GenerationOptions
from .model import Message, Model

__all__ = ["converse", "turns"]


def converse(
    model: Model,
    lines: Iterator[str],
    show: Callable[[Generation], str],
    system: str | None,
    options: GenerationOptions,
) -> None:
    """Answers each line in turn, with what was said before.

    With a session among the options, only what a new turn adds to the prompt is read, where the
    prompt continues what the session holds. `/reset` forgets the conversation, `/exit` or the end
    of `lines` ends it. At a terminal Ctrl-C ends an answer, not the conversation.

    Args:
        model: gives the answers.
        lines: the user's turns; empty ones are passed over.
        show: shows an answer as it comes, and returns its text.
        system: instructions that stand before the conversation.
        options: how to answer.
    """
    opening: list[Message] = [{"role": "system", "content": system}] if system else []
    messages = opening.copy()
    for line in lines:
        match line.strip():
            case "":
                continue
            case "/exit":
                return
            case "/reset":
                messages = opening.copy()
            case text:
                question = {"role": "user", "content": text}
                answer = _answer(model, [*messages, question], show, options)
                if answer is not None:
                    messages += [question, {"role": "assistant", "content": answer}]


def _answer(
    model: Model,
    messages: list[Message],
    show: Callable[[Generation], str],
    options: GenerationOptions,
) -> str | None:
    """The answer; a person may cut it short by Ctrl-C, and is told where the context is full."""
    if not sys.stdin.isatty():
        return show(model.chat(messages, **options))
    cancel = threading.Event()
    earlier = signal.signal(signal.SIGINT, lambda *_: cancel.set())
    try:
        stoppable: GenerationOptions = {**options, "cancel": cancel}
        return show(model.chat(messages, **stoppable))
    except ContextFullError as error:
        print(printable(f"error: {error}; /reset forgets the conversation"), file=sys.stderr)
        return None
    finally:
        signal.signal(signal.SIGINT, earlier)


def turns() -> Iterator[str]:
    """Lines of a person at a terminal, with history, or those of a pipe."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    import readline  # noqa: F401, PLC0415 (gives `input` its history; touches the terminal)

    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return
