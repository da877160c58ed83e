"""Finds what a message of each role becomes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .blocks import EMPTY, FALSY, Asked, Block, ask_slot, cases_of, conditions_of
from .calls import calls_action, example_calls
from .fit import SAMPLES, Observe, fit_parts, fit_spelling
from .format import RULES, is_flagged
from .probe import Failure, InexpressibleError, Observed, Probe, message
from .spelling import MISSING, Spelling, spell

__all__ = ["UNKNOWN_ROLE", "content_spelling", "turn_blocks"]

UNKNOWN_ROLE = "zqrolejx"
_ROLES = ("assistant", "user", "tool", "system", "developer", "function")
_CONTENT = Asked("Zqcontentjx", "Zqcontentjx", EMPTY, FALSY)
_THINKING = Asked("Zqthinkingjx", "Zqthinkingjx", EMPTY, FALSY)
_SHAPES = (
    "ux",
    "uxu",
    "uxux",
    "uxtx",
    "uxtxu",
    "uxx",
    "xu",
    "x",
    "xuxu",
    "uxt",
    "uxs",
    "uxxuux",
    "uxtux",
)
_THINK_END = "</think>"
_OTHER_KINDS = ("int", "float", "bool", "dict", "missing")


def turn_blocks(probe: Probe) -> dict[str, Block]:
    """Blocks by role; "*" is that of all others, "missing" that of a message without one."""
    blocks = {"*": _block(probe, UNKNOWN_ROLE)}
    named = [text for text in probe.strings if re.fullmatch("[a-z_]{2,24}", text)]
    for role in dict.fromkeys([*_ROLES, *named]):
        if role in _ROLES[:2] or not _is_like_others(probe, role):
            block = _block(probe, role)
            if block != _with_role(blocks["*"], role):
                blocks[role] = block
    if _observed(probe, MISSING) != _observed(probe, "", UNKNOWN_ROLE):
        blocks["missing"] = _block(probe, MISSING)
    else:
        blocks["missing"] = _with_role(blocks["*"], "")
    return blocks


def _observed(probe: Probe, role: Any, shown: str = "") -> list[Any]:
    """What a few messages of this role become."""
    parts = [{"type": "text", "text": "a"}, {"type": "image", "text": "b"}]
    contents: list[Any] = ["Zqcontentjx", f" a{_THINK_END} b ", "", MISSING, parts, [], 3]
    asked = [message(role, content=content) for content in contents]
    asked += [message(role, content="a", thinking=thought) for thought in ("", "b")]
    asked += [message(role, content="a", tool_calls=example_calls())]
    return [probe.turn(given) for given in asked]


def _is_like_others(probe: Probe, role: str) -> bool:
    others = _observed(probe, UNKNOWN_ROLE)
    expected = [
        other.replace(UNKNOWN_ROLE, role)
        if isinstance(other, str)
        else Failure(other.text.replace(UNKNOWN_ROLE, role))
        for other in others
    ]
    return expected == _observed(probe, role)


def _with_role(block: Block, role: str) -> Block:
    """The block of all roles with one's name written out."""
    return {**block, "cases": {name: _named(case, role) for name, case in block["cases"].items()}}


def _named(case: Any, role: str) -> Any:
    if isinstance(case, dict):
        return {kind: _named(pieces, role) for kind, pieces in case.items()}
    named: list[Any] = []
    for piece in case:
        text = role if piece == {"write": "role"} else piece
        if isinstance(text, str) and named and isinstance(named[-1], str):
            named[-1] += text
        elif text != "":
            named.append(text)
    return named


def _block(probe: Probe, role: Any) -> Block:
    """The block of one role, whose name stands in its texts unless it is the unknown one."""

    def ask(values: Mapping[str, Any], **more: Any) -> Observed:
        fields = {"tool_calls" if name == "calls" else name: v for name, v in values.items()}
        fields = {field if name == "thinking" else name: v for name, v in fields.items()}
        return probe.turn(message(role, **fields), **more)

    field = "thinking"
    shown = role if role == UNKNOWN_ROLE else ""
    plain = [ask({}), ask({"content": "Zqcontentjx"}), ask({"content": []})]
    if isinstance(plain[0], Failure) and all(other == plain[0] for other in plain):
        return {"slots": {}, "cases": {"": plain[0].action(shown)}}
    slots = {"content": _CONTENT}
    field = _thinking_field(probe, role) or ""
    if field:
        slots = {"thinking": _THINKING, **slots}
    action = calls_action(lambda calls: ask({"content": "Zqcontentjx", "calls": calls}))
    if action is not None:
        text = spell({"list": action}, example_calls(), True, "").text
        slots = {**slots, "calls": Asked(example_calls(), text, [[]])}
    conditions = conditions_of(ask, slots)
    if "calls" in conditions:
        conditions["calls"] = "given"  # an empty list of calls is dropped beforehand
    found: dict[str, Any] = {}
    for name, condition in conditions.items():
        slot: dict[str, Any] = {"field": field} if name == "thinking" else {}
        slot |= {"if": condition} if condition else {}
        if name == "calls":
            slot["spell"] = {"list": action}
        else:
            beside = [other for other in conditions if other == "content" or not conditions[other]]
            observe = ask_slot(ask, slots, name, condition, beside)
            slot |= _kept(probe, role, name, field)
            slot["spell"] = (
                content_spelling(observe, probe) if name == "content" else _thinking(observe)
            )
            if slot.get("keep") and name == "content":
                then = [message("user", content="Zqlaterjx"), message(role, content="Zqlastjx")]
                past = ask_slot(
                    lambda values: ask(values, then=then),
                    slots,
                    name,
                    condition,
                    beside,  # noqa: B023
                )
                slot["past"] = content_spelling(past, probe)
        found[name] = slot
    flagged = [name for name, slot in found.items() if is_flagged(slot)]
    places = {UNKNOWN_ROLE: {"write": "role"}} if shown else {}
    return {
        "slots": found,
        "cases": cases_of(ask, slots, conditions, flagged, probe, places, shown),
    }


def _thinking_field(probe: Probe, role: Any) -> str | None:
    """The field that holds what was thought; None if the template does not write it."""
    names = ("thinking", "reasoning_content", "reasoning")
    signs = {name: f"Zq{name}jx" for name in names}
    text = probe.turn(message(role, content="Zqcontentjx", **signs))
    if isinstance(text, Failure):
        return None
    written = [name for name in names if signs[name] in text]
    if len(written) > 1:
        raise InexpressibleError("what was thought is written twice")
    return written[0] if written else None


def content_spelling(observe: Observe, probe: Probe) -> Spelling:
    """How content is written, as a text and as a list of parts.

    Raises:
        InexpressibleError: that cannot be said.
    """
    spelling = fit_spelling(observe, ("str", *_OTHER_KINDS))
    if "str" not in spelling:
        text = SAMPLES["str"][1]
        raise InexpressibleError(f"content such as {text!r} becomes {observe(text)!r}")
    types = [text for text in probe.strings if re.fullmatch("[a-z_]{2,24}", text)]
    parts = fit_parts(observe, [name for name in types if name != "text"])
    if parts is None:
        example = [{"type": "text", "text": "a"}, {"type": "image", "url": "b"}]
        raise InexpressibleError(f"content such as {example} becomes {observe(example)!r}")
    return {**spelling, "list": parts}


def _thinking(observe: Observe) -> Spelling:
    spelling = fit_spelling(observe, ("str", "missing"))
    if "str" not in spelling:
        raise InexpressibleError("what was thought is not written as it is")
    return spelling


def _kept(probe: Probe, role: Any, name: str, field: str) -> dict[str, str]:
    """Which turns keep what was thought, if not all do."""
    seen: list[tuple[list[Any], int, bool]] = []
    for shape in _SHAPES:
        messages, signs = [], {}
        for at, letter in enumerate(shape):
            text = f"Zq{at}contentjx"
            sign = f"Zq{at}thoughtjx"
            if letter != "x":
                other = {"u": "user", "t": "tool", "s": "system"}[letter]
                messages.append(message(other, content=text))
                continue
            signs[at] = sign
            if name == "content":
                messages.append(message(role, content=f"{sign}{_THINK_END}{text}"))
            else:
                messages.append(message(role, content=text, **{field: sign}))
        if shape[0] == "x" and role == "system":
            continue
        text = probe.render(messages)
        if isinstance(text, str):
            roles = [given.get("role") for given in messages]
            seen += [(roles, at, sign in text) for at, sign in signs.items()]
    if not any(shown for _, _, shown in seen):
        return {}
    for rule, holds in RULES.items():
        if all(holds(roles, at) == shown for roles, at, shown in seen):
            return {} if rule == "always" else {"keep": rule}
    raise InexpressibleError("which turns keep what was thought follows none of the known rules")
