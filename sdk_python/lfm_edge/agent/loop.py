"""The loop of an agent: the model asks for calls, they run, it reads the results and goes on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Unpack

from ..chat.calls import InvalidToolCall, ToolCall
from ..chat.events import End, Event
from ..chat.tools import Tool, find_tool, problem_of
from ..conversation import Message
from ..errors import InvalidRequestError, SessionFileError
from ..generation_options import AnswerOptions
from ..model import Model
from ..session import Session
from .audit import AuditLog, Decision
from .errors import CallError, CallStoppedError
from .servers import Servers

__all__ = ["Agent", "AgentEvent", "Done", "ToolResult"]

MAX_ROUNDS = 16
_STOPPED = "the user stopped it"


@dataclass(frozen=True)
class ToolResult:
    """A call that is over, whether it ran or not.

    Attributes:
        call: what the model asked for.
        text: what it is told, shortened to what a quarter of the context holds.
        failed: whether it did not run, or ended in an error.
        seconds: how long it ran.
    """

    call: ToolCall | InvalidToolCall
    text: str
    failed: bool
    seconds: float


@dataclass(frozen=True)
class Done:
    """The last event of a question.

    Attributes:
        reason: the model has answered; it went on calling for more rounds than are allowed; the
            user stopped it; or a call was required, but `max_tokens` or the context ended before
            it, most often in reasoning (`thinking_budget` bounds that).
        rounds: answers of the model, the last one included.
    """

    reason: Literal["answered", "rounds", "cancelled", "uncalled"]
    rounds: int


AgentEvent = Event | ToolResult | Done
"""What happens while a question is answered."""


class Agent:
    """A conversation whose model may run tools.

    Args:
        model: what answers.
        servers: MCP servers with tools; the caller closes them.
        tools: further ones, made by `Tool.from_function`.
        confirm: asked before a call runs, with the call and the server's name (None for a function
            of `tools`); it runs if this returns True. By default none does.
        allowed: names of tools that run without asking; may be changed.
        log: records every call.
        system: instructions for the model.
        tool_choice: "required": the first answer to each question is a call, held to its tool's
            schema by a grammar; "auto": as the model chooses.
        context: the session's capacity; see `Model.session`.
        max_rounds: most answers of the model to one question.

    Raises:
        InvalidRequestError: two tools have one name, one of `tools` has no function, `allowed`
            names none of them, or an argument is out of range.
    """

    def __init__(
        self,
        model: Model,
        servers: Servers | None = None,
        *,
        tools: Sequence[Tool] = (),
        confirm: Callable[[ToolCall, str | None], bool] = lambda *_: False,
        allowed: Sequence[str] = (),
        log: AuditLog | None = None,
        system: str | None = None,
        tool_choice: Literal["auto", "required"] = "auto",
        context: int | None = None,
        max_rounds: int = MAX_ROUNDS,
    ) -> None:
        self.tools = [*(servers.tools if servers else ()), *tools]
        """All that the model may call."""
        self.allowed = set(allowed)
        """Names of tools that run without asking."""
        self.conversation = model.conversation(system, self.tools, context=context)
        """What was said."""
        self._model, self._servers, self._confirm, self._log = model, servers, confirm, log
        self._required, self._max_rounds = tool_choice == "required", max_rounds
        self._opening = list(self.conversation.messages)
        self._unread: list[Message] = []  # results that the model has not seen yet
        self._check(tools)

    def ask(self, text: str, **options: Unpack[AnswerOptions]) -> Iterator[AgentEvent]:
        """Says something, and yields what happens until the model has answered.

        Once `cancel` is set, the answer or the call in progress is given up, and what the model was
        saying is forgotten.

        Args:
            text: what the user says.
            **options: how to answer; see `Model.events`.

        Raises:
            LfmError: as `Conversation.send`.
        """
        cancel = options.get("cancel") or threading.Event()
        said: list[Message] = [*self._unread, {"role": "user", "content": text}]
        for number in range(1, self._max_rounds + 1):
            before = list(self.conversation.messages)
            calls: list[ToolCall | InvalidToolCall] = []
            stopped = False
            for event in self.conversation.send(said, **self._options(options, cancel, number)):
                if isinstance(event, (ToolCall, InvalidToolCall)):
                    calls.append(event)
                if isinstance(event, End) and event.reason == "cancelled":
                    self.conversation.messages, stopped = before, True
                yield event
            if stopped:
                yield Done("cancelled", number)
                return
            said = self._unread = []
            if not calls:
                yield Done("uncalled" if self._must_call(number) else "answered", number)
                return
            for call in calls:
                result = self._handle(call, cancel)
                name = {"name": call.name} if isinstance(call, ToolCall) else {}
                said.append({"role": "tool", **name, "content": result.text})
                yield result
            if cancel.is_set():
                yield Done("cancelled", number)
                return
        yield Done("rounds", self._max_rounds)

    def reset(self) -> None:
        """Forgets what was said; what the session has read of system prompt and tools stays."""
        self.conversation.messages, self._unread = list(self._opening), []

    def warm(self, cache: Path | str) -> int:
        """Reads system prompt and tools now, or takes them from a file that an earlier call wrote.

        A file of another bundle or of other tools is read as far as it fits, and then replaced.

        Args:
            cache: the file.

        Returns:
            How many tokens had to be read.

        Raises:
            SessionFileError: the file cannot be written.
            UnsupportedBundleError: the target's state cannot be saved.
        """
        conversation = self.conversation
        if Path(cache).exists():
            try:
                opened = Session.open(self._model, cache, conversation.session.capacity)
            except (SessionFileError, InvalidRequestError):
                pass  # it is only a cache
            else:
                conversation.session = opened
        read = conversation.warm()
        if read:
            conversation.session.save(cache)
        return read

    def server_of(self, tool: str) -> str | None:
        """The MCP server that has the tool of this name; None for a Python function.

        Args:
            tool: its name.
        """
        found = find_tool(tool, self.tools)
        if self._servers is None or found is None or found.function is not None:
            return None
        return self._servers.server_of(tool)

    def _handle(self, call: ToolCall | InvalidToolCall, cancel: threading.Event) -> ToolResult:
        """Asks, runs and records a call, or says why it does not run."""
        if isinstance(call, InvalidToolCall):
            return self._record(call, "invalid", 0, error=call.error)
        if problem := problem_of(call, self.tools):
            return self._record(call, "invalid", 0, error=problem)
        decision: Decision = "allowed"
        if call.name not in self.allowed:
            agreed = not cancel.is_set() and self._confirm(call, self.server_of(call.name))
            decision = "asked" if agreed else "refused"
        if decision == "refused":
            return self._record(call, decision, 0, error="the user refused this call")
        if cancel.is_set():
            return self._record(call, decision, 0, error=_STOPPED)
        if self._log is not None:
            self._log.begin(**self._logged(call), decision=decision)
        begun = time.perf_counter()
        failure: str | None = _STOPPED
        text = ""
        try:
            text, failure = self._run(call, cancel)
        finally:  # an interrupted call has run too
            result = self._record(call, decision, time.perf_counter() - begun, text, failure)
        return result

    def _run(self, call: ToolCall, cancel: threading.Event) -> tuple[str, str | None]:
        """A call's result, and its error if it has failed."""
        tool = find_tool(call.name, self.tools)
        assert tool is not None
        if tool.function is not None:
            try:
                value = tool.run(call.arguments)
                return value if isinstance(value, str) else json.dumps(value, default=str), None
            except Exception as error:  # whatever the function raises is the model's to know
                return "", f"{type(error).__name__}: {error}"
        assert self._servers is not None
        try:
            return self._servers.call(call.name, call.arguments, cancel), None
        except CallStoppedError:
            return "", _STOPPED
        except CallError as error:
            return "", str(error)

    def _record(
        self,
        call: ToolCall | InvalidToolCall,
        decision: Decision,
        seconds: float,
        text: str = "",
        error: str | None = None,
    ) -> ToolResult:
        named = isinstance(call, ToolCall)
        if self._log is not None:
            self._log.write(
                **self._logged(call),
                decision=decision,
                seconds=seconds,
                result=text,
                error=error,
            )
        told = text if error is None else f"error: {error}"
        if decision == "invalid" and named:
            told += "; correct the call"
        return ToolResult(call, self._shortened(told), error is not None, seconds)

    def _logged(self, call: ToolCall | InvalidToolCall) -> dict[str, Any]:
        """What the record says of a call, however it ends."""
        if isinstance(call, InvalidToolCall):
            return {"server": None, "tool": None, "arguments": call.text}
        return {
            "server": self.server_of(call.name),
            "tool": call.name,
            "arguments": call.arguments,
        }

    def _shortened(self, text: str) -> str:
        """`text`, or as much of its beginning as a quarter of the context holds."""
        most = max(16, self.conversation.session.capacity // 4)
        kept = text[: most * 16]  # so that nothing huge is made into tokens
        ids = self._model.tokenizer.encode(kept)
        if len(ids) > most:
            kept = self._model.tokenizer.decode(ids[:most])
        left = len(text) - len(kept)
        return f"{kept}\n[{left:,} more characters left out]" if left > 0 else text

    def _options(
        self, options: AnswerOptions, cancel: threading.Event, number: int
    ) -> AnswerOptions:
        own: AnswerOptions = {**options, "cancel": cancel}
        if self._must_call(number):
            own["grammar"] = self._call_grammar
        return own

    def _must_call(self, number: int) -> bool:
        return self._required and number == 1

    @cached_property
    def _call_grammar(self) -> str:
        from ..structured import CallMarkers, tool_call_grammar  # noqa: PLC0415 (llguidance)

        return tool_call_grammar(self.tools, CallMarkers.of(self._model.tokenizer))

    def _check(self, functions: Sequence[Tool]) -> None:
        names = [tool.name for tool in self.tools]
        for tool in functions:
            if tool.function is None:
                raise InvalidRequestError(f"tool {tool.name} has no function to run")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InvalidRequestError(f"tool {twice[0]}: there are two of this name")
        if unknown := sorted(self.allowed - set(names)):
            raise InvalidRequestError(f"allowed: there is no tool {unknown[0]!r}")
        if self._max_rounds < 1:
            raise InvalidRequestError(f"max_rounds: got {self._max_rounds}, expected 1 or more")
