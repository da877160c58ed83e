"""Which MCP servers there are, as other clients of MCP write it down."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import InvalidRequestError

__all__ = ["ServerConfig", "read_config"]

_EXPECTED = 'expected {"mcpServers": {NAME: {"command": ..., "args": [...], "env": {...}}}}'


class ServerConfig(msgspec.Struct, frozen=True):
    """A server: a program that is started, or an address; other fields are passed over.

    Attributes:
        command: the program, which speaks over its standard input and output.
        args: its arguments.
        env: its environment, beside the few variables that every server gets (`PATH`, `HOME`).
        url: the address of a server that runs already (streamable HTTP).
    """

    command: str | None = None
    args: list[str] = []
    env: dict[str, str] = {}
    url: str | None = None


class _File(msgspec.Struct):
    servers: dict[str, ServerConfig] = msgspec.field(name="mcpServers")


def read_config(path: Path | str) -> dict[str, ServerConfig]:
    """The servers of a file, `{"mcpServers": {name: {"command", "args", "env"} or {"url"}}}`.

    Args:
        path: the file.

    Raises:
        OSError: the file cannot be read.
        InvalidRequestError: it says something else.
    """
    try:
        servers = msgspec.json.decode(Path(path).read_bytes(), type=_File).servers
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"{path}: {error}; {_EXPECTED}") from None
    if not servers:
        raise InvalidRequestError(f"{path}: names no server; {_EXPECTED}")
    for name, server in servers.items():
        where = f"{path}: server {name!r}"
        if not name.strip():
            raise InvalidRequestError(f"{where}: expected a name")
        if bool(server.command) == bool(server.url):
            raise InvalidRequestError(f"{where}: expected either a command or a url")
        if server.url and not server.url.startswith(("http://", "https://")):
            raise InvalidRequestError(f"{where}: url: got {server.url!r}, expected http(s)://...")
    return servers
