"""The rules of calls in tags, as LFM3 writes them: `<function=f>`, `<parameter=a>`, a value.

A value has no quotes: a parameter that is a string takes any text that does not hold `</parameter>`
(or those of its enum, and JSON where they stand beside other types), any other JSON.
`lfm_edge.chat.xml_calls` reads both as they were meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from operator import and_
from typing import Any, NamedTuple, NoReturn

from ..chat.calls import StringValues
from ..chat.string_types import definition, strings_of
from ..chat.xml_calls import PARAMETER_NAME
from ..errors import InvalidRequestError
from .grammars import lark_string

__all__ = ["tag_rules"]

_END = "\n</parameter>\n"
_LINE = lark_string("\n")
_QUOTES = ", for this model writes strings without quotes"
_MERGE: dict[str, Callable[[Any, Any], Any]] = {
    "type": and_,
    "enum": and_,
    "minLength": max,
    "maxLength": min,
}
"""What two schemas say of a string, where both must hold."""
_REFUSED = ("pattern", "format")
_MOST_CHOICES = 1000
_NO_STRING = ["object", "array", "number", "boolean", "null"]

_ANY = 10**9  # more characters than any text has
_LENGTHS = {"minLength": 0, "maxLength": _ANY}

_Choice = dict[str, Any]
_Refuse = Callable[..., NoReturn]


class _Allowed(NamedTuple):
    """What a value may be: these texts, those of these patterns, null.

    `refused` is a keyword for which some were left out.
    """

    texts: set[str]
    free: set[str]
    null: bool
    refused: str | None


def tag_rules(
    index: int,
    name: str,
    parameters: Mapping[str, Any],
    properties: Mapping[str, Any],
    required: set[str],
    json_rule: Callable[[Any], str],
) -> list[str]:
    """The rules of one tool's calls; that of a whole call is `call_INDEX`.

    Args:
        index: of the tool.
        name: the tool's.
        parameters: its JSON Schema, of what is supported.
        properties: those of `parameters` that a call may give.
        required: the names of those that it has to give.
        json_rule: the expression for JSON that a schema allows.

    Raises:
        InvalidRequestError: a parameter's name cannot stand in a tag, or a string is to have a
            pattern or a format, which a text in tags cannot be held to.
    """
    strings = strings_of(parameters)
    rules, arguments = [], []
    for place, (key, schema) in enumerate(properties.items()):

        def refuse(what: str, why: str = "", *, key: str = key) -> NoReturn:
            raise InvalidRequestError(f"tool {name!r}: {what} at #/properties/{key}{why}")

        if key != key.strip() or not re.fullmatch(PARAMETER_NAME, key):
            refuse(f"the name {key!r} cannot stand in <parameter=NAME>")
        argument, value = f"argument_{index}_{place}", f"value_{index}_{place}"
        arguments.append(argument if key in required else f"{argument}?")
        json = f"{json_rule(_without_strings(schema))} {lark_string(_END)}"
        if key in strings:
            try:
                choices = _choices(schema, parameters, {}, refuse)
            except RecursionError:
                refuse("references nest too deep")
            rules += _text_rules(value, choices, strings[key], json, refuse)
        else:
            rules.append(f"{value}: {json}")
        rules.append(f"{argument}: {lark_string(f'<parameter={key}>' + chr(10))} {value}")
    opening = lark_string(f"<function={name}>\n")
    return [f'call_{index}: {opening} {" ".join(arguments)} "</function>"', *rules]


def _text_rules(
    rule: str, choices: list[_Choice], strings: StringValues, json: str, refuse: _Refuse
) -> list[str]:
    """The rules of a text, or of null, that one of the choices allows.

    Args:
        rule: the name of the first.
        choices: what the schema says of the value.
        strings: how the value will be read.
        json: the expression for values of other types, where they may stand beside strings.
        refuse: raises what is wrong.
    """
    allowed = _allowed(choices)
    if allowed.refused and not allowed.free:
        refuse(f"keyword {allowed.refused!r} is not supported", _QUOTES)
    if not (any(allowed) or strings.others):
        refuse("no text is allowed")
    if wrong := next((text for text in sorted(allowed.texts) if "</parameter>" in text), None):
        refuse(f"the text {wrong!r} cannot stand before </parameter>")
    # Reading knows less of the schema.
    free_as_other = allowed.free and (strings.others or (strings.null and not allowed.null))
    other_as_text = (allowed.null or strings.others) and strings.texts - allowed.texts
    if free_as_other or other_as_text:
        refuse("texts and other values may look alike", _QUOTES)
    texts = allowed.texts | ({"null"} if allowed.null else set())
    names = [f"{rule}_{number}" for number in range(len(allowed.free))]
    bodies = [_any_of(texts)] if texts else []
    bodies += [json] if strings.others else []
    bodies += [f"{name} {_LINE}" for name in names]
    return [f"{rule}: {' | '.join(bodies)}"] + [
        f'{name}[suffix="</parameter>"]: {text}'
        for name, text in zip(names, sorted(allowed.free), strict=True)
    ]


def _any_of(texts: set[str]) -> str:
    """One pattern: as alternatives of a rule, thousands would be too many."""
    return (
        f"/({'|'.join(lark_string(text)[1:-1] for text in sorted(texts))}){lark_string(_END)[1:]}"
    )


def _allowed(choices: list[_Choice]) -> _Allowed:
    texts, free = set[str](), set[str]()
    refused, null = None, False
    for choice in choices:
        types, values = choice.get("type"), choice.get("enum")
        if not types or "null" in types:
            null |= None in values if values is not None else bool(types)
        if types is not None and "string" not in types:
            continue
        least, most = (min(int(choice.get(key, other)), _ANY) for key, other in _LENGTHS.items())
        if keyword := next((keyword for keyword in _REFUSED if keyword in choice), None):
            refused = keyword
        elif values is not None:
            texts |= {text for text in values - {None} if least <= len(text) <= most}
        elif least <= most:
            free.add(_text(least, most))
    return _Allowed(texts, free, null, refused)


def _check_apart(parts: list[list[_Choice]], refuse: _Refuse) -> None:
    """That no text is of two parts of a `oneOf`."""
    texts, free, null = set[str](), False, False
    for part in parts:
        own = _allowed(part)
        any_text = bool(own.free or own.refused)
        if own.texts & texts or (own.null and null):
            refuse("parts of oneOf overlap")
        if (any_text and (free or texts)) or (free and own.texts):
            refuse("parts of oneOf may overlap")
        texts, free, null = texts | own.texts, free or any_text, null or own.null


def _text(least: int, most: int) -> str:
    """A pattern of any text of so many characters, and of a line's end behind it.

    The first `</parameter>` ends it, which must not come too early: among the first `least`
    characters there is no `<`, but at the beginning, and the last of them is no line's end. (A
    pattern that lets other tags stand there takes too many states.)
    """

    def some(so_far: int) -> str:
        return f".{{0,{'' if most == _ANY else most - so_far}}}\\n?"

    if least == 0:
        return f"/(?s:{some(0)})/"
    beginnings = [rf"[^<]{{{least - 1}}}[^<\n]{some(least)}"]
    if most > 1:
        more = rf"[^<]{{{least - 3}}}[^<\n]" if least > 2 else ""
        beginnings.append(rf"<[^<\/\n]{more}{some(max(least, 2))}")
    return f"/(?s:{'|'.join(beginnings)})/"


def _choices(
    schema: Any, root: Mapping[str, Any], known: dict[str, list[_Choice]], refuse: _Refuse
) -> list[_Choice]:
    """What a schema says of a string: one of these, without references and choices.

    `known` has what references say: nothing more where one comes back to itself.
    """
    if not isinstance(schema, Mapping):
        return [{}] if schema is True else []

    def among(parts: Iterable[Any]) -> list[_Choice]:
        return [choice for part in parts for choice in _choices(part, root, known, refuse)]

    groups = [among([part]) for part in schema.get("allOf", ())]
    groups += [among(schema["anyOf"])] if "anyOf" in schema else []
    if "oneOf" in schema:
        parts = [among([part]) for part in schema["oneOf"]]
        _check_apart(parts, refuse)
        groups.append([choice for part in parts for choice in part])
    if (reference := schema.get("$ref")) is not None:
        if reference not in known:
            known[reference] = []
            known[reference] = among([definition(reference, root)])
        groups.append(known[reference])
    found = [_own(schema)]
    for group in groups:
        if len(found) * len(group) > _MOST_CHOICES:
            refuse(f"there are more than {_MOST_CHOICES} choices")
        found = [_both(one, other) for one in found for other in group]
    return found


def _own(schema: Mapping[str, Any]) -> _Choice:
    own = {key: schema[key] for key in _REFUSED if key in schema}
    # Where a draft does not know what holds this part, nobody has checked it.
    own |= {key: schema[key] for key in _LENGTHS if isinstance(schema.get(key), (int, float))}
    if (named := schema.get("type")) is not None:
        names = named if isinstance(named, list) else [named]
        own["type"] = frozenset(name for name in names if isinstance(name, str))
    for values in (schema.get("enum"), [schema["const"]] if "const" in schema else None):
        if values is not None:
            texts = frozenset(value for value in values if value is None or isinstance(value, str))
            own = _both(own, {"enum": texts})
    return own


def _both(one: _Choice, other: _Choice) -> _Choice:
    merged = {
        keyword: _MERGE[keyword](one[keyword], other[keyword])
        for keyword in one.keys() & other.keys() & _MERGE.keys()
    }
    return {**one, **other, **merged}


def _without_strings(schema: Any) -> Any:
    """A schema held to what is read back as it was meant: strings would have no quotes."""
    rest = {"type": _NO_STRING}
    return rest if schema is True else {"allOf": [schema, rest]}
