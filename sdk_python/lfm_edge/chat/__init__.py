"""Chat: from messages to the prompt that a model was trained on, and from its answer to events."""

from .calls import InvalidToolCall, ToolCall
from .events import End, Event, EventSplitter, Reasoning, Text, Timings, Usage
from .markers import Markers
from .tool_calls import parse_tool_calls
from .tools import Tool, find_tool, problem_of

__all__ = [
    "End",
    "Event",
    "EventSplitter",
    "InvalidToolCall",
    "Markers",
    "Reasoning",
    "Text",
    "Timings",
    "Tool",
    "ToolCall",
    "Usage",
    "find_tool",
    "parse_tool_calls",
    "problem_of",
]
