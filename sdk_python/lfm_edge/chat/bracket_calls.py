r"""Reads calls written as LFM's templates render them: `[fn(a='x', n=3), ns.other()]`.

**Where a string ends.** Templates put an argument's string between quotes and escape nothing, so
its text may hold quotes, brackets and whole calls. A quote can end a string only where the call
can go on: before `, name=`, before `)` and another call `, name(`, or before `)]` at the very end.
Of these places, those count from which its own call reads to its `)`, and the string ends at the
first from which all that follows reads, or that leaves no bracket open in the string. So
`city='Martha's Vineyard'` holds one string, `code='f('x'), g'` another, and a bad call does not
spoil those before it.

What remains ambiguous, such as a string that holds `', b='`, the names of the tools resolve: past
a string's first inner quote only a parameter that its tool has, and that the call has not used
yet, starts the next argument, and only a known tool the next call. (The first quote always may: a
model that makes up a parameter gets an error for it, not a longer string.)

**Escapes.** A backslash stands for itself, as templates write it: `'C:\new'` has six characters.
Only a string in which a backslash stands before a quote, and no quote of its own kind stands bare
(`'it\'s'`), was written by a model that escapes, and gives up its escapes.

Values inside brackets are Python or JSON literals (`literals.py`). Reading takes time in
proportion to the text: what is read ahead to find a string's end is remembered and bounded.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from .calls import InvalidToolCall, ParsedCalls, ToolCall, ToolNames
from .literals import LiteralError, excerpt, read_literal, unescape

__all__ = ["FUNCTION_NAME", "parse_bracket_calls"]

FUNCTION_NAME = r"[\w$@./:-]{1,128}+(?<=\w)"
_PARAMETER = r"[\w$@.-]{1,128}+(?<=\w)"

_OPENING = re.compile(r"\s*+(\[[\s\[]*+)?")
_CALL = re.compile(rf"({FUNCTION_NAME})\s*+\(")
_ARGUMENT = re.compile(
    rf"\s*+(?:({_PARAMETER})\s*+=(?!=)\s*+|\*\*\s*+(?=\{{)|(?<=\()(?=\{{))"  # f(**{..}), f({..})
)
_COMMA = re.compile(r"\s*+,")
_CLOSE = re.compile(r"\s*+,?+\s*+\)")
_END = re.compile(r"\s*+[,;]?+[\s\]]*+\Z")
_NEXT_CALL = re.compile(
    r"(?:\s*+\][\s,;]*+\[\s*+|\s*+[,;]\s*+|[^\S\n]*+\n\s*+)"
    rf"(?=({FUNCTION_NAME})\s*+\()"
)
_LIST_END = re.compile(r"\s*+\]")

_STRING = re.compile(r"([rRuUfF]?)(['\"])")
_CLOSING_QUOTE = re.compile(r"['\"](?=\s*+[,)])")
_ESCAPED_QUOTE = re.compile(r"(?<!\\)(?:\\\\)*+\\['\"]")
_BARE_QUOTE = {quote: re.compile(rf"(?<!\\)(?:\\\\)*+{quote}") for quote in "'\""}

_SKIPPED = re.compile(r"['\"()\[\]{},]")
_SKIPPED_STRING_END = {quote: re.compile(rf"{quote}(?=\s*+(?:[,:)\]}}]|\Z))") for quote in "'\""}

# How far the text reads on from behind a value: not to the end of its call; to a list's end, with
# other text behind; to the end of its call and a next one; or to the end of the text.
_DEAD, _LIST_READS, _CALL_READS, _ALL_READS = range(4)
_RANKS = (_ALL_READS, _CALL_READS, _LIST_READS)


def parse_bracket_calls(text: str, tools: ToolNames, *, closed: bool) -> ParsedCalls:
    """Reads the calls of `text`; one that cannot be read leaves its siblings.

    Args:
        text: a block of calls, without markers.
        tools: the known tools; empty if they are not known.
        closed: whether the block was closed by its marker. Where it was not, and no `]` closes
            the list, the last call may be cut off and is refused.
    """
    return _Parser(text, tools).parse(closed)


@dataclass(frozen=True)
class _Step:
    """What follows a value: the next argument, the next call, or the end."""

    at: int
    """Where the argument's value begins, or the call."""
    parameter: str | None = None
    call: str | None = None
    rank: int = _DEAD
    """Of an end: `_ALL_READS` at the end of the text, `_LIST_READS` before other text."""


@dataclass(frozen=True)
class _Rank:
    rank: int


class _CallError(ValueError):
    """A call that cannot be read.

    Args:
        message: what is wrong.
        at: where.
        depth: how many brackets are open there.
    """

    def __init__(self, message: str, at: int, depth: int = 1) -> None:
        super().__init__(message)
        self.at, self.depth = at, depth


class _TrailingTextError(_CallError):
    """Something else than the next call behind one that reads."""


class _Parser:
    def __init__(self, text: str, tools: ToolNames) -> None:
        self._text, self._tools = text, tools
        self._literals: dict[int, tuple[Any, int] | LiteralError] = {}
        self._ranks: dict[int, int] = {}
        self._budget = 16 * len(text) + 10_000
        self._ends: dict[str, list[int]] = {"'": [], '"': []}
        for match in _CLOSING_QUOTE.finditer(text):
            self._ends[match[0]].append(match.start())
        # From each closing quote on, the nearest one of at least this rank, or -1.
        self._nearest = {
            (quote, rank): [-1] * (len(ends) + 1)
            for quote, ends in self._ends.items()
            for rank in _RANKS
        }
        self._rank_ends()

    def parse(self, closed: bool) -> ParsedCalls:
        found = ParsedCalls()
        opening = _OPENING.match(self._text)
        assert opening
        at: int | None = opening.end()
        may_be_cut = not closed and opening[1] and not self._text.rstrip().endswith("]")
        while at is not None and not _END.match(self._text, at):
            start = at
            try:
                call, behind = self._read_call(at)
                at = self._next_call(behind)
                if at is None and may_be_cut:  # perhaps within its last string
                    raise _CallError(f"{call.name}: the call is cut off", behind)
                found.calls.append(call)
            except _TrailingTextError as error:
                found.calls.append(call)
                at = self._refuse(found, behind, error)
            except _CallError as error:
                at = self._refuse(found, start, error)
        return found

    def _refuse(self, found: ParsedCalls, start: int, error: _CallError) -> int | None:
        following = self._recover(error.at, error.depth)
        text = self._text[start:following].strip(" \t\r\n,;")
        found.errors.append(InvalidToolCall(text, str(error)))
        return following

    def _next_call(self, at: int) -> int | None:
        step = self._after_call(at)
        if step.call is None and step.rank < _ALL_READS:
            got = excerpt(self._text, at)
            raise _TrailingTextError(f"expected ',' or ']', got {got}", at, depth=0)
        return step.at if step.call else None

    def _recover(self, at: int, depth: int) -> int | None:
        """Where the next call begins behind one that cannot be read."""
        endless = set()
        while token := _SKIPPED.search(self._text, at):
            at = token.end()
            if token[0] in _SKIPPED_STRING_END:
                end = token[0] not in endless and _SKIPPED_STRING_END[token[0]].search(
                    self._text, at
                )
                if end:
                    at = end.end()
                else:
                    endless.add(token[0])
            elif token[0] in "([{":
                depth += 1
            elif token[0] in ")]}":
                depth = max(depth - 1, 0)
            if depth == 0:
                call = _NEXT_CALL.match(self._text, at if token[0] == ")" else token.start())
                if call and (not self._tools or call[1] in self._tools):
                    return call.end()
        return None

    def _read_call(self, at: int) -> tuple[ToolCall, int]:
        match = _CALL.match(self._text, at)
        if not match:
            raise _CallError(f"expected a call, got {excerpt(self._text, at)}", at, depth=0)
        name, at = match[1], match.end()
        arguments: dict[str, Any] = {}
        close = _CLOSE.match(self._text, at)
        while not close:
            at = self._read_argument(name, at, arguments)
            close = _CLOSE.match(self._text, at)
            if not close:
                comma = _COMMA.match(self._text, at)
                if not comma:
                    got = excerpt(self._text, at)
                    raise _CallError(f"{name}: expected ',' or ')', got {got}", at)
                at = comma.end()
        return ToolCall(name, arguments), close.end()

    def _read_argument(self, call: str, at: int, arguments: dict[str, Any]) -> int:
        match = _ARGUMENT.match(self._text, at)
        if not match:
            got = excerpt(self._text, at)
            raise _CallError(f"{call}: expected name=value, got {got}", at)
        name, at = match[1], match.end()
        if name is None:
            value, end = self._literal(at, call)
            if not isinstance(value, dict):
                raise _CallError(f"{call}: expected an object, got {excerpt(self._text, at)}", at)
            arguments.update(value)
            return end
        if name in arguments:
            raise _CallError(f"{call}: {name} is given twice", at)
        if string := _STRING.match(self._text, at):
            end = self._string_end(string, call, name, arguments)
            if end < 0:
                got = excerpt(self._text, at)
                raise _CallError(f"{call}: {name}: the string {got} does not end", at)
            arguments[name] = self._string(string, end)
            return end + 1
        arguments[name], end = self._literal(at, f"{call}: {name}")
        return end

    def _literal(self, at: int, where: str) -> tuple[Any, int]:
        read = self._literals.get(at)
        try:
            read = read or read_literal(self._text, at)
        except LiteralError as error:
            read = error
        if isinstance(read, LiteralError):
            raise _CallError(f"{where}: {read}", at)
        return read

    def _string(self, opening: re.Match[str], end: int) -> str:
        prefix, quote = opening[1].lower(), opening[2]
        text = self._text[opening.end() : end]
        if prefix == "f" and "{" in text:
            raise _CallError("a string with {} in it is no literal", opening.start())
        if prefix == "r" or not _ESCAPED_QUOTE.search(text):
            return text
        return text if _BARE_QUOTE[quote].search(text) else unescape(text)

    def _string_end(
        self, opening: re.Match[str], call: str, name: str, used: Container[str]
    ) -> int:
        """Position of the quote that ends a string, or -1."""
        start, quote = opening.end(), opening[2]
        first = {rank: self._nearest_end(quote, start, rank) for rank in _RANKS}
        at, end, open_brackets = start, first[_LIST_READS], 0
        while end >= 0 and self._budget > 0:
            between = self._text[at:end]
            open_brackets += sum(map(between.count, "([{")) - sum(map(between.count, ")]}"))
            rank = self._ranks[end + 1]
            reads = rank == _ALL_READS or (rank == _CALL_READS and open_brackets == 0)
            if reads and self._goes_on(start, end, call, name, used):
                return end
            self._budget -= end + 1 - at
            at, end = end, self._nearest_end(quote, end + 1, _LIST_READS)
        for end in first.values():
            if end >= 0:
                return end
        ends = self._ends[quote]
        index = bisect_left(ends, start)  # the error will be found behind it
        return ends[index] if index < len(ends) and self._step(ends[index] + 1) else -1

    def _goes_on(self, start: int, end: int, call: str, name: str, used: Container[str]) -> bool:
        """Whether the names behind a string's possible end are ones that can follow."""
        if self._text.find(self._text[end], start) == end:
            return True
        step = self._step(end + 1)
        assert step
        if step.parameter is not None:
            tool = self._tools.get(call)
            if step.parameter == name or step.parameter in used:
                return False
            return tool is None or tool.names is None or step.parameter in tool.names
        return step.call is None or not self._tools or step.call in self._tools

    def _nearest_end(self, quote: str, start: int, rank: int) -> int:
        return self._nearest[quote, rank][bisect_left(self._ends[quote], start)]

    def _rank_ends(self) -> None:
        """Ranks the closing quotes from right to left, since a rank rests on those behind it."""
        index = {quote: len(ends) for quote, ends in self._ends.items()}
        for end in sorted([*self._ends["'"], *self._ends['"']], reverse=True):
            quote = self._text[end]
            index[quote] -= 1
            found = self._rank(end + 1)
            for rank in _RANKS:
                nearest = self._nearest[quote, rank]
                nearest[index[quote]] = end if found >= rank else nearest[index[quote] + 1]

    def _rank(self, at: int) -> int:
        """How far the text reads on from behind a value."""
        path: list[tuple[int, bool]] = []
        while (rank := self._ranks.get(at)) is None:
            step = self._step(at)
            path.append((at, step is not None and step.call is not None))
            if step is None or (step.call is None and step.parameter is None):
                rank = step.rank if step else _DEAD
                break
            behind = self._behind_value(step)
            if isinstance(behind, _Rank):
                rank = behind.rank
                break
            at = behind
        for position, ends_call in reversed(path):
            rank = max(rank, _CALL_READS) if ends_call else rank
            self._ranks[position] = rank
        return rank

    def _behind_value(self, step: _Step) -> int | _Rank:
        """Position behind the value to come, or the rank of one whose rank is known."""
        at = step.at
        if step.call is not None:
            call = _CALL.match(self._text, at)
            assert call
            if _CLOSE.match(self._text, call.end()):
                return call.end()
            argument = _ARGUMENT.match(self._text, call.end())
            if not argument:
                return _Rank(_DEAD)
            at = argument.end()
        if string := _STRING.match(self._text, at):
            for rank in _RANKS:
                if self._nearest_end(string[2], string.end(), rank) >= 0:
                    return _Rank(rank)
            return _Rank(_DEAD)
        return self._behind_literal(at)

    def _behind_literal(self, at: int) -> int | _Rank:
        """Reads ahead, within bounds: what begins in different places may be read again."""
        if at not in self._literals:
            if self._budget < 0:
                return _Rank(_DEAD)
            try:
                value, reached = read_literal(self._text, at)
                self._literals[at] = value, reached
            except LiteralError as error:
                self._literals[at] = error.with_traceback(None)
                reached = error.at
            self._budget -= reached - at
        read = self._literals[at]
        return _Rank(_DEAD) if isinstance(read, LiteralError) else read[1]

    def _step(self, at: int) -> _Step | None:
        """What follows a value that ends at `at`, or None where none can end."""
        if close := _CLOSE.match(self._text, at):
            step = self._after_call(close.end())
            return step if step.call or step.rank else None
        comma = _COMMA.match(self._text, at)
        argument = _ARGUMENT.match(self._text, comma.end()) if comma else None
        return _Step(argument.end(), parameter=argument[1] or "**") if argument else None

    def _after_call(self, at: int) -> _Step:
        if _END.match(self._text, at):
            return _Step(at, rank=_ALL_READS)
        if following := _NEXT_CALL.match(self._text, at):
            return _Step(following.end(), call=following[1])
        return _Step(at, rank=_LIST_READS if _LIST_END.match(self._text, at) else _DEAD)
