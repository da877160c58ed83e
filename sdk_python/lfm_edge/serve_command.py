"""The command `serve`: a bundle behind OpenAI's and Anthropic's APIs."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
from pathlib import Path
from typing import Annotated

import typer

from .errors import InvalidRequestError
from .model import load

__all__ = ["serve"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def serve(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The bundle's folder.")],
    port: Annotated[int, typer.Option(metavar="P", help="Port; 0: any free one.")] = 8080,
    host: Annotated[
        str, typer.Option(metavar="H", help="Address; another than this machine's needs a key.")
    ] = "127.0.0.1",
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="K",
            help="What requests must show (default: LFM_EDGE_API_KEY).",
            show_default=False,
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="O", help="A page that may ask, as https://name:port; repeatable."),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Tokens of a conversation (default: 4096).", show_default=False
        ),
    ] = None,
    cache: Annotated[
        str, typer.Option(metavar="SIZE", help="State kept between requests, as 500M or 2G.")
    ] = "1G",
    parallel: Annotated[int, typer.Option(metavar="N", help="Requests answered side by side.")] = 4,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", help="Threads (default: physical cores).", show_default=False),
    ] = None,
) -> None:
    """Serve a bundle to OpenAI's and Anthropic's clients, and a page to chat at /.

    Example: lfm-edge serve OUT --port 8080
    """
    import uvicorn  # noqa: PLC0415 (an extra, as is what the next two load)

    from .server.app import Settings, create_app  # noqa: PLC0415
    from .server.security import is_loopback  # noqa: PLC0415

    class Server(uvicorn.Server):
        """Ends the answers first, for it waits for those who read them."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.state.service.engine.stop()
            await super().shutdown(sockets)

    api_key = api_key or os.environ.get("LFM_EDGE_API_KEY") or None
    if api_key is None and not is_loopback(host):
        raise InvalidRequestError(
            f"--host {host} lets other machines ask; give an --api-key that they must show"
        )
    if parallel < 1:
        raise InvalidRequestError(f"--parallel: got {parallel}, expected 1 or more")
    settings = Settings(
        host=host,
        api_key=api_key,
        origins=[_origin(origin) for origin in allow_origin or ()],
        context=context,
        cache_bytes=_size(cache),
        slots=parallel,
    )
    listening = _listen(host, port)
    with listening:
        app = create_app(load(out, threads), settings)
        config = uvicorn.Config(
            app, log_level="warning", server_header=False, timeout_graceful_shutdown=5
        )
        server = Server(config)
        logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
        shown = f"[{host}]" if ":" in host else host
        print(f"http://{shown}:{listening.getsockname()[1]}/ (Ctrl-C stops it)", flush=True)
        # uvicorn raises a signal again once it has stopped; it was obeyed by then.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        server.run(sockets=[listening])


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """A request that is half sent when the server stops is cancelled, which is no error."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address.

    Raises:
        InvalidRequestError: it cannot be.
    """
    if not 0 <= port <= 65535:
        raise InvalidRequestError(f"--port: got {port}, expected 0 to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol named, asyncio sends small pieces at once; else each waits some 40 ms.
        listening = socket.socket(*found[:3])
    except OSError as error:
        raise InvalidRequestError(f"--host {host}: {error.strerror}") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(found[4])
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise InvalidRequestError(
            f"{host}, port {port}: {(error.strerror or str(error)).lower()}; choose another --port"
        ) from None
    return listening


def _origin(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s*]+", text):
        raise InvalidRequestError(f"--allow-origin: got {text!r}, expected https://name:port")
    return text


def _size(text: str) -> int:
    """The bytes of `500M` or `2G`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", text.strip().lower())
    if found is None:
        raise InvalidRequestError(f"--cache: got {text!r}, expected a size such as 500M or 2G")
    return int(float(found[1]) * _UNITS[found[2]])
