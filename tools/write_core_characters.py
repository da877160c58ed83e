"""Writes core/chat/character_tables.cpp: python -m tools.write_core_characters.

Which characters Python counts as part of a word and as decimal digits: the parser of calls shall
not differ from Python's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

TABLES = Path(__file__).parents[1] / "core" / "chat" / "character_tables.cpp"
_HEAD = """// Written by tools/write_core_characters.py.
#include "chat/character_tables.h"

namespace lfm::core {
"""
_FIRST = 0x80  # ASCII is told in code


def tables_text() -> str:
    """The file, for the characters that this Python knows."""
    tables = {
        "kWord": lambda c: c.isalnum() or c == "_",
        "kDecimal": str.isdecimal,
    }
    parts = [_table(name, list(_ranges(belongs))) for name, belongs in tables.items()]
    return "\n".join([_HEAD, *parts, "}  // namespace lfm::core\n"])


def _ranges(belongs: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    begin = None
    for code in range(_FIRST, sys.maxunicode + 2):
        inside = code <= sys.maxunicode and belongs(chr(code))
        if inside and begin is None:
            begin = code
        elif not inside and begin is not None:
            yield begin, code - 1
            begin = None


def _table(name: str, ranges: list[tuple[int, int]]) -> str:
    lines, line = [], "   "
    for begin, end in ranges:
        entry = f" {{0x{begin:X}, 0x{end:X}}},"
        if len(line) + len(entry) > 99:
            lines.append(line)
            line = "   "
        line += entry
    body = "\n".join([*lines, line])
    return (
        "// clang-format off\n"
        f"const CharacterRange {name}Ranges[] = {{\n{body}\n}};\n"
        "// clang-format on\n"
        f"const size_t {name}Count = {len(ranges)};\n"
    )


if __name__ == "__main__":
    TABLES.write_text(tables_text())
