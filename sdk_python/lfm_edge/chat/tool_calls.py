"""From what a model wrote to the tool calls it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .call_block import parse_unmarked
from .calls import InvalidToolCall, ToolCall
from .events import Event, EventSplitter, Reasoning, Text
from .markers import THINK_END, Markers
from .tools import Tool, tool_names

__all__ = ["parse_tool_calls"]


def parse_tool_calls(
    text: str, tools: Sequence[Tool | Mapping[str, Any]] | None = None
) -> list[ToolCall]:
    """Every call in an answer that can be read; whatever the text, it raises nothing.

    Calls stand between `<|tool_call_start|>` and `<|tool_call_end|>`, or `<tool_call>` and
    `</tool_call>`. Without markers, an answer (behind its reasoning) that is nothing but a list of
    calls counts as one. What stands within `<think>` is no call, nor is what stands before a
    `</think>` that nothing opened: there the prompt had opened it.

    Args:
        text: an answer, as generated.
        tools: the tools that the model had. Their names and parameters resolve what is ambiguous
            in strings, and tell calls from other JSON. A call of an unknown tool, if it stands
            between markers, is still returned.

    Raises:
        InvalidRequestError: a tool is malformed.
    """
    names = tool_names(tools or ())
    events = _split(text, tools or (), in_reasoning=False)
    reasoned = any(isinstance(event, Reasoning) for event in events)
    if not reasoned and THINK_END in _text_of(events):
        events = _split(text, tools or (), in_reasoning=True)
    if any(isinstance(event, (ToolCall, InvalidToolCall)) for event in events):
        return [event for event in events if isinstance(event, ToolCall)]
    return parse_unmarked(_text_of(events), names).calls


def _split(
    text: str, tools: Sequence[Tool | Mapping[str, Any]], *, in_reasoning: bool
) -> list[Event]:
    splitter = EventSplitter(Markers(), tools, in_reasoning=in_reasoning)
    return [*splitter.push(None, text), *splitter.finish()]


def _text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))
