"""Writes core/chat/printable.cpp: which characters Python's repr writes as they are.

python -m tools.write_printable
"""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

__all__ = ["PRINTABLE", "source"]

PRINTABLE = Path(__file__).parents[1] / "core" / "chat" / "printable.cpp"
_WIDTH = 100
_SOURCE = """// Which characters Python prints as they are; written by tools/write_printable.py.
#include <algorithm>
#include <iterator>

#include "chat/python_text.h"

namespace lfm::core {{
namespace {{

struct Characters {{
  uint32_t first, last;
}};

// Unicode {version}: control and format characters, surrogates, those of private use, those that
// stand for nothing, and separators but for the space.
// clang-format off
constexpr Characters kUnprintable[] = {{
{ranges}
}};
// clang-format on

}}  // namespace

bool is_printable(uint32_t character) {{
  const auto found = std::lower_bound(
      std::begin(kUnprintable), std::end(kUnprintable), character,
      [](const Characters& range, uint32_t wanted) {{ return range.last < wanted; }});
  return found == std::end(kUnprintable) || character < found->first;
}}

}}  // namespace lfm::core
"""


def source() -> str:
    """The file's text, by the Unicode of this Python."""
    lines = [" " * 3]
    for first, last in _unprintable():
        item = f" {{0x{first:X}, 0x{last:X}}},"
        if len(lines[-1]) + len(item) > _WIDTH:
            lines.append(" " * 3)
        lines[-1] += item
    return _SOURCE.format(version=unicodedata.unidata_version, ranges="\n".join(lines))


def _unprintable() -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for code in range(sys.maxunicode + 1):
        if chr(code).isprintable():
            continue
        if found and found[-1][1] == code - 1:
            found[-1] = (found[-1][0], code)
        else:
            found.append((code, code))
    return found


def main() -> None:
    """Writes the file."""
    PRINTABLE.write_text(source(), encoding="utf-8")


if __name__ == "__main__":
    main()
