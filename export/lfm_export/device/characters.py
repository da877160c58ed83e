"""What the regular expressions of `tokenizers` take for letters, numbers and white space.

Its engine has a Unicode version of its own, so it is asked about every character.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Split

__all__ = ["IN_WORD", "KIND", "LETTER", "NUMBER", "OTHER", "SPACE", "STRIPPED", "character_classes"]

Array = npt.NDArray[np.uint8]

OTHER, LETTER, NUMBER, SPACE = range(4)
KIND = 3
"""The bits of these."""
IN_WORD = 4
"""A single_word token does not count beside it."""
STRIPPED = 8
"""lstrip and rstrip take it along."""

_SURROGATES = range(0xD800, 0xE000)
_ASSIGNED = (range(0x40000), range(0xE0000, 0xF0000))
"""The planes that hold characters: the others are private or without any in every version."""
_ENOUGH = 1 << 10
"""Characters of one text: the engine's time for one grows a little faster than the text."""
_PROBE = "\U000f0000\U000f0001"


@cache
def character_classes(*, beside_added: bool) -> Array:
    """The class of each of the 0x110000 code points, by number.

    Args:
        beside_added: whether IN_WORD and STRIPPED are asked for as well, which takes seconds.
    """
    classes = np.zeros(0x110000, np.uint8)
    for pattern, kind in ((r"\p{L}", LETTER), (r"\p{N}", NUMBER), (r"\s", SPACE)):
        members = _members(partial(_matched, pattern))
        if (classes[members] & KIND).any():
            raise ValueError(f"{pattern} shares characters with another class")
        classes[members] |= kind
    if beside_added:
        classes[_members(_in_word)] |= IN_WORD
        classes[_members(_stripped)] |= STRIPPED
    classes.flags.writeable = False
    return classes


def _members(which: Callable[[str], list[int]]) -> list[int]:
    """The code points of which `which`, given a text, finds the places."""
    codes = [code for plane in _ASSIGNED for code in plane if code not in _SURROGATES]
    members: list[int] = []
    for start in range(0, len(codes), _ENOUGH):
        part = codes[start : start + _ENOUGH]
        members += [part[place] for place in which("".join(map(chr, part)))]
    return members


def _matched(pattern: str, text: str) -> list[int]:
    rest = Split(Regex(f"{pattern}+"), "removed").pre_tokenize_str(text)
    unmatched = {place for _, (start, stop) in rest for place in range(start, stop)}
    return [place for place in range(len(text)) if place not in unmatched]


def _in_word(text: str) -> list[int]:
    """Where a single_word token before the character is not found."""
    found = _found(AddedToken(_PROBE, single_word=True), text, "{probe}{character} ")
    return [place for place in range(len(text)) if place not in found]


def _stripped(text: str) -> list[int]:
    found = _found(AddedToken(_PROBE, rstrip=True), text, "{probe}{character}!")
    return [place for place, taken in found.items() if taken]


def _found(token: AddedToken, text: str, form: str) -> dict[int, bool]:
    """For each character beside which `token` is found, whether it took the character along."""
    tokenizer = Tokenizer(BPE({"a": 0}, []))
    tokenizer.add_tokens([token])
    parts = [form.format(probe=_PROBE, character=character) for character in text]
    width = len(parts[0])
    offsets = tokenizer.encode("".join(parts)).offsets
    return {start // width: stop - start > len(_PROBE) for start, stop in offsets}
