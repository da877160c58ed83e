"""The rules of calls in tags, as LFM3 writes them: `<function=f>`, `<parameter=a>`, a value.

A value has no quotes: a parameter that is a string takes any text that does not hold `</parameter>`
(or those of its enum, and JSON where they stand beside other types), any other JSON.
`lfm_edge.chat.xml_calls` reads both as they were meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from operator import and_
from typing import Any, NoReturn

from ..chat.string_types import definition, strings_of
from ..chat.xml_calls import PARAMETER_NAME
from ..errors import InvalidRequestError
from .grammars import lark_string

__all__ = ["tag_rules"]

_END = "\n</parameter>\n"
_NO_END = r"~/(?s:.*<\/parameter>.*)/"
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

_Choice = dict[str, Any]
_Refuse = Callable[..., NoReturn]


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
                choices = _choices(schema, parameters, set(), refuse)
            except RecursionError:
                refuse("references nest too deep")
            rules += _text_rules(value, choices, json if strings[key].others else None, refuse)
        else:
            rules.append(f"{value}: {json}")
        rules.append(f"{argument}: {lark_string(f'<parameter={key}>' + chr(10))} {value}")
    opening = lark_string(f"<function={name}>\n")
    return [f'call_{index}: {opening} {" ".join(arguments)} "</function>"', *rules]


def _text_rules(rule: str, choices: list[_Choice], json: str | None, refuse: _Refuse) -> list[str]:
    """The rules of a text, or of null, that one of the choices allows, or else of `json`."""
    texts, lengths = set[str](), set[str]()
    refused = None
    for choice in choices:
        types, values = choice.get("type"), choice.get("enum")
        if types is None or "string" in types:
            if values is not None:
                texts |= values - {None}
            elif keyword := next((keyword for keyword in _REFUSED if keyword in choice), None):
                refused = keyword
            else:
                least, most = choice.get("minLength", 0), choice.get("maxLength")
                lengths.add(f"{{{int(least)},{'' if most is None else int(most)}}}")
        if (None in values if values is not None else types) and (not types or "null" in types):
            texts.add("null")
    if refused and not lengths:
        why = ", for this model writes strings without quotes"
        refuse(f"keyword {refused!r} is not supported", why)
    if not (texts or lengths or json):
        refuse("no text is allowed")
    bodies = [lark_string(text + _END) for text in sorted(texts)] + ([json] if json else [])
    free = [f"{rule}_{number}" for number in range(len(lengths))]
    return [f"{rule}: {' | '.join([*bodies, *free])}"] + [
        f'{name}[suffix="\\n</parameter>\\n"]: /(?s:.{length})/ & {_NO_END}'
        for name, length in zip(free, sorted(lengths), strict=True)
    ]


def _choices(
    schema: Any, root: Mapping[str, Any], seen: set[str], refuse: _Refuse
) -> list[_Choice]:
    """What a schema says of a string: one of these, without references and choices.

    `seen` has the references that were followed: none is followed twice.
    """
    if not isinstance(schema, Mapping):
        return [{}] if schema is True else []
    found = [_own(schema)]
    groups = [schema[keyword] for keyword in ("anyOf", "oneOf") if keyword in schema]
    groups += [[part] for part in schema.get("allOf", ())]
    if (reference := schema.get("$ref")) is not None:
        groups.append([] if reference in seen else [definition(reference, root)])
        seen.add(reference)
    for group in groups:
        parts = [choice for part in group for choice in _choices(part, root, seen, refuse)]
        if len(found) * len(parts) > _MOST_CHOICES:
            refuse(f"there are more than {_MOST_CHOICES} choices")
        found = [_both(one, other) for one in found for other in parts]
    return found


def _own(schema: Mapping[str, Any]) -> _Choice:
    own = {key: schema[key] for key in ("minLength", "maxLength", *_REFUSED) if key in schema}
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
