"""Texts of many scripts and of none, made anew at every export and always the same."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

__all__ = ["SCRIPTS", "proof_texts"]

SCRIPTS = {
    "Latin": (0x41, 0x24F),
    "Greek": (0x370, 0x3FF),
    "Cyrillic": (0x400, 0x4FF),
    "Armenian": (0x531, 0x58F),
    "Hebrew": (0x591, 0x5F4),
    "Arabic": (0x600, 0x6FF),
    "Devanagari": (0x900, 0x97F),
    "Bengali": (0x980, 0x9FE),
    "Gurmukhi": (0xA01, 0xA76),
    "Gujarati": (0xA81, 0xAFF),
    "Tamil": (0xB82, 0xBFA),
    "Telugu": (0xC00, 0xC7F),
    "Kannada": (0xC80, 0xCF2),
    "Malayalam": (0xD00, 0xD7F),
    "Sinhala": (0xD81, 0xDF4),
    "Thai": (0xE01, 0xE5B),
    "Lao": (0xE81, 0xEDF),
    "Tibetan": (0xF00, 0xFDA),
    "Burmese": (0x1000, 0x109F),
    "Georgian": (0x10A0, 0x10FF),
    "Ethiopic": (0x1200, 0x1399),
    "Cherokee": (0x13A0, 0x13FD),
    "Khmer": (0x1780, 0x17F9),
    "Mongolian": (0x1800, 0x18AA),
    "Hiragana": (0x3041, 0x309F),
    "Katakana": (0x30A0, 0x30FF),
    "Han": (0x4E00, 0x9FFF),
    "Han, rare": (0x20000, 0x3134A),
    "Hangul": (0xAC00, 0xD7A3),
    "Gothic": (0x10330, 0x1034A),
    "Mathematical": (0x1D400, 0x1D7FF),
    "Adlam": (0x1E900, 0x1E95F),
    "Emoji": (0x1F300, 0x1FAFF),
    "Symbols": (0x2000, 0x2BFF),
}
"""The first and last character of each."""

_JOINTS = (" ", " ", " ", " ", "  ", "\n", ", ", ". ", "-", "'", "\t", " (", ") ", "\r\n", "\u3000")
_EDGES = (
    *(" ", "  ", "   ", "\n", "\r", "\r\n", "\n\n \n", " \n", "\n ", "\t", "\x0b", "\x1c"),
    *("\x85", "\xa0", "\u2028", "\u200b", "\u200d", "\ufeff", "\x00", "'", "''", "'s", "'S"),
    *("'\u017f", "'T", "'re", "'Re", "'rE", "'VE", "'ll", "'lL", "'l", "'d", "'m", "\u2019s"),
    *("a", "Z", "\xdf", "ab", "\u01c5", "\u0301", "e\u0301", "0", "12", "123", "1234", "\xbd"),
    *("\u2167", "\u0663", "!", "...", "?!\r\n", "_", "<|", "|>", "\u20ac"),
    *("\U0001f469\u200d\U0001f467", "\U000e0101", "\U00100000", "\u3000", "\ufffd", "K\u212a"),
    *("\U00016fe4", "\ua9cf", "\u0e33"),
)


def proof_texts(vocabulary: Sequence[str], added: Sequence[str]) -> Iterator[str]:
    """Some hundreds of short texts.

    Args:
        vocabulary: texts of tokens, of which some are put together at random.
        added: texts of added tokens.
    """
    chance = random.Random(0)  # noqa: S311 - the same at every export
    yield ""
    for first, last in SCRIPTS.values():
        yield _words(chance, first, last, 60)
    for _ in range(40):
        yield "".join(chance.choices(vocabulary, k=100))
        yield _of_bytes(chance.randbytes(60))
    for _ in range(200):
        yield "".join(chance.choices(_EDGES, k=12))
    for content in chance.sample(added, min(len(added), 100)):
        for _ in range(2):
            around = chance.choices((*_EDGES, content, chance.choice(added)), k=8)
            yield "".join((*around[:3], content, *around[3:]))
    yield chance.choice(vocabulary)[:1] * 200
    yield "".join(chance.choices("ab", k=200))


def _words(chance: random.Random, first: int, last: int, count: int) -> str:
    words = (
        "".join(chr(chance.randint(first, last)) for _ in range(chance.randint(1, 9)))
        for _ in range(count)
    )
    return "".join(word + chance.choice(_JOINTS) for word in words)


def _of_bytes(data: bytes) -> str:
    return data.decode("utf-8", "replace")
