"""Assistants that run tools: of MCP servers, and plain Python functions; see docs/agent.md."""

from .audit import AuditLog
from .config import ServerConfig, read_config
from .loop import Agent, AgentEvent, Done, ToolResult
from .servers import Servers

__all__ = [
    "Agent",
    "AgentEvent",
    "AuditLog",
    "Done",
    "ServerConfig",
    "Servers",
    "ToolResult",
    "read_config",
]
