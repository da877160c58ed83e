"""The vectors that every language runs, as Python reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lfm_edge.chat import Event, EventSplitter, InvalidToolCall, Reasoning, Text, ToolCall

FOLDER = Path(__file__).parents[1] / "vectors"

Token = tuple[int | None, str]


def read(name: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return cases


def split(splitter: EventSplitter, tokens: Iterable[Token]) -> list[Event]:
    events = [event for token, text in tokens for event in splitter.push(token, text)]
    return events + splitter.finish()


def as_json(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Events as the vectors write them, adjacent pieces of text joined."""
    written: list[dict[str, Any]] = []
    for event in events:
        if isinstance(event, ToolCall):
            written.append({"type": "call", "name": event.name, "arguments": event.arguments})
        elif isinstance(event, InvalidToolCall):
            written.append({"type": "invalid", "text": event.text})
        else:
            assert isinstance(event, (Reasoning, Text))
            assert event.text
            kind = "text" if isinstance(event, Text) else "reasoning"
            if written and written[-1]["type"] == kind:
                written[-1]["text"] += event.text
            else:
                written.append({"type": kind, "text": event.text})
    return written
