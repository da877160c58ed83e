"""Who may ask: the names a request may use for this server, the pages it may come from, its key.

A page in the browser reaches what listens on loopback. It is told apart by `Origin`, which a
browser sends with each request that could change something, and, where a name of the page's own
was made to point here (DNS rebinding), by `Host`.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import error_response

__all__ = ["Guard", "is_loopback"]

_OPEN = ("/", "/health")
"""What needs no key, besides the page's own files."""


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own, reached by nobody else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses requests that may not ask.

    Args:
        app: what answers the others.
        host: the address that the server is bound to.
        api_key: what a request must show as `Authorization: Bearer` or `x-api-key`; None: nothing.
        origins: pages that may ask, as `https://name:port`, besides the server's own.
    """

    def __init__(
        self, app: ASGIApp, host: str, api_key: str | None, origins: Collection[str]
    ) -> None:
        self._app, self._host, self._origins = app, host, frozenset(origins)
        self._key = None if api_key is None else api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] == "http" and (refused := self._refused(scope)):
            response = error_response(scope["path"], *refused)
            await response(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        await self._app(scope, receive, send)

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host, origins = headers.get("host", ""), headers.getlist("origin")
        if not self._knows(host):
            return 403, f"Host {host[:100]!r} is not this server's; use its address"
        own = {f"{scheme}://{host}" for scheme in ("http", "https")}
        if others := [origin for origin in origins if origin not in own | self._origins]:
            which = repr(others[0][:100])
            return 403, f"Origin {which} may not ask; start the server with --allow-origin for it"
        path = scope["path"]
        if self._key is None or path in _OPEN or path.startswith("/page/"):
            return None
        if not self._has_key(headers):
            return 401, "the API key is missing or wrong; send it as Authorization: Bearer KEY"
        return None

    def _knows(self, host: str) -> bool:
        """Whether a `Host` is this server: on loopback no other name; elsewhere the key decides."""
        if set(host) & set("@/?#\\"):  # a name and a port have none of them
            return False
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return bool(name) and (not is_loopback(self._host) or is_loopback(name))

    def _has_key(self, headers: Headers) -> bool:
        assert self._key is not None
        kind, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")
        return hmac.compare_digest(given.encode(), self._key)
