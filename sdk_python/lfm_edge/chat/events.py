"""A streamed answer as events: reasoning, text, tool calls, and why it ended.

How an answer is divided:

- Reasoning stands between `<think>` and `</think>`. It opens at the start of an answer, or behind
  a call or earlier reasoning, with nothing but white space before it; where the prompt ends in
  `<think>` the answer starts within it. Cut off, all of it is reasoning. Markers of calls within
  it are its text.
- Outside reasoning `</think>` is text, and so is `<think>` behind other text.
- Between `<|tool_call_start|>` and `<|tool_call_end|>`, or LFM3's `<tool_call>` and `</tool_call>`,
  stand calls. What no call can be read from becomes an `InvalidToolCall`, never text. An answer
  that ends within a block gives the calls that are whole (`bracket_calls.py`). Where the end marker
  is found in the text, it counts only behind a closing bracket or tag, and where no block is open
  within the block, since an argument may hold it; if none stands so, the first one counts. White
  space between two blocks is dropped.
- An end marker with no start: what stands before it since the last event is a block whose start
  the model forgot, or, if it says again what was just called, an echo that is dropped.
- Where tools are known, an answer that begins as a call of one of them would, without markers, is
  held back; if it turns out to be nothing but calls, it is they, and otherwise text.

The events do not depend on how the text was cut into pieces, but for where adjacent `Reasoning` or
`Text` events are cut. No part of a marker gets out, and none of the rest is lost.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .call_block import parse_block, parse_unmarked
from .calls import InvalidToolCall, ParsedCalls, ToolCall
from .markers import (
    CALL_END,
    CALL_ENDS,
    THINK_END,
    THINK_START,
    XML_CALL_END,
    XML_CALL_START,
    Markers,
)
from .tools import Tool, tool_names

__all__ = [
    "End",
    "Event",
    "EventSplitter",
    "InvalidToolCall",
    "Reasoning",
    "Text",
    "Timings",
    "ToolCall",
    "Usage",
]


@dataclass(frozen=True)
class Reasoning:
    """A piece of the model's thinking, never empty."""

    text: str
    """As the model wrote it."""


@dataclass(frozen=True)
class Text:
    """A piece of the answer, never empty."""

    text: str
    """As the model wrote it."""


@dataclass(frozen=True)
class Usage:
    """Tokens of a turn.

    Attributes:
        reused: of the prompt, those that the session held already.
        processed: those that were run before the first new one.
        generated: new ones.
        proposed: guesses of what the new ones would be; see `lfm_edge.speculation`.
        accepted: the guesses that came true.
        reasoning: of the new ones, those of reasoning, with the markers around it.
    """

    reused: int
    processed: int
    generated: int
    proposed: int = 0
    accepted: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Timings:
    """Seconds that a turn took.

    Attributes:
        time_to_first_token: from the request to the first new token.
        total: from the request to the end.
    """

    time_to_first_token: float
    total: float


@dataclass(frozen=True)
class End:
    """The last event of a turn.

    Attributes:
        reason: why it ended, as generation says, such as "eos", "length" or "loop".
        usage: its tokens.
        timings: its times.
    """

    reason: str
    usage: Usage
    timings: Timings

    @property
    def reused(self) -> int:
        """Of the prompt, tokens that the session held already."""
        return self.usage.reused

    @property
    def processed(self) -> int:
        """Tokens that were run before the first new one."""
        return self.usage.processed

    @property
    def generated(self) -> int:
        """New tokens."""
        return self.usage.generated


Event = Reasoning | Text | ToolCall | InvalidToolCall | End
"""What an answer is made of, as it comes."""

_State = Literal["text", "reasoning", "call"]

_FENCES = ("```", "```json", "```python")
_CLOSING = {CALL_END: "])}", XML_CALL_END: ">])}"}
"""What may stand before an end marker that is found in the text."""


class EventSplitter:
    """Divides an answer, token by token, into events.

    Args:
        markers: how the markers appear.
        tools: the tools that the model has.
        in_reasoning: whether the prompt ended in `<think>`.

    Raises:
        InvalidRequestError: a tool is malformed.
    """

    def __init__(
        self,
        markers: Markers,
        tools: Sequence[Tool | Mapping[str, Any]] = (),
        *,
        in_reasoning: bool = False,
    ) -> None:
        self._by_id = markers.by_id
        in_text = sorted(markers.in_text)
        self._in_text = re.compile("|".join(map(re.escape, in_text)) or r"(?!)")
        self._starts = {marker[:end] for marker in in_text for end in range(1, len(marker))}
        self._tools = tool_names(tools)
        self._pending = ""  # perhaps the start of a marker
        self._held: list[str] = []  # a block, or text that may turn out to be calls
        self._last_character = ""  # of the block so far, white space apart
        self._any_end = False  # whether an end marker in the text counts wherever it stands
        self._last_calls: list[ToolCall] = []
        self._end = CALL_END  # of the block
        self._nested = 0  # blocks of tags that a value holds
        self._behind_block = False  # whether only white space stood since a block ended
        self._events: list[Event] = []
        self._run: list[str] = []  # pieces of the event to come
        self._run_kind: type[Reasoning | Text] = Text
        self._enter("reasoning" if in_reasoning else "text")

    @property
    def in_reasoning(self) -> bool:
        """Whether what comes next is reasoning."""
        return self._state == "reasoning"

    def push(self, token: int | None, text: str) -> list[Event]:
        """The events that this token completes.

        Args:
            token: its id; None for text without one.
            text: the characters that it completes, as a `Detokenizer` gives them.
        """
        marker = self._by_id.get(token) if token is not None else None
        if marker is None:
            self._read(text)
        else:  # before it there may be what an unfinished character left
            self._read(text.removesuffix(marker))
            self._flush()
            self._read_marker(marker, is_token=True)
        return self._take_events()

    def finish(self) -> list[Event]:
        """The events that were held back, when the answer ends."""
        self._flush()
        if self._state == "call" and self._holds_end():
            self._read_again("".join(self._held))
            self._flush()
        if self._state == "call":
            self._emit_block(parse_block("".join(self._held), self._tools, closed=False))
        elif self._held:
            found = parse_unmarked("".join(self._held), self._tools)
            self._emit_calls(found.calls) if found.calls else self._release()
        return self._take_events()

    def _read(self, text: str) -> None:
        """Divides text at its markers, and keeps an end of it that may begin one."""
        text, at = self._pending + text, 0
        self._pending = ""
        for marker in self._in_text.finditer(text):
            self._pass_on(text[at : marker.start()])
            self._read_marker(marker[0], is_token=False)
            at = marker.end()
        longest = max(map(len, self._starts), default=0)
        begin = max(at, len(text) - longest)
        begin = next((b for b in range(begin, len(text)) if text[b:] in self._starts), len(text))
        self._pass_on(text[at:begin])
        self._pending = text[begin:]

    def _flush(self) -> None:
        pending, self._pending = self._pending, ""
        self._pass_on(pending)

    def _read_marker(self, marker: str, *, is_token: bool) -> None:
        state = self._state
        if state == "reasoning" and marker == THINK_END:
            self._enter("text")
        elif state == "text" and marker == THINK_START and self._fresh:
            self._release()
            self._enter("reasoning")
        elif state == "text" and marker in CALL_ENDS:
            if self._behind_block:
                self._held = []
            self._release()
            self._enter("call")
            self._end = CALL_ENDS[marker]
        elif state == "text" and marker in _CLOSING:
            self._end_without_start()
        elif state == "call" and marker == self._end and (is_token or self._may_end()):
            self._end_block(marker)
        else:
            if self._end == XML_CALL_END:
                opened = self._nested + (marker == XML_CALL_START) - (marker == XML_CALL_END)
                self._nested = max(opened, 0)
            self._pass_on(marker)

    def _may_end(self) -> bool:
        behind = self._last_character in _CLOSING[self._end]
        return self._any_end or (behind and not self._nested)

    def _enter(self, state: _State) -> None:
        self._state = state
        self._fresh = True  # nothing but white space so far
        self._last_character = ""
        self._nested = 0
        names = {*self._tools, *(call.name for call in self._last_calls)}
        self._openings = _openings(names) if state == "text" else ()
        self._behind_block = False
        self._beginning = ""  # of text that is held back, without white space

    def _pass_on(self, text: str) -> None:
        if not text:
            return
        visible = text.rstrip()
        self._fresh = self._fresh and not visible
        self._behind_block = self._behind_block and not visible
        if self._state == "reasoning":
            self._emit_text(Reasoning, text)
        elif self._state == "call":
            self._held.append(text)
            self._last_character = visible[-1:] or self._last_character
        else:
            self._held.append(text)
            if not (self._behind_block or self._may_be_calls(text)):
                self._release()

    def _may_be_calls(self, text: str) -> bool:
        """Whether the text held back begins as unmarked calls do, or still may."""
        longest = max(map(len, self._openings), default=0)
        if len(self._beginning) < longest:
            self._beginning += "".join(text.split())[:longest]
        begins = self._beginning
        return any(begins.startswith(o) or o.startswith(begins) for o in self._openings)

    def _release(self) -> None:
        """Lets out the text that was held back, and holds back no more of it."""
        text = "".join(self._held)
        self._held, self._openings = [], ()
        if text:
            self._emit_text(Text, text)

    def _end_without_start(self) -> None:
        found = parse_block("".join(self._held), self._tools)
        if found.errors or not found.calls:
            self._release()
            return
        self._held = []
        if found.calls != self._last_calls:
            self._emit_calls(found.calls)
        self._enter("text")

    def _holds_end(self) -> bool:
        """Whether the block holds an end marker that was taken for its text."""
        found = not self._any_end and self._in_text.fullmatch(self._end)
        return bool(found) and self._end in "".join(self._held)

    def _read_again(self, block: str) -> None:
        """Reads on from a block's start, with each end marker taken for what it is."""
        self._any_end, self._held = True, []
        self._read(block)

    def _end_block(self, marker: str) -> None:
        block = "".join(self._held)
        found = parse_block(block, self._tools)
        if found.errors and self._holds_end():
            self._read_again(block + marker)
        else:
            self._emit_block(found)

    def _emit_block(self, found: ParsedCalls) -> None:
        self._held = []
        self._emit_calls(found.calls)
        self._emit(*found.errors)
        self._enter("text")
        self._behind_block = True

    def _emit_calls(self, calls: list[ToolCall]) -> None:
        self._emit(*calls)
        self._last_calls = calls

    def _emit(self, *events: Event) -> None:
        self._close_run()
        self._events.extend(events)

    def _emit_text(self, kind: type[Reasoning | Text], text: str) -> None:
        """Joins pieces of one kind that come at once."""
        if kind is not self._run_kind:
            self._close_run()
            self._run_kind = kind
        self._run.append(text)

    def _close_run(self) -> None:
        if self._run:
            self._events.append(self._run_kind("".join(self._run)))
            self._run = []

    def _take_events(self) -> list[Event]:
        self._close_run()
        events, self._events = self._events, []
        return events


def _openings(names: Collection[str]) -> tuple[str, ...]:
    """How unmarked calls of these tools begin, white space and a list's bracket apart."""
    openings = []
    for name in names:
        openings += [f"[{name}(", f'{{"name":"{name}"', f'{{"{name}":{{']
        openings += [f"{{'name':'{name}'", f"{{'{name}':{{"]
    if openings:
        openings += ['{"function":', '{"type":"function"', '{"arguments":', '{"parameters":']
    listed = [f"[{opening}" for opening in openings if opening.startswith("{")]
    tags = [f"<function={name}>" for name in names]
    listed += [*tags, *(f"{XML_CALL_START}{tag}" for tag in tags)]
    return tuple(f"{fence}{o}" for o in [*openings, *listed] for fence in ("", *_FENCES))
