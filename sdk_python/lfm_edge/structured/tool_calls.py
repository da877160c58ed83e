"""A grammar of well-formed tool calls in the model's own syntax.

`<|tool_call_start|>[fn(a="x", n=3), other.fn()]<|tool_call_end|>`, or LFM3's tags: names and the
order of the arguments are the tool's, values are what its schema allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..chat.markers import CALL_ENDS, CALL_START, XML_CALL_START
from ..chat.tools import Tool
from ..errors import InvalidRequestError
from ..tokenizer import Tokenizer
from .grammars import JSON_OPTIONS, json_text, lark_string
from .json_schema import ANNOTATIONS, check_schema, references
from .tag_calls import tag_rules

__all__ = ["CallMarkers", "tool_call_grammar"]

_DEFINITIONS = ("$defs", "definitions")
_ROOT_KEYWORDS = {"type", "properties", "required", "additionalProperties", *_DEFINITIONS}


@dataclass(frozen=True)
class CallMarkers:
    """The ids of `<|tool_call_start|>` and `<|tool_call_end|>`, or of LFM3's."""

    start: int
    """The id of the one before calls."""
    end: int
    """The id of the one behind them."""
    tags: bool = False
    """Whether they are `<tool_call>` and `</tool_call>`: each call stands in tags of its own."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> CallMarkers:
        """Those of a tokenizer.

        Args:
            tokenizer: the bundle's, `model.tokenizer`.

        Raises:
            InvalidRequestError: it has none, so that calls cannot be forced.
        """
        for marker, marker_end in CALL_ENDS.items():
            start, end = map(tokenizer.added_id, (marker, marker_end))
            if start is not None and end is not None:
                return cls(start, end, tags=marker == XML_CALL_START)
        raise InvalidRequestError(
            f"the tokenizer has neither {CALL_START} nor {XML_CALL_START}, so calls cannot be "
            "forced; leave the choice to the model (auto)"
        )


def tool_call_grammar(
    tools: Sequence[Tool | Mapping[str, Any]],
    markers: CallMarkers,
    *,
    text: bool = False,
    single: bool = False,
) -> str:
    """Answers that are calls of these tools, one or several.

    Args:
        tools: tools, or their JSON in OpenAI's form (`{"type": "function", "function": {...}}`) or
            its inner part: `name` and `parameters`, a JSON Schema of type object.
        markers: the tokens around the calls.
        text: the model may also write text before the calls, or text alone.
        single: there is one call and no more.

    Returns:
        A grammar for `Constraint`, or the option `grammar` of an answer.

    Raises:
        InvalidRequestError: there are no tools, one is malformed, or its parameters use a keyword
            that is not supported; the message names the tool and the keyword.
    """
    if not tools:
        raise InvalidRequestError("tools: there are none to call")
    known = [tool if isinstance(tool, Tool) else Tool.from_json(tool) for tool in tools]
    rules = ["start: text? calls | text" if text else "start: calls"]
    if text:
        rules.append(r"text: /(.|\n)+/")
    start, end = f"<[{markers.start}]>", f"<[{markers.end}]>"
    if markers.tags:
        rules.append("calls: block" + ("" if single else ' ("\\n" block)*'))
        rules.append(f'block: {start} "\\n" call "\\n" {end}')
    else:
        more = "" if single else ' (", " call)*'
        rules.append(f'calls: {start} "[" call{more} "]" {end}')
    rules.append("call: " + " | ".join(f"call_{index}" for index in range(len(known))))
    for index, tool in enumerate(known):
        rules += _call_rules(index, tool, markers.tags)
    return "\n".join(["%llguidance {}", *rules])


def _call_rules(index: int, tool: Tool, tags: bool) -> list[str]:
    properties, required, definitions = _parameters(tool.name, tool.parameters)

    def json_rule(schema: Any) -> str:
        value = {**definitions, **schema} if isinstance(schema, Mapping) else schema
        return f"%json {_json(value)}"

    if tags:
        return tag_rules(index, tool.name, tool.parameters, properties, required, json_rule)
    return _bracket_rules(index, tool.name, properties, required, json_rule)


def _bracket_rules(
    index: int,
    name: str,
    properties: Mapping[str, Any],
    required: set[str],
    json_rule: Callable[[Any], str],
) -> list[str]:
    """The rules of one tool's calls in brackets.

    `head_i_k` are its arguments from k on where none was given yet, `tail_i_k` where some were.
    """
    rules = [f'call_{index}: {lark_string(name + "(")} head_{index}_0 ")"']
    for place, (key, schema) in enumerate(properties.items()):
        argument, tail = f"argument_{index}_{place}", f"tail_{index}_{place + 1}"
        head = f"head_{index}_{place}"
        options = "" if key in required else f" | head_{index}_{place + 1}"
        comma = f'", " {argument}' if key in required else f'(", " {argument})?'
        rules += [
            f"{argument}: {lark_string(key + '=')} {json_rule(schema)}",
            f"{head}: {argument} {tail}{options}",
            f"tail_{index}_{place}: {comma} {tail}",
        ]
    last = len(properties)
    return [*rules, f'head_{index}_{last}: ""', f'tail_{index}_{last}: ""']


def _parameters(
    tool: str, schema: Mapping[str, Any]
) -> tuple[Mapping[str, Any], set[str], Mapping[str, Any]]:
    """Properties, required ones, and the definitions that they may refer to."""
    name = f"tool {tool!r}"
    check_schema(schema, name)
    if other := sorted(schema.keys() - _ROOT_KEYWORDS - ANNOTATIONS):
        raise InvalidRequestError(f"{name}: keyword {other[0]!r} is not supported at #")
    if "#" in references(schema):
        raise InvalidRequestError(f"{name}: '$ref' '#' is not supported in parameters")
    # What a schema of `false` describes is never given.
    properties = {k: v for k, v in schema.get("properties", {}).items() if v is not False}
    required = schema.get("required", [])
    if not isinstance(required, list):  # as in draft 3
        raise InvalidRequestError(f"{name}: 'required': expected a list of names at #")
    if missing := sorted(set(required) - properties.keys()):
        raise InvalidRequestError(f"{name}: {missing[0]!r} is required but not among properties")
    definitions = {key: schema[key] for key in _DEFINITIONS if key in schema}
    return properties, set(required), definitions


def _json(schema: Any) -> str:
    options = {"x-guidance": JSON_OPTIONS}
    return json_text({**schema, **options} if isinstance(schema, Mapping) else options, "tools")
