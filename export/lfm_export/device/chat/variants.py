"""Finds the format of a template: its head, turns and end, and the options that change them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

from .blocks import EMPTY, FALSY, Asked, ask_slot, cases_of, conditions_of, empty_kinds
from .calls import example_calls
from .fit import JSON_FORMS, fit
from .probe import (
    Failure,
    InexpressibleError,
    Observed,
    Patient,
    Probe,
    message,
    without_end,
    without_start,
)
from .spelling import MISSING, Action, Spelling, spell
from .turns import content_spelling, turn_blocks

__all__ = ["find_template"]

_MOST_VARIANTS = 8
_LEAD = {"role": "user", "content": "Zqleadjx"}
_TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": f"zqtool{number}jx",
            "description": 'It\'s "<b>" & \u00e9\u2028\n',
            "parameters": {"type": "object", "properties": {"z": {}, "a": {"enum": [1.5, None]}}},
        },
    }
    for number in (1, 2)
]
_WORD = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_KEYWORDS = frozenset(
    (
        *("if", "elif", "else", "endif", "for", "in", "endfor", "recursive", "loop", "set"),
        *("endset", "macro", "endmacro", "call", "endcall", "filter", "endfilter", "block"),
        *("endblock", "with", "endwith", "raw", "endraw", "break", "continue", "generation"),
        *("endgeneration", "is", "not", "and", "or", "none", "true", "false", "None", "True"),
        *("False", "defined", "string", "mapping", "iterable", "messages", "tools"),
        *("add_generation_prompt", "documents", "clock", "self"),
    )
)


def find_template(template: Patient, source: str, given: Mapping[str, str]) -> dict[str, Any]:
    """What a chat format says of one template.

    Args:
        template: what is asked.
        source: its text.
        given: the variables that it always sees.

    Raises:
        InexpressibleError: it does what no format says.
    """
    names = _names(source)
    plain = Probe(template, source, {})
    options = {
        name: states
        for name in names
        if name not in given and (states := _states(template, source, plain, name))
    }
    count = 1
    for states in options.values():
        count *= 1 + len(states)
    if count > _MOST_VARIANTS:
        raise InexpressibleError(f"it has too many options: {', '.join(options)}")
    variants = []
    choices = [[*states, None] for states in options.values()]
    for values in itertools.product(*choices):
        when = {
            name: value for name, value in zip(options, values, strict=True) if value is not None
        }
        variants.append({"when": when, **_variant(Probe(template, source, when))})
    return {
        "options": list(options),
        "reserved": sorted({*names, *given, "documents"} - {*options, "add_generation_prompt"}),
        "variants": variants,
    }


def _names(source: str) -> list[str]:
    """What may be names of options: the words of its code."""
    code = " ".join(re.findall(r"\{[{%](.*?)[%}]\}", source, re.DOTALL))
    code = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", "''", code)
    return [name for name in dict.fromkeys(_WORD.findall(code)) if name not in _KEYWORDS]


def _states(template: Patient, source: str, plain: Probe, name: str) -> list[bool]:
    """The values with which an option changes something; none where it is not an option."""
    chats: list[tuple[list[Any], list[Any] | None]] = [
        ([message("system", content="a"), *_thoughts()], _TOOLS),
        (_thoughts(), None),
        ([_LEAD, message("tool", content="b"), message("user", content=[{"type": "image"}])], None),
    ]
    found = []
    for value in (True, False):
        probe = Probe(template, source, {name: value})
        texts = [(probe.render(*chat, end=True), plain.render(*chat, end=True)) for chat in chats]
        if any(isinstance(one, Failure) and one != two for one, two in texts):
            return []  # a function, or another name that has to be what it is
        if any(one != two for one, two in texts):
            found.append(value)
    return found


def _thoughts() -> list[dict[str, Any]]:
    """Two turns, in which much was thought."""
    first = message("assistant", content="a</think>b", thinking="c", tool_calls=example_calls())
    last = message("assistant", content="e</think>f", thinking="g")
    return [_LEAD, first, message("tool", content="d"), last, message("user", content="h"), last]


def _variant(probe: Probe) -> dict[str, Any]:
    turns = turn_blocks(probe)
    end = {"": [], "generation_prompt": _end(probe)}
    variant: dict[str, Any] = {"head": _head(probe), "turns": turns, "end": end}
    empty = probe.render([])
    if isinstance(empty, Failure):
        variant["no_messages"] = empty.action()
    if most := _most_turns(probe):
        variant["most_turns"] = most
    return variant


def _end(probe: Probe) -> Any:
    with_end = probe.render([_LEAD], end=True)
    if isinstance(with_end, Failure):
        return with_end.action()
    return probe.pieces(without_start(with_end, probe.require([_LEAD])), {})


def _most_turns(probe: Probe) -> int | None:
    signs = [f"Zq{number}turnjx" for number in range(96)]
    text = probe.render([message("user", content=sign) for sign in signs])
    if isinstance(text, Failure):
        return None
    count = sum(sign in text for sign in signs)
    return count if count < len(signs) else None


def _head(probe: Probe) -> dict[str, Any]:
    """What stands before the turns: of a system message that is not one of them, and of tools."""
    lead = probe.turn(_LEAD)
    if isinstance(lead, Failure):
        raise InexpressibleError(lead.text)

    def ask_with(role: str) -> Any:
        def ask(values: Mapping[str, Any]) -> Observed:
            first = [message(role, content=values["system"])] if "system" in values else []
            text = probe.render([*first, _LEAD], values.get("tools"))
            return text if isinstance(text, Failure) else without_end(text, lead)

        return ask

    takes = [role for role in ("system", "developer") if _is_taken(probe, ask_with(role), role)]
    ask = ask_with("system")
    tools = _tools_action(lambda value: ask({"tools": value}))
    slots: dict[str, Asked] = {}
    if takes:
        slots["system"] = Asked("Zqsystemjx", "Zqsystemjx", EMPTY, FALSY)
    if tools is not None:
        text = spell({"list": tools}, _TOOLS, True, "").text
        slots["tools"] = Asked(_TOOLS, text, [[]])
    conditions = conditions_of(ask, slots)
    found: dict[str, Any] = {}
    for name, condition in conditions.items():
        slot = found[name] = {"if": condition} if condition else {}
        if name == "tools":
            slot["spell"] = {"list": tools}
        else:
            spelling = _system_spelling(ask, slots, condition, probe)
            spelling.pop("missing", None)
            slot["spell"] = {**spelling, **_without_content(ask, condition)}
            tools_too = {"tools": _TOOLS} if "tools" in slots else {}
            if condition in ("truthy", "text") and (
                (kinds := empty_kinds(ask, name, tools_too)) is not None
            ):
                slot["empty"] = kinds
    flagged = [name for name, condition in conditions.items() if condition]
    return {
        "takes": takes,
        "slots": found,
        "cases": cases_of(ask, slots, conditions, flagged, probe, {}),
    }


def _system_spelling(
    ask: Any, slots: Mapping[str, Asked], condition: str | None, probe: Probe
) -> Spelling:
    """How a system message is written, as far as that is the same with tools and without."""
    alone = content_spelling(ask_slot(ask, slots, "system", condition, ()), probe)
    if "tools" not in slots:
        return alone
    beside = content_spelling(ask_slot(ask, slots, "system", condition, ("tools",)), probe)
    return {kind: action for kind, action in alone.items() if beside.get(kind) == action}


def _without_content(ask: Any, condition: str | None) -> Spelling:
    """What a system message without content is: none, an empty one or an error.

    Nothing where that depends on whether there are tools.
    """
    found = [
        (ask({**tools, "system": MISSING}), ask({**tools, "system": ""}), ask(tools))
        for tools in ({}, {"tools": _TOOLS})
    ]
    first = found[0][0]
    if isinstance(first, Failure) and all(missing == first for missing, _, _ in found):
        return {"missing": first.action()}
    is_empty = condition in (None, "given")
    if all(missing == (empty if is_empty else none) for missing, empty, none in found):
        return {"missing": ""}
    return {}


def _is_taken(probe: Probe, ask: Any, role: str) -> bool:
    """Whether a first message of this role is written otherwise than a later one."""
    for content in ("Zqsystemjx", "", " \n", MISSING):
        turn = probe.turn(message(role, content=content))
        for tools in ({}, {"tools": _TOOLS}):
            head, whole = ask(tools), ask({**tools, "system": content})
            if isinstance(turn, Failure) or isinstance(head, Failure):
                if whole != (head if isinstance(head, Failure) else turn):
                    return True
            elif whole != head + turn:
                return True
    return False


def _tools_action(observe: Any) -> Action | None:
    """How the list of tools is written; None if it is not."""
    text = observe(_TOOLS)
    if isinstance(text, Failure) or text == observe(None):
        return None
    mixed: list[Any] = ["zqtextjx", _TOOLS[0]]
    samples = [(value, observe(value)) for value in (_TOOLS, _TOOLS[:1], mixed)]
    for form in [{"as": "text"}, *JSON_FORMS]:
        members: list[Any] = [
            {"as": "pieces", "pieces": [{"member": "function", "spell": {"dict": form}}]}
        ]
        for item in ({"dict": form, "str": {"as": "text"}}, {"*": form}, {"dict": members[0]}):
            action: dict[str, Any] = {"as": "each", "item": item}
            one = spell({"list": action}, _TOOLS[:1], False, "").text
            two = spell({"list": action}, _TOOLS[1:], False, "").text
            match = re.search(re.escape(one) + "(.*?)" + re.escape(two), text, re.DOTALL)
            if match is None:
                continue
            action |= {"separator": match[1]} if match[1] else {}
            checked = samples if "dict" not in item or "str" in item else samples[:2]
            wrapped = fit(checked, iter([action]))
            if isinstance(wrapped, dict) and "as" in wrapped:
                return {
                    key: value for key, value in wrapped.items() if key not in ("before", "after")
                }
        whole = fit(samples, iter([form]))
        if isinstance(whole, dict) and "as" in whole:
            return {key: value for key, value in whole.items() if key not in ("before", "after")}
    raise InexpressibleError("how the list of tools is written")
