"""Finds the cases of a block: what stands around its slots, and when a slot is written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .fit import Observe
from .probe import Failure, InexpressibleError, Observed, Probe
from .spelling import MISSING, kind_of, truthy

__all__ = [
    "EMPTY",
    "FALSY",
    "Asked",
    "Block",
    "ask_slot",
    "cases_of",
    "conditions_of",
    "empty_kinds",
]

Block = dict[str, Any]
_EMPTY_VALUES: tuple[Any, ...] = ("", [], 0, 0.0, False, {})
Ask = Callable[[Mapping[str, Any]], Observed]
"""What the template writes where these slots have these values, and the others none."""


FALSY: Sequence[Any] = ([], 0, False)
EMPTY: Sequence[Any] = ("", " \n", [{"type": "text", "text": ""}])


@dataclass(frozen=True)
class Asked:
    """A slot to ask for.

    Attributes:
        sign: a value that the template writes as `text`.
        text: its text.
        empty: values that a condition may take for none, the plainest first.
        falsy: further values that are none to an `if`.
    """

    sign: Any
    text: str
    empty: Sequence[Any]
    falsy: Sequence[Any] = ()


def conditions_of(ask: Ask, slots: Mapping[str, Asked]) -> dict[str, str | None]:
    """When each slot is written: "given", "truthy", "text" or None for always.

    A slot without influence is left out.
    """
    found = {name: _condition(ask, slots, name) for name in slots}
    return {name: condition for name, condition in found.items() if condition != "unused"}


def _condition(ask: Ask, slots: Mapping[str, Asked], name: str) -> str | None:
    others = {other: slot.sign for other, slot in slots.items() if other != name}
    slot = slots[name]
    full, without = ask({**others, name: slot.sign}), ask(others)
    if isinstance(full, Failure) and others:
        others, full, without = {}, ask({name: slot.sign}), ask({})
    if full == without:
        return "unused"
    if isinstance(full, Failure):
        return "given"
    empty = ask({**others, name: slot.empty[0]})
    bare = full.replace(slot.text, "")
    if bare in (without, empty) and (isinstance(without, Failure) or bare == without == empty):
        return _condition_of_empty_text(ask, slot, others, name, bare)
    if empty != without:
        return "given"
    odd = [value for value in slot.empty[1:] if truthy(value)]
    return "text" if any(ask({**others, name: value}) == without for value in odd) else "truthy"


def _condition_of_empty_text(
    ask: Ask, slot: Asked, others: Mapping[str, Any], name: str, bare: str
) -> str | None:
    """For a slot that is written as nothing where it is empty: other empty values tell."""
    falsy = [ask({**others, name: value}) for value in slot.falsy]
    return "truthy" if falsy and all(text == bare for text in falsy) else None


def empty_kinds(ask: Ask, name: str, beside: Mapping[str, Any]) -> list[str] | None:
    """The kinds of values of which an empty one is no value; None if all are.

    Args:
        ask: what the template writes.
        name: a slot that is left out where its value is empty.
        beside: another slot with which that has to hold too.
    """
    kinds = [
        kind_of(value)
        for value in _EMPTY_VALUES
        if all(ask({**more, name: value}) == ask(more) for more in ({}, beside))
    ]
    return None if len(kinds) == len(_EMPTY_VALUES) else kinds


def cases_of(
    ask: Ask,
    slots: Mapping[str, Asked],
    conditions: Mapping[str, str | None],
    conditional: Sequence[str],
    probe: Probe,
    places: Mapping[str, Any],
    role: str = "",
) -> dict[str, Any]:
    """What is written for each choice of `conditional` slots; the others always are."""
    always = {name: slots[name].sign for name in conditions if name not in conditional}
    signs = {slots[name].text: {"write": name} for name in conditions}
    cases: dict[str, Any] = {}
    for chosen in itertools.product((False, True), repeat=len(conditional)):
        names = [name for name, is_in in zip(conditional, chosen, strict=True) if is_in]
        text = ask({**always, **{name: slots[name].sign for name in names}})
        if isinstance(text, Failure):
            cases["+".join(names)] = text.action(role)
        else:
            cases["+".join(names)] = probe.pieces(text, {**signs, **places})
    return cases


def ask_slot(
    ask: Ask, slots: Mapping[str, Asked], name: str, condition: str | None, beside: Sequence[str]
) -> Observe:
    """What a slot writes of a value, without what stands around it; None where it writes none.

    Args:
        ask: what the template writes.
        slots: all slots.
        name: the slot.
        condition: when it is written.
        beside: other slots that have to be there.
    """
    others = {other: slots[other].sign for other in beside if other != name}
    full = ask({**others, name: slots[name].sign})
    if isinstance(full, Failure) or full.count(slots[name].text) != 1:
        raise InexpressibleError(f"{name} is not written once")
    before, after = full.split(slots[name].text)

    def observe(value: Any) -> Observed | None:
        if condition and (value is MISSING or (condition != "given" and not truthy(value))):
            return None
        text = ask({**others, name: value})
        if isinstance(text, Failure):
            return text
        if condition == "text" and text == ask(others):
            return ""
        fits = text.startswith(before) and text.endswith(after)
        if not fits or len(text) < len(before) + len(after):
            return Failure(text)
        return text[len(before) : len(text) - len(after)]

    return observe
