"""`lfm-edge chat`: a conversation, and commands that go back in it, keep it and open it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from ..chat.events import Event
from ..conversation import Conversation
from ..errors import InvalidRequestError
from ..generation_options import AnswerOptions
from ..model import Model
from .converse import Command, converse
from .terminal import stoppable
from .transcript import Transcript

__all__ = ["Chat"]

_EDIT = re.compile(r"(?:(\d{1,9})\s+)?(.+)", re.DOTALL)


class Chat:
    """A conversation at the command line.

    Args:
        model: opens conversations that were saved.
        conversation: the one that it begins with; `/reset` goes back to its messages.
        options: how to answer.
    """

    def __init__(self, model: Model, conversation: Conversation, options: AnswerOptions) -> None:
        self.conversation = conversation
        """The current one."""
        self._model, self._options = model, options
        self._opening = list(conversation.messages)

    def run(self, lines: Iterator[str]) -> None:
        """Answers each line; see `converse`."""
        commands = (
            Command(
                "/edit [N] TEXT", "say something else in turn N (default: the last)", self._edit
            ),
            Command("/retry", "answer the last turn anew", self._retry),
            Command("/save FILE", "keep the conversation in a file", self._save),
            Command("/open FILE", "go on with one that was kept", self._open),
            Command("/tokens", "show how full the context is", self._tokens),
            Command("/reset", "forget what was said", self._reset),
        )
        converse(lines, self._say, {command.name: command for command in commands})

    def _say(self, text: str) -> None:
        self._show(lambda options: self.conversation.send(text, **options))

    def _edit(self, argument: str) -> None:
        found = _EDIT.fullmatch(argument)
        if found is None:
            raise InvalidRequestError("/edit: expected a text, or a turn's number and a text")
        if found[1] == "0":
            raise InvalidRequestError("/edit: turns are counted from 1")
        turn = int(found[1]) - 1 if found[1] else -1
        self._show(lambda options: self.conversation.edit(turn, found[2], **options))

    def _retry(self, _: str) -> None:
        self._show(lambda options: self.conversation.regenerate(**options))

    def _save(self, name: str) -> None:
        self.conversation.save(_file("/save", name))
        print(f"saved {len(self.conversation.messages)} messages")

    def _open(self, name: str) -> None:
        self.conversation = Conversation.open(self._model, _file("/open", name))
        print(f"opened {len(self.conversation.messages)} messages")

    def _tokens(self, _: str) -> None:
        session = self.conversation.session
        print(f"{session.position:,} of {session.capacity:,} tokens")

    def _reset(self, _: str) -> None:
        self.conversation.messages = list(self._opening)

    def _show(self, answer: Callable[[AnswerOptions], Iterable[Event]]) -> None:
        with stoppable() as stop:
            options: AnswerOptions = {**self._options, "cancel": stop}
            Transcript().show(answer(options))


def _file(command: str, name: str) -> str:
    if not name:
        raise InvalidRequestError(f"{command}: expected the name of a file")
    return name
