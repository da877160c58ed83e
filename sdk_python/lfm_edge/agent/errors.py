"""What goes wrong with MCP servers."""

from __future__ import annotations

from ..errors import LfmError

__all__ = ["CallError", "CallStoppedError", "ServerError"]


class ServerError(LfmError):
    """A server cannot be started, or does not speak MCP."""


class CallError(Exception):
    """A call failed: one line that the model can be told."""


class CallStoppedError(Exception):
    """A call was given up."""
