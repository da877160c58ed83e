"""Connections to MCP servers: the one file that knows the `mcp` package, which is optional."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future, wait
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import IO, Any

import mcp
import mcp.types
from anyio.from_thread import BlockingPortal
from mcp.client.stdio import stdio_client

from .config import ServerConfig
from .errors import CallError, CallStoppedError, ServerError

__all__ = ["Connection"]

_START_SECONDS = 60.0
_CALL_SECONDS = 600.0
_MOST_TOOLS = 1000
_LONGEST = 1_000_000
_LOOK_SECONDS = 0.1


class Connection:
    """A server that was started, or that is spoken to over HTTP.

    Args:
        name: what the configuration calls it.
        config: how to reach it.
        portal: the event loop that it lives in.

    Raises:
        ServerError: it does not start.
    """

    def __init__(self, name: str, config: ServerConfig, portal: BlockingPortal) -> None:
        self.name, self._portal = name, portal
        with ExitStack() as stack:
            said = stack.enter_context(tempfile.TemporaryFile("w+", errors="replace"))
            opening = portal.wrap_async_context_manager(_opened(config, said))
            try:
                self._client, self.tools = stack.enter_context(opening)
            except Exception as error:
                reason = " ".join(filter(None, (_reason(error), _last_words(said))))
                raise ServerError(f"server {name}: cannot start: {reason}") from None
            self._stack = stack.pop_all()

    def call(self, tool: str, arguments: Mapping[str, Any], stop: threading.Event) -> str:
        """Runs a tool and gives its result as text.

        Args:
            tool: its name, as the server calls it.
            arguments: JSON values.
            stop: gives the call up once it is set.

        Raises:
            CallError: the tool or the server failed.
            CallStoppedError: `stop` was set.
        """
        try:
            future: Future[mcp.types.CallToolResult] = self._portal.start_task_soon(
                self._call, tool, dict(arguments)
            )
        except RuntimeError as error:  # the event loop has ended
            raise CallError(f"server {self.name}: {error}") from None
        try:
            while not wait([future], _LOOK_SECONDS).done:
                if stop.is_set():
                    raise CallStoppedError
            result = future.result()
        except (CallStoppedError, KeyboardInterrupt):
            future.cancel()
            raise
        except Exception as error:  # a server may break in whatever way it likes
            raise CallError(f"server {self.name}: {_reason(error)}") from None
        text = _text(result)[:_LONGEST]
        if result.is_error:
            raise CallError(text or "the tool failed")
        return text

    def close(self) -> None:
        """Ends the server that was started; one that broke is closed already."""
        with suppress(Exception):
            self._stack.close()

    async def _call(self, tool: str, arguments: dict[str, Any]) -> mcp.types.CallToolResult:
        return await self._client.call_tool(tool, arguments, read_timeout_seconds=_CALL_SECONDS)


@asynccontextmanager
async def _opened(
    config: ServerConfig, said: IO[str]
) -> AsyncIterator[tuple[mcp.Client, list[mcp.types.Tool]]]:
    target: Any = config.url
    if config.command is not None:
        parameters = mcp.StdioServerParameters(
            command=config.command, args=config.args, env=config.env
        )
        target = stdio_client(parameters, errlog=said)  # type: ignore[arg-type]
    client = mcp.Client(target, read_timeout_seconds=_START_SECONDS)
    async with client:
        yield client, await _list(client)


async def _list(client: mcp.Client) -> list[mcp.types.Tool]:
    tools: list[mcp.types.Tool] = []
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None or len(tools) >= _MOST_TOOLS:
            return tools[:_MOST_TOOLS]


def _text(result: mcp.types.CallToolResult) -> str:
    """A result as a model reads it; what is no text is named."""
    parts = []
    for block in result.content:
        match block:
            case mcp.types.TextContent():
                parts.append(block.text)
            case mcp.types.ImageContent() | mcp.types.AudioContent():
                parts.append(f"[{block.type}, {block.mime_type}]")
            case mcp.types.EmbeddedResource(resource=mcp.types.TextResourceContents() as inner):
                parts.append(inner.text)
            case mcp.types.EmbeddedResource():
                parts.append(f"[resource {block.resource.uri}]")
            case mcp.types.ResourceLink():
                parts.append(f"[resource {block.uri}]")
    return "\n".join(parts)


def _reason(error: BaseException) -> str:
    """One line about what went wrong, from whatever the library raised."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, FileNotFoundError):
        return f"{error.filename or error}: no such command"
    text = " ".join(str(getattr(error, "message", "") or error).split())
    return text[:500] or type(error).__name__


def _last_words(said: IO[str]) -> str:
    """The last line that a server wrote to its standard error."""
    said.seek(0)
    lines = [line for line in said.read(_LONGEST).splitlines() if line.strip()]
    return f"({lines[-1].strip()[:300]})" if lines else ""
