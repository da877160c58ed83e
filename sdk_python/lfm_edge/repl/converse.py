"""The loop that reads lines: commands, which begin with `/`, and what is said to the model."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ..display import printable
from ..errors import ContextFullError, InvalidRequestError, LfmError

__all__ = ["Command", "converse"]

_COMMAND = re.compile(r"/[A-Za-z]*")


@dataclass(frozen=True)
class Command:
    """Something that a line can ask for besides an answer.

    Attributes:
        usage: how it is written, such as `/save FILE`; the first word is its name.
        help: what it does.
        run: does it, with what stands behind the name.
    """

    usage: str
    help: str
    run: Callable[[str], None]

    @property
    def name(self) -> str:
        """How lines begin that ask for it."""
        return self.usage.split()[0]


def converse(
    lines: Iterator[str], say: Callable[[str], None], commands: Mapping[str, Command]
) -> None:
    """Takes each line in turn, until `/exit` or the end of `lines`.

    A line whose first word is `/` and letters is a command: `/etc/hosts` is none. Where a person
    sits, a mistake is told and the conversation goes on; within a pipe it ends the program.

    Args:
        lines: what the user writes; empty ones are passed over.
        say: says a line to the model, and shows the answer.
        commands: further commands by name, beside `/help` and `/exit`.
    """
    for line in lines:
        text = line.strip()
        word, _, rest = text.partition(" ")
        if not text:
            continue
        if word == "/exit":
            return
        try:
            if not _COMMAND.fullmatch(word):
                say(text)
            elif word == "/help":
                _help(commands)
            elif word in commands:
                commands[word].run(rest.strip())
            else:
                raise InvalidRequestError(f"there is no command {word}; /help lists them")
        except (LfmError, OSError) as error:
            if not sys.stdin.isatty():
                raise
            hint = "; /reset forgets the conversation"
            hint = hint if isinstance(error, ContextFullError) else ""
            print(printable(f"error: {error}{hint}"), file=sys.stderr)


def _help(commands: Mapping[str, Command]) -> None:
    shown = [(command.usage, command.help) for command in commands.values()]
    shown += [("/help", "show this"), ("/exit", "end, as the end of input does")]
    width = max(len(usage) for usage, _ in shown)
    for usage, text in shown:
        print(f"{usage:{width}}  {text}")
