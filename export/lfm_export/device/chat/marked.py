"""Text of which some parts were written by others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Marked", "joined", "trimmed"]


@dataclass(frozen=True)
class Marked:
    """A text and which of its characters users and tools wrote.

    Attributes:
        text: the text.
        theirs: (begin, end) in characters; in order, none empty, no two that touch.
    """

    text: str = ""
    theirs: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, text: str, theirs: bool) -> Marked:
        """A text that others wrote, or not."""
        return cls(text, ((0, len(text)),) if theirs and text else ())

    def part(self, begin: int, end: int) -> Marked:
        """The characters from `begin` to `end`."""
        cut = ((max(b, begin) - begin, min(e, end) - begin) for b, e in self.theirs)
        return Marked(self.text[begin:end], tuple((b, e) for b, e in cut if b < e))

    def in_bytes(self) -> list[list[int]]:
        """`theirs`, counted in the bytes of UTF-8."""
        return [[len(self.text[:at].encode()) for at in place] for place in self.theirs]


def joined(pieces: Iterable[Marked]) -> Marked:
    """The pieces behind one another."""
    texts: list[str] = []
    theirs: list[tuple[int, int]] = []
    length = 0
    for piece in pieces:
        for begin, end in piece.theirs:
            if theirs and theirs[-1][1] == begin + length:
                theirs[-1] = (theirs[-1][0], end + length)
            else:
                theirs.append((begin + length, end + length))
        texts.append(piece.text)
        length += len(piece.text)
    return Marked("".join(texts), tuple(theirs))


def trimmed(piece: Marked, where: str, characters: str | None = None) -> Marked:
    """Without white space, or `characters`, at its "left", its "right" or "both"."""
    begin = len(piece.text) - len(piece.text.lstrip(characters)) if where != "right" else 0
    end = len(piece.text.rstrip(characters)) if where != "left" else len(piece.text)
    return piece.part(begin, max(begin, end))
