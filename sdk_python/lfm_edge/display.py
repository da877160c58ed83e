"""How the command line shows text that others wrote: as it is, and never as an instruction."""

from __future__ import annotations

from rich.console import Console

__all__ = ["console", "printable"]


def console(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """A console that takes `[red]` and `:smile:` in a name for the text that they are."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=soft_wrap)


def printable(text: str) -> str:
    r"""`text` with what a terminal would obey, and nobody would see, written out, as `\x1b`."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
