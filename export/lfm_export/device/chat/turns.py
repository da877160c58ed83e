"""Finds what a message of each role becomes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .blocks import EMPTY, FALSY, Ask, Asked, Block, ask_slot, cases_of, conditions_of
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
    *("x", "xu", "xuxu", "ux", "uxu", "uxux", "uxx", "uxt", "uxtx", "uxtxu", "uxs"),
    *("uxxuux", "uxtux"),
)
"""Chats in which x is the role that is asked for."""
_LETTERS = {"u": "user", "t": "tool", "s": "system"}
_FIELDS = ("thinking", "reasoning_content", "reasoning")
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
    if _observed(probe, MISSING) != _observed(probe, ""):
        blocks["missing"] = _block(probe, MISSING)
    else:
        blocks["missing"] = _with_role(blocks["*"], "")
    return blocks


def _observed(probe: Probe, role: Any) -> list[Any]:
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
    return _Role(probe, role).block()


class _Role:
    """Asks for one role."""

    def __init__(self, probe: Probe, role: Any) -> None:
        self._probe = probe
        self._role = role
        self._field = self._thinking_field()
        self._slots: dict[str, Asked] = {"thinking": _THINKING} if self._field else {}
        self._slots["content"] = _CONTENT
        self._conditions: dict[str, str | None] = {}

    def block(self) -> Block:
        shown = self._role if self._role == UNKNOWN_ROLE else ""
        plain = [self._ask({}), self._ask({"content": "a"}), self._ask({"content": []})]
        if isinstance(plain[0], Failure) and all(other == plain[0] for other in plain):
            return {"slots": {}, "cases": {"": plain[0].action(shown)}}
        calls = calls_action(lambda calls: self._ask({"content": _CONTENT.sign, "calls": calls}))
        if calls is not None:
            text = spell({"list": calls}, example_calls(), True, "").text
            self._slots["calls"] = Asked(example_calls(), text, [[]])
        self._conditions = conditions_of(self._ask, self._slots)
        if "calls" in self._conditions:
            self._conditions["calls"] = "given"  # an empty list of calls is dropped beforehand
        slots = {
            name: {"if": "given", "spell": {"list": calls}} if name == "calls" else self._slot(name)
            for name in self._conditions
        }
        flagged = [name for name, slot in slots.items() if is_flagged(slot)]
        places = {UNKNOWN_ROLE: {"write": "role"}} if shown else {}
        cases = cases_of(
            self._ask, self._slots, self._conditions, flagged, self._probe, places, shown
        )
        return {"slots": slots, "cases": cases}

    def _slot(self, name: str) -> dict[str, Any]:
        """That of what was thought, or of the content."""
        condition = self._conditions[name]
        slot: dict[str, Any] = {"if": condition} if condition else {}
        slot |= self._kept(name)
        if name == "thinking":
            return {
                "field": self._field,
                **slot,
                "spell": _thinking(self._observe(self._ask, name)),
            }
        slot["spell"] = content_spelling(self._observe(self._ask, name), self._probe)
        if "keep" in slot:
            slot["past"] = content_spelling(self._observe(self._ask_earlier, name), self._probe)
        return slot

    def _ask(self, values: Mapping[str, Any]) -> Observed:
        return self._probe.turn(self._message(values))

    def _ask_earlier(self, values: Mapping[str, Any]) -> Observed:
        """What an earlier turn becomes, by whatever rule."""
        last = message(self._role, content="Zqlastjx")
        return self._probe.turn(self._message(values), [message("user", content="Zqlaterjx"), last])

    def _message(self, values: Mapping[str, Any]) -> dict[str, Any]:
        fields = {"thinking": self._field or "thinking", "calls": "tool_calls"}
        return message(self._role, **{fields.get(name, name): v for name, v in values.items()})

    def _observe(self, ask: Ask, name: str) -> Observe:
        beside = [
            other
            for other, condition in self._conditions.items()
            if other == "content" or not condition
        ]
        return ask_slot(ask, self._slots, name, self._conditions[name], beside)

    def _thinking_field(self) -> str | None:
        """The field that holds what was thought; None if the template does not write it."""
        signs = {name: f"Zq{name}jx" for name in _FIELDS}
        text = self._probe.turn(message(self._role, content=_CONTENT.sign, **signs))
        if isinstance(text, Failure):
            return None
        written = [name for name in _FIELDS if signs[name] in text]
        if len(written) > 1:
            raise InexpressibleError("what was thought is written twice")
        return written[0] if written else None

    def _kept(self, name: str) -> dict[str, str]:
        """Which turns keep what was thought, if not all do."""
        seen = [found for shape in _SHAPES for found in self._shown(name, shape)]
        if not any(shown for _, _, shown in seen):
            return {}
        for rule, holds in RULES.items():
            if all(holds(roles, at) == shown for roles, at, shown in seen):
                return {} if rule == "always" else {"keep": rule}
        raise InexpressibleError(
            "which turns keep what was thought follows none of the rules that there are"
        )

    def _shown(self, name: str, shape: str) -> list[tuple[list[Any], int, bool]]:
        """All roles of a chat of this shape, and which thoughts of the role are shown."""
        if shape[0] == "x" and self._role == "system":
            return []  # the first one may be another's
        messages, signs = [], {}
        for at, letter in enumerate(shape):
            text, thought = f"Zq{at}contentjx", f"Zq{at}thoughtjx"
            if letter != "x":
                messages.append(message(_LETTERS[letter], content=text))
                continue
            signs[at] = thought
            values = {"content": text, "thinking": thought}
            if name == "content":
                values = {"content": f"{thought}{_THINK_END}{text}"}
            messages.append(self._message(values))
        whole = self._probe.render(messages)
        if isinstance(whole, Failure):
            return []
        roles = [given.get("role", MISSING) for given in messages]
        return [(roles, at, thought in whole) for at, thought in signs.items()]


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
