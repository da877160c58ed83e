"""One model that answers many: what the endpoints of all APIs ask for in the same way."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Unpack

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ..chat.calls import InvalidToolCall, ToolCall
from ..chat.events import End, Event, Reasoning, Text, Timings, Usage
from ..chat.markers import Markers
from ..chat.tools import Tool
from ..errors import ContextFullError, InvalidRequestError
from ..event_stream import EventStream
from ..generation import Generation
from ..generation_options import AnswerOptions
from ..logprobs import TokenLogprob
from ..model import Model
from ..prompt_cache import PromptCache
from .engine import Engine, Ticket
from .errors import HungUpError, status_of
from .metrics import Metrics

__all__ = [
    "DONE",
    "Piece",
    "Question",
    "Service",
    "Whole",
    "data_frame",
    "streamed",
    "unless_hung_up",
]


@dataclass(frozen=True)
class Question:
    """What a chat is asked, by whatever API.

    Attributes:
        messages: as chat templates take them.
        options: how to answer.
        tools: in OpenAI's form.
        tool_choice: "auto", "none", "required", or the name of a tool that must be called.
        parallel: whether one answer may hold several calls.
        template_options: further variables of the template.
    """

    messages: Sequence[Mapping[str, Any]]
    options: AnswerOptions
    tools: Sequence[Mapping[str, Any]] | None = None
    tool_choice: str = "auto"
    parallel: bool = True
    template_options: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Piece:
    """An event, and what the model thought of its tokens, if that was asked for."""

    event: Event
    logprobs: list[TokenLogprob]


@dataclass
class Whole:
    """An answer that has come to its end."""

    text: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    end: End | None = None

    @classmethod
    async def of(cls, pieces: AsyncIterator[Piece]) -> Whole:
        """Gathers the pieces."""
        whole = cls()
        async for piece in pieces:
            whole.take(piece)
        return whole

    def take(self, piece: Piece) -> None:
        """Adds the next piece."""
        match piece.event:
            case Text(text) | InvalidToolCall(text):
                self.text += text
                self.logprobs += piece.logprobs
            case Reasoning(text):
                self.reasoning += text
            case ToolCall() as call:
                self.calls.append(call)
            case End() as end:
                self.end = end


class Service:
    """A model with its queue and its prompt cache."""

    def __init__(self, model: Model, cache: PromptCache, engine: Engine, metrics: Metrics) -> None:
        self.model, self.cache, self.engine, self.metrics = model, cache, engine, metrics
        self.name = model.bundle.manifest.model.name
        self.created = int(time.time())

    def ask(self, question: Question) -> Ticket:
        """A chat's answer: a `Ticket` of the number of its prompt's tokens, then of `Piece`s."""
        events, parallel = self._asked(question)
        given = question.options
        return self.engine.submit(lambda cancel: self._pieces(events, given, cancel, parallel))

    def ask_often(self, question: Question, choices: int) -> Ticket:
        """Several answers to one chat; their items have the form of `complete`'s."""
        events, parallel = self._asked(question)
        return self._one_by_one([events] * choices, question.options, parallel)

    def complete(self, prompts: Sequence[str | Sequence[int]], options: AnswerOptions) -> Ticket:
        """Continuations of texts, one after the other, each with a seed of its own.

        Each item has a prompt's index before what `ask` gives; all pieces are text.
        """
        makes = [partial(self.model.generate, prompt) for prompt in prompts]
        return self._one_by_one(makes, options, parallel=True)

    def _asked(self, question: Question) -> tuple[Callable[..., EventStream], bool]:
        """What answers a chat, and whether it may call several tools at once."""

        def events(**options: Unpack[AnswerOptions]) -> EventStream:
            forced, tools = self._with_calls(question)  # takes its time, so not in the event loop
            own: AnswerOptions = {**options, **forced}
            return self.model.events(question.messages, tools, question.template_options, **own)

        return events, question.parallel and question.tool_choice in {"auto", "required"}

    def _one_by_one(
        self,
        makes: Sequence[Callable[..., EventStream | Generation]],
        options: AnswerOptions,
        parallel: bool,
    ) -> Ticket:
        def made(cancel: threading.Event) -> Iterator[Any]:
            for index, make in enumerate(makes):
                own: AnswerOptions = {**options}
                if (seed := own.get("seed")) is not None:
                    own["seed"] = (seed + index) % 2**64
                with closing(self._pieces(make, own, cancel, parallel)) as pieces:  # type: ignore[type-var]
                    for item in pieces:
                        yield index, item

        return self.engine.submit(made)

    def _pieces(
        self,
        make: Callable[..., EventStream | Generation],
        options: AnswerOptions,
        cancel: threading.Event,
        parallel: bool,
    ) -> Iterator[Any]:
        begun, called, told = time.perf_counter(), False, 0
        with ExitStack() as leases:
            own: AnswerOptions = {
                **options,
                "cancel": cancel,
                "session": lambda ids: leases.enter_context(self.cache.lease(ids)),
                "context": self.cache.context,
            }
            answer = make(**own)
            try:
                yield answer.prompt_tokens
                for event in _events(answer, begun):
                    new, told = answer.logprobs[told:], len(answer.logprobs)
                    if isinstance(event, ToolCall | InvalidToolCall):
                        if called and not parallel:
                            continue
                        called = True
                    yield Piece(event, self._spoken(new))
            finally:
                self.metrics.answered(answer)

    def _spoken(self, logprobs: list[TokenLogprob]) -> list[TokenLogprob]:
        """Those of tokens that are text."""
        if not logprobs:
            return logprobs
        silent = {*Markers.of(self.model.tokenizer.added_id).by_id, *self.model.eos_ids}
        return [entry for entry in logprobs if entry.token not in silent]

    def _with_calls(
        self, question: Question
    ) -> tuple[AnswerOptions, Sequence[Mapping[str, Any]] | None]:
        """Options that force calls, and the tools, where there are to be any."""
        choice, tools = question.tool_choice, question.tools or None
        if choice == "none" or (choice == "auto" and not tools):
            return {}, None
        if not tools:
            raise InvalidRequestError(f"tool_choice: got {choice!r}, but there are no tools")
        self._require_short(tools)
        if choice == "auto":
            return {}, tools
        known = [Tool.from_json(tool) for tool in tools]
        wanted = known if choice == "required" else [t for t in known if t.name == choice]
        if not wanted:
            raise InvalidRequestError(f"tool_choice: there is no tool {choice!r}")
        from ..structured import CallMarkers, tool_call_grammar  # noqa: PLC0415 (llguidance)

        grammar = tool_call_grammar(
            wanted,
            CallMarkers.of(self.model.tokenizer),
            single=choice != "required" or not question.parallel,
        )
        if {"schema", "regex", "choices"} & question.options.keys():
            raise InvalidRequestError("tool_choice: a call is forced, so the answer has no format")
        return {"grammar": grammar}, tools

    def _require_short(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """Refuses tools that no prompt can hold, before their schemas are checked."""
        fewest = self.model.tokenizer.fewest(json.dumps(tools, ensure_ascii=False))
        if fewest > self.cache.context:
            raise ContextFullError(
                f"the tools have at least {fewest:,} tokens, but the context holds "
                f"{self.cache.context:,}; leave some out"
            )


def _events(answer: EventStream | Generation, begun: float) -> Iterator[Event]:
    """The events of an answer, or its text as events."""
    if isinstance(answer, EventStream):
        yield from answer
        return
    for text in answer:
        yield Text(text)
    usage = Usage(answer.reused_tokens, answer.processed_tokens, len(answer.ids))
    timings = Timings(answer.time_to_first_token, time.perf_counter() - begun)
    yield End(str(answer.finish_reason), usage, timings)


async def unless_hung_up(request: Request, ticket: Ticket, work: Coroutine[Any, Any, Any]) -> Any:
    """What `work` gives; once the client hangs up, the ticket is given up.

    Raises:
        HungUpError: it did.
    """

    async def hang_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, listening = asyncio.ensure_future(work), asyncio.ensure_future(hang_up())
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise HungUpError
        return working.result()
    except BaseException:
        ticket.cancel()
        raise
    finally:
        for task in (working, listening):
            task.cancel()
            with suppress(BaseException):
                await task


DONE = "data: [DONE]\n\n"
"""What ends a stream of OpenAI's."""


def data_frame(value: Mapping[str, Any]) -> str:
    """A server-sent event without a name, as OpenAI's completions have them."""
    return f"data: {json.dumps(value)}\n\n"


def streamed(
    ticket: Ticket, frames: AsyncIterator[str], fail: Callable[[int, str], str]
) -> StreamingResponse:
    """A response of server-sent events, whose answer ends when the client hangs up.

    Args:
        ticket: whose answer it is.
        frames: the events, in the form of the API.
        fail: an error in that form, from its status and message.
    """

    async def guarded() -> AsyncIterator[str]:
        try:
            async for frame in frames:
                yield frame
                await asyncio.sleep(0)  # the connection's end is seen only between two writes
        except Exception as error:  # the status line is gone already
            status, message, _ = status_of(error)
            yield fail(status, message)

    return _Streamed(ticket, guarded())


class _Streamed(StreamingResponse):
    def __init__(self, ticket: Ticket, frames: AsyncIterator[str]) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(frames, media_type="text/event-stream", headers=headers)
        self._ticket = ticket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ticket.cancel()
