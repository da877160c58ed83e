"""An answer as events: reasoning, text, tool calls, and why it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from .answer import Answer, Request
from .async_pieces import Pieces
from .chat.events import End, Event, EventSplitter, Text, Timings, Usage
from .chat.loops import LoopDetector
from .chat.thinking_budget import ThinkingBudget

__all__ = ["EventStream"]


class EventStream(Answer, Pieces[Event]):
    """Yields the events of an answer, the last of them an `End`.

    Stop strings are looked for in `Text` alone. An answer that has become one passage over and over
    ends with the reason "loop".

    Args:
        request: what the answer is made of.
        splitter: divides it.
        budget: closes its reasoning; None lets the model think as long as it wants.
    """

    def __init__(
        self, request: Request, splitter: EventSplitter, budget: ThinkingBudget | None
    ) -> None:
        super().__init__(request)
        self._splitter, self._budget = splitter, budget
        self._reasoning = 0  # tokens
        self._events = self._run()

    def __next__(self) -> Event:
        return next(self._events)

    def _run(self) -> Iterator[Event]:
        begun = time.perf_counter()
        yield from self._stopped(self._split())
        assert self.finish_reason is not None
        usage = Usage(
            self.reused_tokens,
            self.processed_tokens,
            len(self.ids),
            self.proposed_tokens,
            self.accepted_tokens,
            self._reasoning,
        )
        timings = Timings(self.time_to_first_token, time.perf_counter() - begun)
        yield End(self.finish_reason, usage, timings)

    def _split(self) -> Iterator[Event]:
        splitter, detokenizer = self._splitter, self._request.detokenizer
        for token in self._tokens(self._forced, LoopDetector()):
            before = splitter.in_reasoning
            events = splitter.push(token, detokenizer.push(token))
            self._reasoning += before or splitter.in_reasoning
            yield from events
        yield from splitter.push(None, detokenizer.finish())
        yield from splitter.finish()

    def _forced(self) -> Sequence[int]:
        return self._budget.forced(self._splitter.in_reasoning) if self._budget else ()

    def _stopped(self, events: Iterator[Event]) -> Iterator[Event]:
        stops = self._request.stops
        for event in events:
            if isinstance(event, Text):
                if piece := stops.push(event.text):
                    yield Text(piece)
                if stops.stopped:
                    self.finish_reason = "stop"
                    return
                continue
            if held := stops.finish():
                yield Text(held)
            yield event
        if held := stops.finish():
            yield Text(held)
