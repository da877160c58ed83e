"""Finds how an answer's calls are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .fit import JSON_FORMS, fit, fit_spelling
from .probe import Failure, InexpressibleError, Observed, common_prefix, common_suffix
from .spelling import MISSING, Action

__all__ = ["calls_action", "example_calls"]

_NAMES = ("zqonejx", "zqtwojx")
_VALUE_KINDS = ("str", "int", "float", "bool", "null", "list", "dict")
_RICH = {"zb": 'it\'s "<\u00e9>"', "Za": [1, None, {"x": True}], "zc": 2.5, "zd": {}}

Ask = Callable[[list[Any]], Observed]


def example_calls() -> list[Any]:
    """Calls to be recognized by."""
    return [_call(name, {}) for name in _NAMES]


def _call(name: str, arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": _bare(name, arguments)}


def _bare(name: str, arguments: Any) -> dict[str, Any]:
    return {"name": name, **({} if arguments is MISSING else {"arguments": arguments})}


def calls_action(ask: Ask) -> Action | None:
    """The action that writes a list of calls; None if the template writes none.

    Args:
        ask: what the template writes of a message with these calls.
    """
    for make in (_call, _bare):
        two = ask([make(name, {}) for name in _NAMES])
        if not isinstance(two, Failure) and any(name in two for name in _NAMES):
            return _Calls(ask, make, two).action()
    return None


class _Calls:
    """Takes apart what the template writes of calls.

    Args:
        ask: what the template writes of a message with these calls.
        make: makes a call of a name and arguments.
        two: what it writes of two calls.
    """

    def __init__(self, ask: Ask, make: Callable[[str, Any], dict[str, Any]], two: str) -> None:
        self._ask = ask
        self._make = make
        parts = _split(two, _NAMES)
        if parts is None:
            raise InexpressibleError("calls are not written one after the other")
        self._start, middle, end = parts
        self._before = common_suffix(self._start, middle)
        middle = middle[: len(middle) - len(self._before)]
        self._behind = common_prefix(middle, end)
        self._separator = middle[len(self._behind) :]
        self._end = end[len(self._behind) :]

    def action(self) -> Action:
        one = self._ask([self._make(_NAMES[0], {})])
        if one != f"{self._start}{_NAMES[0]}{self._behind}{self._end}":
            raise InexpressibleError("how a call is written depends on the others")
        opening, arguments, closing = _arguments(self._arguments, self._behind)
        without = self._arguments(MISSING)
        if isinstance(without, Failure):
            missing: Action = without.action()
        else:
            missing = without.removeprefix(opening).removesuffix(closing)
        before, name = self._before, "text"
        if before.endswith('"') and opening.startswith('"'):  # the name is a string of JSON
            before, opening, name = before[:-1], opening[1:], "json"
        pieces = [
            before,
            {"member": "name", "spell": {"str": {"as": name}}},
            opening,
            {"member": "arguments", "spell": {"dict": arguments, "missing": missing}},
            closing,
        ]
        call: dict[str, Any] = {"as": "pieces", "pieces": [p for p in pieces if p != ""]}
        if self._make is _call:
            bare = self._ask([_bare(_NAMES[0], {})])
            call |= {"within": "function", "without": _without(bare, one)}
        calls: dict[str, Any] = {"as": "each", "item": {"dict": call}}
        return {**calls, "separator": self._separator} if self._separator else calls

    def _arguments(self, value: Any) -> Observed:
        """What stands behind the name of a call with these arguments, up to the call's end."""
        text = self._ask([self._make(_NAMES[0], value)])
        if isinstance(text, Failure):
            return text
        start = self._start + _NAMES[0]
        if not text.startswith(start) or not text.endswith(self._end):
            return Failure(text)
        return text[len(start) : len(text) - len(self._end)]


def _without(bare: Observed, wrapped: str) -> Action:
    """What becomes of a call that is not wrapped in `function`."""
    if isinstance(bare, Failure):
        return bare.action()
    if bare == wrapped:
        return "itself"
    raise InexpressibleError("a call without `function` is written in another way")


def _arguments(observe: Callable[[Any], Observed], empty: str) -> tuple[str, Action, str]:
    """What stands before the arguments, how they are written, and what stands behind."""
    samples: list[Any] = [{"zqkeyjx": 73251}, _RICH, {}, {"b": 1, "A": {"d": 1, "c": 2}}]
    observed = [(value, observe(value)) for value in samples]
    whole = fit(observed, iter([*JSON_FORMS, {"as": "text"}]))
    if isinstance(whole, dict) and "as" in whole:
        opening, closing = whole.pop("before", ""), whole.pop("after", "")
        return opening, whole, closing
    two = observe({"zqonekeyjx": 73251, "zqtwokeyjx": 84962})
    if isinstance(two, Failure):
        raise InexpressibleError(f"arguments of calls: {two.text}")
    parts = _split(two, ("zqonekeyjx", "73251", "zqtwokeyjx", "84962"))
    if parts is None:
        raise InexpressibleError("arguments of calls are written neither one by one nor as JSON")
    first, between, middle, again, last = parts
    opening = common_prefix(empty, first)
    closing = empty[len(opening) :]
    before_name = first[len(opening) :]
    after_value = last.removesuffix(closing)
    separator = middle.removeprefix(after_value).removesuffix(before_name)
    if after_value + separator + before_name != middle or between != again:
        raise InexpressibleError("arguments of calls are not written one after the other")

    def value_of(value: Any) -> Observed:
        text = observe({"zqonekeyjx": value})
        start = first + "zqonekeyjx" + between
        end = after_value + closing
        if isinstance(text, Failure) or not text.startswith(start) or not text.endswith(end):
            return text if isinstance(text, Failure) else Failure(text)
        return text[len(start) : len(text) - len(end)]

    spelling = fit_spelling(value_of, _VALUE_KINDS)
    if not {*_VALUE_KINDS} <= {*spelling} and "*" not in spelling:
        absent = [kind for kind in _VALUE_KINDS if kind not in spelling]
        raise InexpressibleError(f"how it writes an argument that is a {absent[0]}")
    texts = {
        "before_name": before_name,
        "between": between,
        "after_value": after_value,
        "separator": separator,
    }
    action: dict[str, Any] = {"as": "entries", "value": spelling}
    action |= {name: text for name, text in texts.items() if text}
    mixed: dict[str, Any] = {"b": 1, "A": 2, "c": 3, "a1": 4}
    ordered = [(mixed, observe(mixed))]
    wrapped = {**action, "before": opening, "after": closing}
    for candidate in (wrapped, {**wrapped, "order": "sorted"}):
        if fit(ordered, iter([candidate])) == candidate:
            order = {"order": "sorted"} if "order" in candidate else {}
            return opening, {**action, **order}, closing
    raise InexpressibleError("the order of a call's arguments")


def _split(text: str, signs: tuple[str, ...]) -> list[str] | None:
    parts = []
    for sign in signs:
        if text.count(sign) != 1:
            return None
        part, text = text.split(sign)
        parts.append(part)
    return [*parts, text]
