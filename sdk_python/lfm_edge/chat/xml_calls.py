"""Reads calls written as LFM3 writes them.

Each stands between `<tool_call>` and `</tool_call>`:

    <function=get_weather>
    <parameter=city>
    Martha's Vineyard
    </parameter>
    </function>

**Where a value ends.** Values are written as they are, without escapes, so one may hold any of
these tags. A `</parameter>` ends it only where the call can go on, before `<parameter=NAME>` or the
function's last tag, and where no `<parameter=NAME>` in the value is still open; so a value may hold
a whole call. A list or an object ends where its brackets do, whatever its strings hold. One line
break at either end is not the value's.

**What a value is.** A parameter that its tool says to be a string is that text, whatever it looks
like; where the tool lists its strings and allows other types too, only the listed are. Any other is
what a JSON or Python literal stands for, and the text where it is none.

Source: the response templates of the checkpoints, as transformers' `chat_parsing` reads them
(`xml-inline`).
"""

from __future__ import annotations

import re
from typing import Any

from .bracket_calls import FUNCTION_NAME
from .calls import InvalidToolCall, ParsedCalls, StringValues, ToolCall, ToolNames
from .literals import LiteralError, excerpt, read_literal

__all__ = ["PARAMETER_NAME", "XML_CALL", "parse_xml_calls"]

XML_CALL = re.compile(r"(?:<tool_call>\s*+)?+<function=")
"""How a block of such calls begins."""

PARAMETER_NAME = r"[^>\n]{1,128}+"
"""What may stand in `<parameter=NAME>`; white space around it is not the name's."""

_SPACE = re.compile(r"\s*+")
_VALUE_END = re.compile(r"</parameter>\s*+")
_BETWEEN = re.compile(r"(?:\s|</?tool_call>)*+")
_FUNCTION = re.compile(rf"<function=\s*+({FUNCTION_NAME})\s*+>\s*+")
_NEXT_FUNCTION = re.compile(rf"<function=\s*+{FUNCTION_NAME}\s*+>")
_FUNCTION_END = re.compile(r"</function>")
_PARAMETER = re.compile(rf"<parameter=({PARAMETER_NAME})>")
_TAG = re.compile(rf"<parameter={PARAMETER_NAME}>|</parameter>\s*+")
_BEHIND_VALUE = re.compile(
    rf"<parameter={PARAMETER_NAME}>|</function>\s*+(?:\Z|<function=|</?tool_call>)|\Z"
)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
_WORDS = {"true", "false", "null", "True", "False", "None"}
_NULLS = {"null", "None"}
_ATTEMPTS = 8  # at literals that end elsewhere, so that time stays linear


def parse_xml_calls(text: str, tools: ToolNames, *, closed: bool) -> ParsedCalls:
    """Reads the calls of `text`; one that cannot be read leaves its siblings.

    Args:
        text: one block or several, with the markers or without.
        tools: the known tools; empty if they are not known.
        closed: whether the block was closed by its marker. Where it was not, a call without its
            last tag may be cut off and is refused.
    """
    return _Parser(text, tools).parse(closed)


class _CallError(ValueError):
    """A call that cannot be read.

    Args:
        message: what is wrong.
        at: where.
    """

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


class _Parser:
    def __init__(self, text: str, tools: ToolNames) -> None:
        self._text, self._tools = text, tools
        self._budget = len(text) // 4 + 1000  # of tags looked at, so that time stays linear
        self._attempts = _ATTEMPTS

    def parse(self, closed: bool) -> ParsedCalls:
        found = ParsedCalls()
        at = self._behind(_BETWEEN, 0)
        while at < len(self._text):
            start = at
            try:
                call, at = self._read_call(at, closed)
                found.calls.append(call)
            except _CallError as error:
                following = _NEXT_FUNCTION.search(self._text, max(error.at, start + 1))
                at = following.start() if following else len(self._text)
                refused = self._text[start:at].removesuffix("<tool_call>").rstrip()
                found.errors.append(InvalidToolCall(refused, str(error)))
            at = self._behind(_BETWEEN, at)
        return found

    def _read_call(self, at: int, closed: bool) -> tuple[ToolCall, int]:
        function = _FUNCTION.match(self._text, at)
        if not function:
            raise _CallError(f"expected <function=NAME>, got {excerpt(self._text, at)}", at)
        name, at = function[1], function.end()
        arguments: dict[str, Any] = {}
        if self._text.startswith("{", at):
            at = self._read_object(name, at, arguments)
        while not (end := _FUNCTION_END.match(self._text, at)):
            if at == len(self._text):
                if closed:  # only the tag was forgotten
                    return ToolCall(name, arguments), at
                raise _CallError(f"{name}: the call is cut off", at)
            at = self._read_parameter(name, at, arguments)
        return ToolCall(name, arguments), end.end()

    def _read_object(self, name: str, at: int, arguments: dict[str, Any]) -> int:
        """Arguments as one JSON object, as other models write them between such tags."""
        try:
            value, end = read_literal(self._text, at)
        except LiteralError as error:
            raise _CallError(f"{name}: {error}", error.at) from None
        if not isinstance(value, dict):
            raise _CallError(f"{name}: expected an object, got {excerpt(self._text, at)}", at)
        arguments.update(value)
        return self._behind(_BETWEEN, end)

    def _read_parameter(self, call: str, at: int, arguments: dict[str, Any]) -> int:
        opening = _PARAMETER.match(self._text, at)
        if not opening:
            got = excerpt(self._text, at)
            raise _CallError(f"{call}: expected <parameter=NAME> or </function>, got {got}", at)
        name, begin = opening[1].strip(), opening.end()
        if name in arguments:
            raise _CallError(f"{call}: {name} is given twice", begin)
        end = self._literal_end(call, name, begin) or self._value_end(begin)
        if end is None:
            raise _CallError(f"{call}: {name}: expected </parameter> behind the value", begin)
        text = self._text[begin : end.start()]
        arguments[name] = self._value(call, name, text.removeprefix("\n").removesuffix("\n"))
        return end.end()

    def _literal_end(self, call: str, name: str, begin: int) -> re.Match[str] | None:
        """The tag that ends a list or an object, or None where there is none."""
        start = self._behind(_SPACE, begin)
        strings = self._strings(call, name)
        if self._text[start : start + 1] not in ("{", "[") or (strings and not strings.others):
            return None
        if self._attempts == 0:
            return None
        self._attempts -= 1
        try:
            _, at = read_literal(self._text, start)
        except LiteralError:
            return None
        if "\n</parameter>" in self._text[start:at]:  # no string of JSON's, but one that is open
            return None
        tag = _VALUE_END.match(self._text, self._behind(_SPACE, at))
        if tag is None or not _BEHIND_VALUE.match(self._text, tag.end()):
            return None
        self._attempts += 1
        return tag

    def _value_end(self, begin: int) -> re.Match[str] | None:
        """The tag that ends a value, or None where there is none at all."""
        first = likely = None
        opened = 0
        for tag in _TAG.finditer(self._text, begin):
            if self._budget <= 0:
                break
            self._budget -= 1
            if not tag[0].startswith("</"):
                opened += 1
                continue
            first = first or tag
            if _BEHIND_VALUE.match(self._text, tag.end()):
                if not opened:
                    return tag
                likely = likely or tag
            opened = max(opened - 1, 0)
        return likely or first

    def _value(self, call: str, name: str, text: str) -> Any:
        stripped = text.strip()
        if strings := self._strings(call, name):
            if strings.null and stripped in _NULLS and text not in strings.texts:
                return None
            if text in strings.texts or not strings.others:
                return text
        if not (stripped[:1] in ("{", "[") or stripped in _WORDS or _NUMBER.fullmatch(stripped)):
            return text
        try:
            value, end = read_literal(stripped, 0)
        except LiteralError:
            return text
        return value if end == len(stripped) else text

    def _strings(self, call: str, name: str) -> StringValues | None:
        tool = self._tools.get(call)
        return tool.strings.get(name) if tool else None

    def _behind(self, pattern: re.Pattern[str], at: int) -> int:
        match = pattern.match(self._text, at)
        return match.end() if match else at
