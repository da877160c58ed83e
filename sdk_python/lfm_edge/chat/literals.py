"""Reads one Python or JSON literal out of a text, without `eval`, as JSON values.

Accepted, mixed at will: strings in either quotes, numbers (`+7`, `07`, `1_000`, `.5`, `0x1f`),
`true`, `True`, `null`, `None`, lists, tuples and sets (all become lists), and objects with string,
number, constant or bare-name keys; a comma may trail. A string takes the escapes of Python and
JSON, an unknown one stays as it is. It ends at the first unescaped quote that a literal can end at
(before a comma, a colon, a closing bracket or the end), so a quote left unescaped within a word
does no harm. Numbers that JSON lacks (`inf`, `1e999`) are refused.
"""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = ["MAX_DEPTH", "LiteralError", "excerpt", "read_literal", "unescape"]

MAX_DEPTH = 64

_SPACE = re.compile(r"\s*+")
_NUMBER = re.compile(
    r"[+-]?(?:(0[xX][0-9a-fA-F]++|0[oO][0-7]++|0[bB][01]++)"
    r"|((?:[0-9][0-9_]*+(?:\.[0-9_]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?))(?![\w.])"
)
_MOST_DIGITS = 3500  # of another base: what Python reads of such digits, it may not write
_WORD = re.compile(r"[^\W\d][\w$-]*+")
_STRING_PART = {quote: re.compile(rf"\\.|{quote}", re.DOTALL) for quote in "'\""}
_STRING_END = re.compile(r"\s*+(?:[,:)\]}]|\Z)")
_CONSTANTS = {"true": True, "false": False, "null": None, "none": None}
_CLOSING = {"[": "]", "(": ")", "{": "}"}

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPES = {
    **{"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "0": "\0"},
    **{"\\": "\\", "'": "'", '"': '"', "/": "/", "\n": ""},
}
_SURROGATE = re.compile("[\ud800-\udfff]")


class LiteralError(ValueError):
    """No literal stands there.

    Attributes:
        at: position in the text where reading stopped.
    """

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


def read_literal(text: str, at: int) -> tuple[Any, int]:
    """Reads the literal at `at`.

    Returns:
        Its value and the position behind it.

    Raises:
        LiteralError: there is none, it does not end, or it nests deeper than `MAX_DEPTH`.
    """
    return _Reader(text).value(at, 0)


def unescape(text: str) -> str:
    r"""Resolves the escapes of Python and JSON; surrogate pairs join, halves become U+FFFD."""
    if "\\" not in text:
        return text
    text = _ESCAPE.sub(_escaped, text)
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def excerpt(text: str, at: int) -> str:
    """The start of what stands at `at`, to quote in a message."""
    found = text[at : at + 64].lstrip()[:24]
    return repr(found) if found else "the end"


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        text = self._text
        first = text[at : at + 1]
        if first in _STRING_PART:
            return self._string(at)
        if first in _CLOSING:
            if depth == MAX_DEPTH:
                raise LiteralError(f"the value nests deeper than {MAX_DEPTH} levels", at)
            return self._object(at, depth) if first == "{" else self._list(at, depth)
        if number := _NUMBER.match(text, at):
            return self._number(number), number.end()
        word = _WORD.match(text, at)
        if word and word[0].lower() in _CONSTANTS:
            return _CONSTANTS[word[0].lower()], word.end()
        raise self._failure("a value", at)

    def _string(self, at: int) -> tuple[str, int]:
        quote = self._text[at]
        for part in _STRING_PART[quote].finditer(self._text, at + 1):
            if part[0] == quote and _STRING_END.match(self._text, part.end()):
                return unescape(self._text[at + 1 : part.start()]), part.end()
        raise LiteralError(f"the string {excerpt(self._text, at)} does not end", len(self._text))

    def _number(self, match: re.Match[str]) -> int | float:
        try:
            if match[1]:
                if len(match[1][2:].lstrip("0")) > _MOST_DIGITS:
                    raise ValueError
                return int(match[0], 0)
            if set(match[2]) & set(".eE"):
                number = float(match[0])
                if math.isfinite(number):
                    return number
            else:
                return int(match[0])
        except ValueError:  # more digits than Python reads, or `1__0`
            pass
        raise LiteralError(f"the number {match[0][:24]} has no value in JSON", match.end())

    def _list(self, at: int, depth: int) -> tuple[Any, int]:
        opening, at, items = self._text[at], self._space(at + 1), []
        trailing_comma = True
        while not self._text.startswith(_CLOSING[opening], at):
            item, at = self.value(at, depth + 1)
            items.append(item)
            at, trailing_comma = self._separator(at, _CLOSING[opening])
        if opening == "(" and not trailing_comma and len(items) == 1:
            return items[0], at + 1
        return items, at + 1

    def _object(self, at: int, depth: int) -> tuple[Any, int]:
        """An object, or a set: what follows the first item tells."""
        at = self._space(at + 1)
        entries: dict[str, Any] = {}
        items: list[Any] = []
        while not self._text.startswith("}", at):
            item, at = self._key_or_value(at, depth)
            after = self._space(at)
            if not items and self._text.startswith(":", after):
                value, at = self.value(self._space(after + 1), depth + 1)
                entries[_key(item, at)] = value
            elif not entries and not isinstance(item, _BareName):
                items.append(item)
            else:
                raise self._failure("':'", after)
            at, _ = self._separator(at, "}")
        return items or entries, at + 1

    def _key_or_value(self, at: int, depth: int) -> tuple[Any, int]:
        word = _WORD.match(self._text, at)
        if word and word[0].lower() not in _CONSTANTS:
            return _BareName(word[0]), word.end()
        return self.value(at, depth + 1)

    def _separator(self, at: int, closing: str) -> tuple[int, bool]:
        """Behind an item: the next one's position, or the closing bracket's; whether a comma."""
        at = self._space(at)
        if self._text.startswith(",", at):
            return self._space(at + 1), True
        if not self._text.startswith(closing, at):
            raise self._failure(f"',' or '{closing}'", at)
        return at, False

    def _space(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return match.end() if match else at

    def _failure(self, expected: str, at: int) -> LiteralError:
        return LiteralError(f"expected {expected}, got {excerpt(self._text, at)}", at)


class _BareName(str):
    """An object's key without quotes."""

    __slots__ = ()


def _key(value: Any, at: int) -> str:
    """An object's key as JSON writes it."""
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    raise LiteralError("an object's key must be a string", at)


def _escaped(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code is None:
        return _ESCAPES.get(match[4], match[0])
    return chr(int(code, 16)) if int(code, 16) <= 0x10FFFF else match[0]
