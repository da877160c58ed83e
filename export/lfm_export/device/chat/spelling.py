"""How values are written: the actions of a chat format, as docs/chat_format.md describes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lfm_edge.errors import InvalidRequestError, TemplateError

from .marked import Marked, joined, trimmed

__all__ = ["MISSING", "Action", "Spelling", "kind_of", "raise_error", "spell", "truthy"]

Action = str | dict[str, Any]
"""One way to write a value; a string is written in its place."""
Spelling = dict[str, Action]
"""Actions by the kind of value."""

MISSING = object()
"""The value of a member that is not there."""

_KINDS = {str: "str", bool: "bool", int: "int", float: "float", list: "list", dict: "dict"}


def kind_of(value: Any) -> str:
    """How Python calls the value's type; "missing" where there is none."""
    if value is MISSING:
        return "missing"
    return _KINDS.get(type(value), "null")


def truthy(value: Any) -> bool:
    """What a template's `if` takes it for."""
    return value is not MISSING and bool(value)


def spell(spelling: Spelling, value: Any, theirs: bool, where: str) -> Marked:
    """`value`, written as its kind is; `where` names it in messages.

    Raises:
        TemplateError: the template does.
        InvalidRequestError: the format does not know how to write such a value.
    """
    action = spelling.get(kind_of(value), spelling.get("*"))
    if action is None:
        raise InvalidRequestError(
            f"{where}: got a {kind_of(value)}, which the chat format has no way to write"
        )
    return _run(action, value, theirs, where)


def raise_error(action: Mapping[str, Any], role: str = "") -> None:
    """Raises what the template raises, if `action` says that it does."""
    for kind, prefix in (("refuses", "refused the messages"), ("fails", "failed")):
        if kind in action:
            pieces = (piece if isinstance(piece, str) else role for piece in action[kind])
            text = " ".join("".join(pieces).split())
            raise TemplateError(f"the chat template {prefix}: {text[:500]}")


def _run(action: Action, value: Any, theirs: bool, where: str) -> Marked:
    if isinstance(action, str):
        return Marked(action)
    raise_error(action)
    written = joined(_written(action, value, theirs, where))
    for name, piece in (("after_last", -1), ("after_first", 1)):
        if name in action and action[name] in written.text:
            parts = written.text.split(action[name], -1 if piece < 0 else 1)
            written = written.part(len(written.text) - len(parts[piece]), len(written.text))
            if "then_trim" in action:
                written = trimmed(written, action["then_trim"], action.get("trim_characters"))
    if "trim" in action:
        written = trimmed(written, action["trim"], action.get("trim_characters"))
    return joined([Marked(action.get("before", "")), written, Marked(action.get("after", ""))])


def _written(action: dict[str, Any], value: Any, theirs: bool, where: str) -> Iterator[Marked]:
    match action["as"]:
        case "text":
            if isinstance(value, str):
                yield Marked.of(value, theirs)
            else:
                yield from _python(value, theirs)
        case "repr":
            yield from _python(value, theirs)
        case "json":
            yield from _Json(action, theirs).any(value, 0)
        case "each":
            for index, item in enumerate(value):
                yield Marked(action.get("separator", "") if index else "")
                yield spell(action["item"], item, theirs, f"{where}[{index}]")
        case "entries":
            yield from _entries(action, value, theirs, where)
        case "typed":
            kind = value.get("type")
            known = action["types"].get(kind) if isinstance(kind, str) else None
            yield _run(action["else"] if known is None else known, value, theirs, where)
        case "pieces":
            yield from _pieces(action, value, theirs, where)


def _pieces(action: dict[str, Any], value: Any, theirs: bool, where: str) -> Iterator[Marked]:
    """Members of an object between texts; those of its member `within`, if the action names one."""
    if "within" in action:
        inner = value.get(action["within"], MISSING)
        if inner is MISSING and action.get("without") != "itself":
            raise_error(action["without"])
        if inner is not MISSING and not isinstance(inner, dict):
            raise InvalidRequestError(f"{where}.{action['within']}: expected an object")
        value = value if inner is MISSING else inner
    for piece in action["pieces"]:
        if isinstance(piece, str):
            yield Marked(piece)
        else:
            name = piece["member"]
            inside = value.get(name, MISSING)
            yield spell(piece["spell"], inside, theirs, f"{where}.{name}")


def _entries(action: dict[str, Any], value: Any, theirs: bool, where: str) -> Iterator[Marked]:
    order = list(value)
    if action.get("order") == "sorted":
        if not all(name.isascii() for name in order):
            raise InvalidRequestError(f"{where}: expected names of ASCII, which can be sorted")
        order.sort(key=str.lower)
    for index, name in enumerate(order):
        yield Marked(action.get("separator", "") if index else "")
        yield Marked(action.get("before_name", ""))
        yield Marked.of(name, theirs)
        yield Marked(action.get("between", ""))
        yield spell(action["value"], value[name], theirs, f"{where}.{name}")
        yield Marked(action.get("after_value", ""))


def _python(value: Any, theirs: bool) -> Iterator[Marked]:
    """As Python's repr writes it."""
    if isinstance(value, str):
        yield _quoted(repr(value), theirs)
    elif isinstance(value, list):
        yield Marked("[")
        for index, item in enumerate(value):
            yield Marked(", " if index else "")
            yield from _python(item, theirs)
        yield Marked("]")
    elif isinstance(value, dict):
        yield Marked("{")
        for index, (name, item) in enumerate(value.items()):
            yield Marked(", " if index else "")
            yield _quoted(repr(name), theirs)
            yield Marked(": ")
            yield from _python(item, theirs)
        yield Marked("}")
    else:
        yield Marked("" if value is MISSING else repr(value))


def _quoted(text: str, theirs: bool) -> Marked:
    """A string with its quotes, which are the template's."""
    return joined([Marked(text[0]), Marked.of(text[1:-1], theirs), Marked(text[-1])])


class _Json:
    """As json.dumps writes it."""

    def __init__(self, action: Mapping[str, Any], theirs: bool) -> None:
        self._theirs = theirs
        self._ascii = bool(action.get("ascii"))
        self._sorted = bool(action.get("sorted"))
        self._indent: int | None = action.get("indent")
        default = (", " if self._indent is None else ",", ": ")
        self._comma, self._colon = action.get("separators", default)

    def any(self, value: Any, depth: int) -> Iterator[Marked]:
        if isinstance(value, str):
            yield self._string(value)
        elif isinstance(value, list):
            yield Marked("[")
            for index, item in enumerate(value):
                yield self._before(index, depth)
                yield from self.any(item, depth + 1)
            yield self._after("]", bool(value), depth)
        elif isinstance(value, dict):
            yield Marked("{")
            names = sorted(value) if self._sorted else list(value)
            for index, name in enumerate(names):
                yield self._before(index, depth)
                yield self._string(name)
                yield Marked(self._colon)
                yield from self.any(value[name], depth + 1)
            yield self._after("}", bool(value), depth)
        else:
            yield Marked(json.dumps(value))

    def _string(self, text: str) -> Marked:
        return _quoted(json.dumps(text, ensure_ascii=self._ascii), self._theirs)

    def _before(self, index: int, depth: int) -> Marked:
        comma = self._comma if index else ""
        if self._indent is None:
            return Marked(comma)
        return Marked(comma + "\n" + " " * (self._indent * (depth + 1)))

    def _after(self, bracket: str, full: bool, depth: int) -> Marked:
        if self._indent is None or not full:
            return Marked(bracket)
        return Marked("\n" + " " * (self._indent * depth) + bracket)
