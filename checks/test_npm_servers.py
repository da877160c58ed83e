"""MCP servers that others wrote, from npm; installed once into the build folder."""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from lfm_edge.agent import CallError, ServerConfig, Servers

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "npm-mcp-servers"
VERSION = "2026.8.31"
GO = threading.Event()  # never set


def installed(name: str) -> str:
    """The script of a server; skips the test that asks for it where npm cannot give it."""
    script = FOLDER / "node_modules" / "@modelcontextprotocol" / name / "dist" / "index.js"
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("NOT RUN, the servers of npm: node and npm are not installed")
    if not script.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        package = f"@modelcontextprotocol/{name}@{VERSION}"
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            subprocess.run(
                [*command, "--prefix", str(FOLDER), package],
                check=True,
                capture_output=True,
                timeout=300,
            )
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"NOT RUN, {package}: npm cannot install it: {error}")
    return str(script)


def test_the_server_of_everything() -> None:
    script = installed("server-everything")
    with Servers({"all": ServerConfig(command="node", args=[script, "stdio"])}) as servers:
        names = {tool.name for tool in servers.tools}
        assert {"echo", "get-sum"} <= names
        assert "hello" in servers.call("echo", {"message": "hello"}, GO)
        assert "5" in servers.call("get-sum", {"a": 2, "b": 3}, GO)
        assert "image/png" in servers.call("get-tiny-image", {}, GO)
        with pytest.raises(CallError):
            servers.call("get-sum", {"a": "two"}, GO)


def test_the_server_of_files(tmp_path: Path) -> None:
    script = installed("server-filesystem")
    (tmp_path / "read me.txt").write_text("what it holds")
    with Servers({"fs": ServerConfig(command="node", args=[script, str(tmp_path)])}) as servers:
        read = {"path": str(tmp_path / "read me.txt")}
        assert "what it holds" in servers.call("read_text_file", read, GO)
        written = {"path": str(tmp_path / "new"), "content": "it's new"}
        servers.call("write_file", written, GO)
        assert (tmp_path / "new").read_text() == "it's new"
        with pytest.raises(CallError):
            servers.call("read_text_file", {"path": "/etc/hostname"}, GO)
