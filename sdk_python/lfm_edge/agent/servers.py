"""The tools of several MCP servers under names that differ."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..chat.tools import Tool
from ..errors import InvalidRequestError
from ..extras import missing_dependency
from .config import ServerConfig

if TYPE_CHECKING:  # needs the extra
    from .connection import Connection

__all__ = ["Servers"]


class Servers:
    """MCP servers that run, and their tools; close it, or use it in a `with`.

    A tool has the name that its server gives it, with `_` for what cannot be written in a call.
    Where several servers have the same, each has its server's name before it: `files.search`.

    Args:
        config: the servers by name; see `read_config`.
        note: is told what is left out: tools whose schemas are none.

    Raises:
        MissingDependencyError: the `mcp` package is not installed.
        ServerError: a server does not start; those that did are ended again.
    """

    def __init__(
        self, config: Mapping[str, ServerConfig], note: Callable[[str], None] = lambda _: None
    ) -> None:
        try:
            from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 (optional)

            from .connection import Connection  # noqa: PLC0415 (optional)
        except ModuleNotFoundError as error:
            raise missing_dependency("mcp" if error.name == "anyio" else error.name or "") from None
        self.tools: list[Tool] = []
        """What a model is told of them."""
        self._places: dict[str, tuple[Connection, str]] = {}
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal())
            connections = []  # they start side by side
            for name, server in config.items():
                connection = Connection(name, server, portal)
                stack.callback(connection.close)
                connections.append(connection)
            for connection in connections:
                connection.wait()
            self._take([(c, tool) for c in connections for tool in c.tools], note)
            self._stack = stack.pop_all()

    def server_of(self, name: str) -> str:
        """The server that has the tool of this `name`."""
        return self._places[name][0].name

    def call(self, name: str, arguments: Mapping[str, Any], stop: threading.Event) -> str:
        """Runs a tool, and gives its result as text.

        Args:
            name: as it is among `tools`.
            arguments: JSON values by parameter name.
            stop: gives the call up once it is set.

        Raises:
            CallError: the server says that the call has failed, or does not answer any more.
            CallStoppedError: `stop` was set.
        """
        connection, tool = self._places[name]
        return connection.call(tool, arguments, stop)

    def close(self) -> None:
        """Ends the servers."""
        self._stack.close()

    def __enter__(self) -> Servers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take(self, found: list[tuple[Connection, Any]], note: Callable[[str], None]) -> None:
        plain = Counter(_writable(tool.name) for _, tool in found)
        for connection, tool in found:
            name = _writable(tool.name)
            if plain[name] > 1:
                name = _writable(f"{connection.name}.{tool.name}")
            name = _unused(name, self._places)
            try:
                made = Tool(name, tool.description or "", tool.input_schema)
            except InvalidRequestError as error:
                note(f"server {connection.name}: left out {error}")
                continue
            self.tools.append(made)
            self._places[name] = (connection, tool.name)


def _writable(name: str) -> str:
    """A name that a call can have."""
    return re.sub(r"[^\w$@./:-]", "_", name)[:100].rstrip("$@./:-") or "tool"


def _unused(name: str, used: Mapping[str, Any]) -> str:
    number, free = 1, name
    while free in used:
        number += 1
        free = f"{name}_{number}"
    return free
