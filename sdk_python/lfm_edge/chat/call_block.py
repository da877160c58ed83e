"""Reads the text in which calls stand, in whichever of LFM's forms it is.

LFM2 and LFM2.5 write calls in brackets (`bracket_calls.py`), or as JSON when the system prompt
asks for it (`json_calls.py`); LFM3 writes tags (`xml_calls.py`). How a block begins tells which.
"""

from __future__ import annotations

import re

from .bracket_calls import parse_bracket_calls
from .calls import ParsedCalls, ToolNames
from .json_calls import parse_json_calls
from .xml_calls import XML_CALL, parse_xml_calls

__all__ = ["parse_block", "parse_unmarked"]

_FENCE = "```"
_NO_CALL = re.compile(r"[\s\[\]]*+\Z")
_JSON = re.compile(r"(?:\[\s*+)?\{")
_JSON_ARGUMENTS = re.compile(r"['\"](?:arguments|parameters)['\"]\s*+:")


def parse_block(text: str, tools: ToolNames, *, closed: bool = True) -> ParsedCalls:
    """Reads what stands between two markers; `[]` holds no call.

    Args:
        text: the block without its markers.
        tools: the known tools; empty if they are not known.
        closed: whether the end marker came.
    """
    text = _without_fence(text)
    if _NO_CALL.match(text):
        return ParsedCalls()
    if _JSON.match(text):
        return parse_json_calls(text, tools)
    if XML_CALL.match(text):
        return parse_xml_calls(text, tools, closed=closed)
    return parse_bracket_calls(text, tools, closed=closed)


def parse_unmarked(text: str, tools: ToolNames) -> ParsedCalls:
    """Reads an answer without markers: its calls if it is nothing else, or none.

    Where the tools are known, each call must name one of them; where not, JSON must have the shape
    of a call, with arguments.
    """
    text = _without_fence(text)
    if not (text.startswith(("[", "{")) or XML_CALL.match(text)):
        return ParsedCalls()
    if not tools and _JSON.match(text) and not _JSON_ARGUMENTS.search(text):
        return ParsedCalls()
    found = parse_block(text, tools, closed=False)
    if found.errors or (tools and not all(call.name in tools for call in found.calls)):
        return ParsedCalls()
    return found


def _without_fence(text: str) -> str:
    text = text.strip()
    fenced = text.startswith(_FENCE) and text.endswith(_FENCE) and "\n" in text
    return text[text.index("\n") : -len(_FENCE)].strip() if fenced else text
