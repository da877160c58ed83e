"""How much a request may hold."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import error_response

__all__ = ["MAX_BODY", "MAX_MESSAGES", "MAX_PROMPTS", "MAX_TOOLS", "BodyLimit"]

MAX_BODY = 8 << 20
"""Bytes of a request's body: a context of 128,000 tokens is below one million characters."""
MAX_MESSAGES = 2048
MAX_TOOLS = 512
MAX_PROMPTS = 128
"""Choices of one request."""


class BodyLimit:
    """Refuses bodies that are too large, by what they say or, if they say nothing, as they come."""

    def __init__(self, app: ASGIApp, most: int = MAX_BODY) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > self._most:
            response = error_response(scope["path"], 413, self._message())
            await response(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise HTTPException(413, self._message())
            return message

        await self._app(scope, counted, send)

    def _message(self) -> Any:
        return f"the body is larger than {self._most:,} bytes"
