"""`lfm-edge agent`: a local assistant that runs tools, and asks before it does."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..chat.calls import ToolCall
from ..command_options import with_answer_options
from ..display import printable
from ..errors import InvalidRequestError
from ..generation_options import AGENT_CONTEXT, AnswerOptions
from ..model import Model, load
from ..repl import Command, Transcript, converse, stoppable, turns
from ..repl.terminal import interruptible
from .audit import AuditLog
from .config import read_config
from .loop import Agent, Done, ToolResult
from .servers import Servers

__all__ = ["agent"]

_MOST_SHOWN = 400


class _Choice(Enum):
    """Whether the first answer to a question must be a call."""

    auto = "auto"
    required = "required"


@with_answer_options
def agent(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The bundle's folder.")],
    *,
    mcp: Annotated[Path, typer.Option(metavar="F", help="Servers, as JSON.")],
    log: Annotated[Path | None, typer.Option(metavar="L", help="Record of every call.")] = None,
    yes: Annotated[str, typer.Option(metavar="NAMES", help="Run these unasked: NAME,...")] = "",
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Instructions for the model.")
    ] = None,
    tool_choice: Annotated[
        _Choice, typer.Option(metavar="C", help="auto; required: call first.", show_default=False)
    ] = _Choice.auto,
    prompt_cache: Annotated[
        Path | None, typer.Option(metavar="P", help="Keeps the read tools.")
    ] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="Threads.")] = None,
    options: AnswerOptions,
) -> None:
    """Talk with a model that runs tools of MCP servers, and asks before each call.

    Example: lfm-edge agent OUT --mcp servers.json --log calls.jsonl --yes add,now
    """
    signal.signal(signal.SIGTERM, _terminated)
    config = read_config(mcp, _note)
    with ExitStack() as stack:
        record = None if log is None else stack.enter_context(AuditLog(log))
        model = load(out, threads)
        servers = stack.enter_context(Servers(config, note=_note))
        allowed = _names(yes, servers)
        context = options.pop("context", None) or _default_context(model)
        console = _Console(options)
        console.agent = made = Agent(
            model,
            servers,
            confirm=console.confirm,
            allowed=allowed,
            log=record,
            system=system,
            tool_choice=tool_choice.value,
            context=context,
        )
        made.conversation.check(**options)
        if prompt_cache is not None:
            made.warm(prompt_cache)
        console.run()


class _Console:
    """The agent's side of a terminal: shows what happens, and asks."""

    agent: Agent

    def __init__(self, options: AnswerOptions) -> None:
        self._options, self._lines = options, turns()
        self._transcript = Transcript()

    def run(self) -> None:
        commands = (
            Command("/tools", "list the tools; * marks those that run without asking", self._tools),
            Command("/tokens", "show how full the context is", self._tokens),
            Command("/reset", "forget what was said", lambda _: self.agent.reset()),
        )
        converse(self._lines, self._say, {command.name: command for command in commands})

    def confirm(self, call: ToolCall, server: str | None) -> bool:
        """Asks whether a call may run; whatever is no yes is a no, and so is Ctrl-C."""
        self._transcript.line(
            printable(f"run {call.name} of server {server}? [y]es, [n]o, [a]lways in this run")
        )
        try:
            with interruptible():
                answer = self._answer().strip().lower()
        except KeyboardInterrupt:
            self._stop.set()
            return False
        if answer in {"a", "always"}:
            self.agent.allowed.add(call.name)
        return answer in {"a", "always", "y", "yes"}

    def _answer(self) -> str:
        if sys.stdin.isatty():  # `input` would put it into the history
            return sys.stdin.readline()
        return next(self._lines, "")

    def _say(self, text: str) -> None:
        with stoppable() as self._stop:
            options: AnswerOptions = {**self._options, "cancel": self._stop}
            self._transcript.show(self._told(text, options))

    def _told(self, text: str, options: AnswerOptions) -> Iterator[object]:
        for event in self.agent.ask(text, **options):
            match event:
                case ToolResult():
                    self._transcript.line(_result_line(event))
                case Done(reason="rounds", rounds=rounds):
                    self._transcript.line(f"stopped: the model has not answered in {rounds} rounds")
                case Done(reason="uncalled"):
                    self._transcript.line(
                        "stopped: the answer ended before the required call; raise --max-tokens or "
                        "set --thinking-budget"
                    )
                case _:
                    yield event

    def _tools(self, _: str) -> None:
        for tool in self.agent.tools:
            mark = "*" if tool.name in self.agent.allowed else " "
            about = (tool.description.strip().splitlines() or [""])[0]
            print(printable(f"{mark} {tool.name}  {about}".rstrip()))

    def _tokens(self, _: str) -> None:
        session = self.agent.conversation.session
        print(f"{session.position:,} of {session.capacity:,} tokens")


def _terminated(number: int, _: object) -> None:
    """Ends as Ctrl-C does: the call in progress is recorded, and the servers end."""
    raise SystemExit(128 + number)


def _result_line(result: ToolResult) -> str:
    """A result in one line that a terminal can show."""
    shown = printable(result.text[:_MOST_SHOWN])
    left = len(result.text) - _MOST_SHOWN
    return f"result: {shown}{f' [{left:,} more characters]' if left > 0 else ''}"


def _names(yes: str, servers: Servers) -> list[str]:
    names = [name.strip() for name in yes.split(",") if name.strip()]
    known = {tool.name for tool in servers.tools}
    if unknown := sorted(set(names) - known):
        raise InvalidRequestError(f"--yes: there is no tool {unknown[0]!r}; /tools lists them")
    return names


def _default_context(model: Model) -> int:
    return min(AGENT_CONTEXT, model.bundle.manifest.model.max_context)


def _note(text: str) -> None:
    print(printable(f"note: {text}"), file=sys.stderr)
