"""Assistants that run tools: of MCP servers, and plain Python functions; see docs/agent.md."""

from .audit import AuditLog
from .config import ServerConfig, read_config
from .errors import CallError, CallStoppedError, ServerError
from .loop import Agent, AgentEvent, Done, ToolResult
from .servers import Servers

__all__ = [
    "Agent",
    "AgentEvent",
    "AuditLog",
    "CallError",
    "CallStoppedError",
    "Done",
    "ServerConfig",
    "ServerError",
    "Servers",
    "ToolResult",
    "read_config",
]
