"""What a chat format says, done in Python: the reference for the device core, and its proof.

`docs/chat_format.md` describes the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lfm_edge.chat.messages import normalize_messages
from lfm_edge.errors import InvalidRequestError, TemplateError

from .marked import Marked, joined
from .spelling import MISSING, kind_of, raise_error, spell, truthy

__all__ = [
    "FORMAT_VERSION",
    "RULES",
    "is_flagged",
    "render_chat",
    "render_template",
    "render_variant",
]

FORMAT_VERSION = 1
_HEAD = frozenset({"system", "tools"})
_TRUSTED_ROLES = frozenset({"system", "developer", "assistant"})


def _last(roles: list[Any], role: str) -> int:
    return max((index for index, other in enumerate(roles) if other == role), default=-1)


RULES: dict[str, Callable[[list[Any], int], bool]] = {
    "always": lambda _roles, _at: True,
    "after_last_user": lambda roles, at: at > _last(roles, "user"),
    "last_of_role": lambda roles, at: at == _last(roles, roles[at]),
    "last_turn": lambda roles, at: at == len(roles) - 1,
    "never": lambda _roles, _at: False,
}
"""Which turns keep what was thought: of all turns' roles and a turn's place."""


def render_chat(
    section: Mapping[str, Any],
    messages: list[Any],
    tools: list[Any] | None,
    options: Mapping[str, Any],
    clock: datetime,
    add_generation_prompt: bool = True,
) -> Marked:
    """The prompt of a bundle's chat.

    Raises:
        TemplateError: the template raises it.
        InvalidRequestError: the messages are malformed, or the format cannot write them.
    """
    templates = section["templates"]
    if tools is not None and "tool_use" in templates:
        template = templates["tool_use"]
    elif "default" in templates:
        template = templates["default"]
    else:
        raise TemplateError(
            f"the model has the chat templates {', '.join(section['names'])}, "
            "but no default one, which a chat without tools needs"
        )
    made = render_template(template, messages, tools, options, clock, add_generation_prompt)
    if not made.text:
        raise TemplateError("the chat template made an empty prompt of these messages")
    return made


def render_template(
    template: Mapping[str, Any],
    messages: list[Any],
    tools: list[Any] | None,
    options: Mapping[str, Any],
    clock: datetime,
    add_generation_prompt: bool = True,
) -> Marked:
    """The prompt by one of the templates."""
    for name, value in options.items():
        if name in template["reserved"]:
            raise InvalidRequestError(
                f"template_options: {name!r} cannot be set on a device; remove it"
            )
        if name in template["options"] and not isinstance(value, bool):
            raise InvalidRequestError(f"template_options: {name!r}: expected true or false")
    if "add_generation_prompt" in options:
        add_generation_prompt = truthy(options["add_generation_prompt"])
    variant = next(
        variant
        for variant in template["variants"]
        if all(options.get(name) is value for name, value in variant["when"].items())
    )
    return render_variant(variant, messages, tools, clock, add_generation_prompt)


def render_variant(
    variant: Mapping[str, Any],
    messages: list[Any],
    tools: list[Any] | None,
    clock: datetime,
    add_generation_prompt: bool = True,
) -> Marked:
    """The prompt under one choice of options."""
    turns = normalize_messages(messages)
    if not turns and "no_messages" in variant:
        raise_error(variant["no_messages"])
    taken = bool(turns) and turns[0].get("role") in variant["head"]["takes"]
    system = turns.pop(0).get("content", MISSING) if taken else MISSING
    head = _head(variant["head"], system, taken, tools, clock)
    roles = [turn.get("role", MISSING) for turn in turns]
    written = [
        _turn(variant["turns"], turn, roles, at, f"messages[{at + taken}]", clock)
        for at, turn in enumerate(turns[: variant.get("most_turns")])
    ]
    end = variant["end"]["generation_prompt" if add_generation_prompt else ""]
    return joined([head, *written, _case(end, {}, Marked(), clock)])


def _head(
    head: Mapping[str, Any], system: Any, taken: bool, tools: list[Any] | None, clock: datetime
) -> Marked:
    slots = dict(head["slots"])
    if taken and system is MISSING and "system" in slots:
        spell(slots["system"]["spell"], MISSING, False, "messages[0].content")
        system = ""
    values = {
        "system": _Value(system, taken, False, "messages[0].content"),
        "tools": _Value(tools, tools is not None, True, "tools"),
    }
    return _block(head, values, Marked(), clock, [], 0)


@dataclass(frozen=True)
class _Value:
    value: Any
    given: bool
    theirs: bool
    where: str


def _turn(
    blocks: Mapping[str, Any],
    turn: dict[str, Any],
    roles: list[Any],
    at: int,
    where: str,
    clock: datetime,
) -> Marked:
    role = turn.get("role", MISSING)
    if role is MISSING:
        block = blocks.get("missing")
    elif isinstance(role, str):
        block = blocks.get(role, blocks.get("*"))
    else:
        block = None
    if block is None:
        raise InvalidRequestError(
            f"{where}.role: got a {kind_of(role)}, which the chat format has no way to write"
        )
    theirs = role is MISSING or role not in _TRUSTED_ROLES
    fields = {"thinking": "thinking", "content": "content", "calls": "tool_calls"}
    if "thinking" in block["slots"]:
        fields["thinking"] = block["slots"]["thinking"]["field"]
    values = {
        name: _Value(
            turn.get(field, MISSING), field in turn, theirs or name == "calls", f"{where}.{field}"
        )
        for name, field in fields.items()
    }
    shown = Marked.of("" if role is MISSING else role, theirs)
    return _block(block, values, shown, clock, roles, at)


def _block(
    block: Mapping[str, Any],
    values: Mapping[str, _Value],
    role: Marked,
    clock: datetime,
    roles: list[Any],
    at: int,
) -> Marked:
    written: dict[str, Marked] = {}
    flags = []
    for name, slot in block["slots"].items():
        given = values[name]
        keeps = RULES[slot.get("keep", "always")](roles, at)
        shown = keeps or "past" in slot
        condition = slot.get("if")
        if condition:
            shown = shown and given.given and (condition == "given" or truthy(given.value))
            if given.given and not truthy(given.value) and "empty" in slot:
                _require_empty(slot["empty"], given)
        if shown and (given.given or name not in _HEAD):
            spelling = slot["spell"] if keeps else slot["past"]
            written[name] = spell(spelling, given.value, given.theirs, given.where)
            shown = condition != "text" or bool(written[name].text)
        if shown and is_flagged(slot):
            flags.append(name)
    return _case(block["cases"]["+".join(flags)], written, role, clock)


def _require_empty(kinds: list[str], given: _Value) -> None:
    """That an empty value of this kind is none to the template."""
    if kind_of(given.value) not in kinds:
        raise InvalidRequestError(
            f"{given.where}: got an empty {kind_of(given.value)}, "
            "which the chat format has no way to write"
        )


def is_flagged(slot: Mapping[str, Any]) -> bool:
    """Whether a slot may be missing from a block, which then has cases with and without it."""
    return "if" in slot or ("keep" in slot and "past" not in slot)


def _case(case: Any, written: Mapping[str, Marked], role: Marked, clock: datetime) -> Marked:
    if isinstance(case, dict):
        raise_error(case, role.text)
    return joined(_pieces(case, written, role, clock))


def _pieces(
    pieces: list[Any], written: Mapping[str, Marked], role: Marked, clock: datetime
) -> Iterator[Marked]:
    for piece in pieces:
        if isinstance(piece, str):
            yield Marked(piece)
        elif "date" in piece:
            yield Marked(clock.strftime(piece["date"]))
        else:
            yield role if piece["write"] == "role" else written.get(piece["write"], Marked())
