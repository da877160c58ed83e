"""A chat that goes on: its messages, and a session that has read most of them already."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol, TypedDict, Unpack

import msgspec

from . import session_file
from .async_pieces import Pieces
from .chat.calls import InvalidToolCall, ToolCall
from .chat.events import End, Event, Reasoning, Text
from .chat.tools import Tool
from .errors import InvalidRequestError, SessionFileError, is_whole
from .event_stream import EventStream
from .generation_options import AnswerOptions
from .session import Session, SessionMaker

__all__ = ["Conversation", "Message", "Setting", "Turn"]

Message = Mapping[str, Any]
"""One turn of a chat: `role`, `content`, and what else the template reads."""


class Setting(TypedDict):
    """What stays the same from turn to turn, as `Model.events` takes it."""

    tools: list[Tool] | None
    template_options: Mapping[str, Any] | None
    clock: datetime


class Answerer(SessionMaker, Protocol):
    """A model, as far as a conversation asks for it."""

    def events(
        self,
        messages: Sequence[Message],
        tools: list[Tool] | None,
        template_options: Mapping[str, Any] | None,
        *,
        clock: datetime,
        **options: Unpack[AnswerOptions],
    ) -> EventStream:
        """The answer to `messages`; see `Model.events`."""
        ...

    def check(self, **options: Unpack[AnswerOptions]) -> None:
        """Raises what `events` would raise for these options; see `Model.check`."""
        ...

    def prompt_ids(
        self,
        messages: Sequence[Message],
        tools: list[Tool] | None,
        template_options: Mapping[str, Any] | None,
        clock: datetime,
    ) -> list[int]:
        """The tokens of a prompt; see `Model.prompt_ids`."""
        ...


class Turn(Pieces[Event]):
    """The events of a turn, as they come; also by `async for`.

    Args:
        answer: makes them.
        listen: takes note of them for the conversation.
    """

    def __init__(
        self, answer: EventStream, listen: Callable[[Turn, EventStream], Iterator[Event]]
    ) -> None:
        self.abandoned = False
        """Whether nobody reads on, so that it leaves no trace."""
        self._answer, self._events = answer, listen(self, answer)

    def __next__(self) -> Event:
        return next(self._events)

    def stop(self) -> None:
        """Ends the answer at the next token, as "cancelled"; from any thread."""
        self._answer.stop()

    def abandon(self) -> None:
        """Ends it where nobody reads on, so that it leaves no trace."""
        self.abandoned = True
        self.stop()


class Conversation:
    """Turns of a user and a model; made by `Model.conversation`, or by `open` from a file.

    Each turn renders all messages through the checkpoint's template and reads only what its session
    does not hold already, also where the template drops what the model thought before. The date
    that some templates print stays that of the beginning.

    A turn counts once its `End` has come: given up before, it leaves no trace in `messages`, and
    neither does one that was cancelled before the model had said anything.

    Args:
        model: what answers.
        messages: what it begins with.
        session: reads them.
        setting: tools, variables of the template, and the time that it sees.
    """

    def __init__(
        self, model: Answerer, messages: Sequence[Message], session: Session, setting: Setting
    ) -> None:
        self.messages = list(messages)
        """All that was said, as templates take it; may be changed between turns."""
        self.session = session
        """What has read them."""
        self.last: End | None = None
        """How the last turn ended: `reused`, `processed`, `generated`, `timings`, `reason`; None
        before the first has."""
        self._model, self._setting = model, setting

    def send(
        self, message: str | Message | Sequence[Message], **options: Unpack[AnswerOptions]
    ) -> Turn:
        """Says something and yields the events of the answer.

        Args:
            message: what the user says; or whole messages, such as the results of tools
                (`{"role": "tool", "content": ...}`).
            **options: how to answer; see `Model.events`.

        Raises:
            InvalidRequestError: an option is out of range, or the message is none.
            TemplateError: the template refuses the messages.
            ContextFullError: the session does not hold them.
            BundleError: the bundle has no usable tokenizer or its graph fails to run.
        """
        said: Sequence[Message]
        if isinstance(message, str):
            said = [{"role": "user", "content": message}]
        else:
            said = [message] if isinstance(message, Mapping) else message
            if not isinstance(said, Sequence):
                raise InvalidRequestError(
                    f"message: got {said!r}, expected a text or a list of messages"
                )
        return self._answer([*self.messages, *said], options)

    def regenerate(self, **options: Unpack[AnswerOptions]) -> Turn:
        """Answers the last message anew.

        Args:
            **options: as `send`.

        Raises:
            InvalidRequestError: there is no message to answer, or an option is out of range.
            LfmError: whatever else `send` raises.
        """
        asked = _messages(self.messages)
        while asked and asked[-1].get("role") == "assistant":
            asked.pop()
        if all(message.get("role") == "system" for message in asked):
            raise InvalidRequestError("there is no message to answer; send one first")
        return self._answer(asked, options)

    def edit(self, turn: int, text: str, **options: Unpack[AnswerOptions]) -> Turn:
        """Says something else in one of the user's turns, and forgets what followed.

        Args:
            turn: which of them, from 0; negative numbers count from the last.
            text: what the user says now.
            **options: as `send`.

        Raises:
            InvalidRequestError: there is no such turn, or an option is out of range.
            TemplateError: the template refuses the messages.
            ContextFullError: the session does not hold them.
            BundleError: the bundle has no usable tokenizer or its graph fails to run.
        """
        places = [
            i for i, message in enumerate(_messages(self.messages)) if message.get("role") == "user"
        ]
        if not (is_whole(turn) and -len(places) <= turn < len(places)):
            raise InvalidRequestError(
                f"edit: got turn {turn!r}, but the user has said {len(places)} things"
            )
        message = {**self.messages[places[turn]], "content": text}
        return self._answer([*self.messages[: places[turn]], message], options)

    def check(self, **options: Unpack[AnswerOptions]) -> None:
        """Raises what `send` would raise for these options, without a message.

        Args:
            **options: see `AnswerOptions`.

        Raises:
            InvalidRequestError: one is out of range.
        """
        own: AnswerOptions = {**options, "session": self.session}
        self._model.check(**own)

    def warm(self) -> int:
        """Reads now what every next turn begins with, such as the system prompt and the tools.

        `session.save` then keeps it, and a session opened from that file has read it already.

        Returns:
            How many tokens it read; 0 where the session held them.

        Raises:
            LfmError: as `send`.
        """
        one, other = self._next_prompt("a"), self._next_prompt("b")
        pairs = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
        shared = [token for token, _ in pairs]
        if not shared or self.session.ids[: len(shared)] == shared:
            return 0
        unread = self.session.resume(shared)
        self.session.prefill(unread)
        return len(unread)

    def fork(self) -> Conversation:
        """One that goes on by itself from here; see `Session.fork`."""
        other = Conversation(self._model, self.messages, self.session.fork(), self._setting)
        other.last = self.last
        return other

    def save(self, path: Path | str) -> None:
        """Writes it, with what its session holds, to a file that `open` reads.

        Of the tools their schemas are kept, not the functions.

        Args:
            path: the file; it takes its name when it is whole.

        Raises:
            InvalidRequestError: a message holds what is not JSON.
            LfmError: as `Session.save`.
        """
        tools, options = self._setting["tools"], self._setting["template_options"]
        saved = {
            "messages": _messages(self.messages),
            "tools": None if tools is None else [tool.to_json() for tool in tools],
            "template_options": options,
            "clock": self._setting["clock"].isoformat(),
        }
        try:
            attached = json.dumps(saved, allow_nan=False)
            json.dumps(saved, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidRequestError(
                f"save: the conversation holds a value that is not JSON: {error}"
            ) from None
        self.session.save(path, attached=attached)

    @classmethod
    def open(cls, model: Answerer, path: Path | str, context: int | None = None) -> Conversation:
        """What `save` wrote; it reads nothing again.

        Args:
            model: of the same bundle.
            path: the file.
            context: the session's capacity; by default that of the saved one.

        Raises:
            SessionFileError: the file holds a session, but no conversation.
            LfmError: whatever else `Session.open` raises.
        """
        with session_file.opened(Path(path), model.bundle) as file:
            attached = file.attached
        try:
            saved = msgspec.json.decode(attached, type=_Saved)
            tools = None if saved.tools is None else list(map(Tool.from_json, saved.tools))
        except (msgspec.MsgspecError, InvalidRequestError, RecursionError):
            raise SessionFileError(
                f"{path}: holds a session, but no conversation; open it by Session.open"
            ) from None
        setting = Setting(tools=tools, template_options=saved.template_options, clock=saved.clock)
        return cls(model, saved.messages, Session.open(model, path, context), setting)

    def _next_prompt(self, text: str) -> list[int]:
        """The prompt if the user said this now."""
        return self._model.prompt_ids(
            [*self.messages, {"role": "user", "content": text}],
            self._setting["tools"],
            self._setting["template_options"],
            self._setting["clock"],
        )

    def _answer(self, messages: list[Message], options: AnswerOptions) -> Turn:
        own: AnswerOptions = {**options, "session": self.session}
        answer = self._model.events(messages, **self._setting, **own)
        return Turn(answer, partial(self._listen, messages))

    def _listen(self, messages: list[Message], turn: Turn, events: EventStream) -> Iterator[Event]:
        content: list[str] = []
        thinking: list[str] = []
        calls: list[dict[str, Any]] = []
        for event in events:
            match event:
                case Text(text) | InvalidToolCall(text):
                    content.append(text)
                case Reasoning(text):
                    thinking.append(text)
                case ToolCall(name, arguments):
                    function = {"name": name, "arguments": arguments}
                    calls.append({"type": "function", "function": function})
                case End():
                    answer: dict[str, Any] = {"role": "assistant", "content": "".join(content)}
                    answer |= {"thinking": "".join(thinking)} if thinking else {}
                    answer |= {"tool_calls": calls} if calls else {}
                    said = content or thinking or calls or event.reason != "cancelled"
                    if said and not turn.abandoned:
                        self.messages = [*messages, answer]
                    self.last = event
            yield event


def _messages(messages: Sequence[Message]) -> list[Message]:
    """The messages, which a caller may have changed, if they are some."""
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            kind = type(message).__name__
            raise InvalidRequestError(f"messages[{index}]: got a {kind}, expected a mapping")
    return list(messages)


class _Saved(msgspec.Struct):
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    template_options: dict[str, Any] | None
    clock: datetime
