"""Which MCP servers there are, as other clients of MCP write it down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ..errors import InvalidRequestError

__all__ = ["ServerConfig", "read_config"]

_EXPECTED = 'expected {"mcpServers": {NAME: {"command": ..., "args": [...], "env": {...}}}}'


class ServerConfig(msgspec.Struct, frozen=True):
    """A server: a program that is started, or an address.

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
    servers: dict[str, dict[str, Any]] = msgspec.field(name="mcpServers")


_KINDS = ("stdio", "http", "streamable-http", "streamableHttp")
"""What clients write as `type`, which the other fields tell as well."""


def read_config(
    path: Path | str, note: Callable[[str], None] = lambda _: None
) -> dict[str, ServerConfig]:
    """The servers of a file, `{"mcpServers": {name: {"command", "args", "env"} or {"url"}}}`.

    Args:
        path: the file.
        note: is told what is passed over: fields that are not known, servers that are `disabled`.

    Raises:
        OSError: the file cannot be read.
        InvalidRequestError: it says something else.
    """
    try:
        given = msgspec.json.decode(Path(path).read_bytes(), type=_File).servers
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"{path}: {error}; {_EXPECTED}") from None
    servers = {}
    for name, fields in given.items():
        if fields.get("disabled") is True:
            note(f"server {name}: disabled")
        else:
            servers[name] = _server(f"{path}: server {name!r}", name, fields, note)
    if not servers:
        raise InvalidRequestError(f"{path}: names no server; {_EXPECTED}")
    return servers


def _server(
    where: str, name: str, fields: dict[str, Any], note: Callable[[str], None]
) -> ServerConfig:
    try:
        server = msgspec.convert(fields, ServerConfig)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"{where}: {error}") from None
    if not name.strip():
        raise InvalidRequestError(f"{where}: expected a name")
    if bool(server.command) == bool(server.url):
        raise InvalidRequestError(f"{where}: expected either a command or a url")
    if server.url and not server.url.startswith(("http://", "https://")):
        raise InvalidRequestError(f"{where}: url: got {server.url!r}, expected http(s)://...")
    if fields.get("type", "http") not in _KINDS:
        raise InvalidRequestError(
            f"{where}: type: got {fields['type']!r}, expected stdio or http (streamable HTTP)"
        )
    for field in fields.keys() - {*ServerConfig.__struct_fields__, "type", "disabled"}:
        note(f"server {name}: the field {field!r} is not known and has no effect")
    return server
