"""Connections to MCP servers: the one file that knows the `mcp` package, which is optional."""

from __future__ import annotations

import json
import logging
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future, wait
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import IO, Any

import anyio
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

# It would print a traceback for each line of a server that is no message.
logging.getLogger("mcp").addHandler(logging.NullHandler())


class Connection:
    """A server that was started, or that is spoken to over HTTP.

    Args:
        name: what the configuration calls it.
        config: how to reach it.
        portal: the event loop that it lives in.
    """

    def __init__(self, name: str, config: ServerConfig, portal: BlockingPortal) -> None:
        self.name, self._portal = name, portal
        self.tools: list[mcp.types.Tool] = []
        """Its tools, once `wait` has returned."""
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._opened: Future[None] = Future()
        self._deadline = time.monotonic() + _START_SECONDS
        self._end = portal.call(anyio.Event)
        self._life = portal.start_task_soon(self._live, config)

    def wait(self) -> None:
        """Waits until it has started.

        Raises:
            ServerError: it does not start.
        """
        try:
            self._opened.result(max(0, self._deadline - time.monotonic()))
        except Exception as error:
            what = f"no list of tools within {_START_SECONDS:g} seconds"
            if self._opened.done():
                what = _reason(error)
            reason = " ".join(filter(None, (what, _last_words(self._said))))
            raise ServerError(f"server {self.name}: cannot start: {reason}") from None

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
        finally:  # an interrupt too; of one that is done this means nothing
            future.cancel()
        try:
            result = future.result()
        except Exception as error:  # a server may break in whatever way it likes
            raise CallError(f"server {self.name}: {_reason(error)}") from None
        text = _text(result)[:_LONGEST]
        if result.is_error:
            raise CallError(text or "the tool failed")
        return text

    def close(self) -> None:
        """Ends the server that was started; one that broke is closed already."""
        with suppress(Exception):
            self._portal.call(self._end.set)
            if not self._opened.done():
                self._life.cancel()
            self._life.result()
        self._said.close()

    async def _live(self, config: ServerConfig) -> None:
        """Starts it, and ends it once it is closed: both must happen in one task."""
        try:
            async with AsyncExitStack() as stack:
                opening = _opened(config, self._said)
                self._client, self.tools = await stack.enter_async_context(opening)
                self._opened.set_result(None)
                await self._end.wait()
        except BaseException as error:
            if self._opened.done() or not isinstance(error, Exception):
                raise
            self._opened.set_exception(error)

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
    while len(tools) < _MOST_TOOLS:
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        if page.next_cursor in {None, cursor}:  # a list that never ends gives the same again
            break
        cursor = page.next_cursor
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
    if not parts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
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
