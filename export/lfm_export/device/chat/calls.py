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
    inside = "function"
    two, one = ask(example_calls()), ask(example_calls()[:1])
    if not isinstance(two, Failure) and _NAMES[0] not in two:
        two, one = ask([_bare(name, {}) for name in _NAMES]), ask([_bare(_NAMES[0], {})])
        inside = ""
    if isinstance(two, Failure) or isinstance(one, Failure):
        return None
    if [two.count(name) for name in _NAMES] != [1, 1] or one.count(_NAMES[0]) != 1:
        if any(name in two for name in _NAMES):
            raise InexpressibleError("calls are not written one after the other")
        return None
    start, rest = two.split(_NAMES[0])
    middle, end = rest.split(_NAMES[1])
    before = common_suffix(start, middle)
    behind = common_prefix(middle[: len(middle) - len(before)], end)
    separator = middle[len(behind) : len(middle) - len(before)]
    remainder = end[len(behind) :]
    if one != start + _NAMES[0] + behind + remainder:
        raise InexpressibleError("how a call is written depends on the others")

    def arguments(value: Any) -> Observed:
        text = ask([_call(_NAMES[0], value) if inside else _bare(_NAMES[0], value)])
        if isinstance(text, Failure):
            return text
        head = start + _NAMES[0]
        if not text.startswith(head) or not text.endswith(remainder):
            return Failure(text)
        return text[len(head) : len(text) - len(remainder)]

    opening, action, closing = _arguments(arguments, behind)
    spelling: dict[str, Action] = {"dict": action}
    missing = arguments(MISSING)
    if isinstance(missing, Failure):
        spelling["missing"] = missing.action()
    else:
        spelling["missing"] = missing.removeprefix(opening).removesuffix(closing)
    name_spelling: dict[str, Action] = {"str": {"as": "text"}}
    if before.endswith('"') and opening.startswith('"'):
        before, opening = before[:-1], opening[1:]
        name_spelling = {"str": {"as": "json"}}
    pieces = [
        before,
        {"member": "name", "spell": name_spelling},
        opening,
        {"member": "arguments", "spell": spelling},
        closing,
    ]
    call: dict[str, Any] = {"as": "pieces", "pieces": [piece for piece in pieces if piece != ""]}
    if inside:
        call |= {"within": inside, "without": _without(ask([_bare(_NAMES[0], {})]), one)}
    result: dict[str, Any] = {"as": "each", "item": {"dict": call}}
    return {**result, "separator": separator} if separator else result


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
