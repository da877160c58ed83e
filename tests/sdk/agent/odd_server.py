"""A server that speaks MCP by hand, oddly: `python odd_server.py HOW [FILE OTHER_FILE]`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

how, *files = sys.argv[1:]
TOOLS = [{"name": "ok", "inputSchema": {"type": "object"}}]


def result(method: str, parameters: dict[str, Any]) -> dict[str, Any]:
    if method == "initialize":
        version = parameters["protocolVersion"]
        about = {"serverInfo": {"name": "odd", "version": "1"}, "capabilities": {"tools": {}}}
        return {"protocolVersion": version, **about}
    if method == "tools/list" and how == "endless":
        return {"tools": [], "nextCursor": "again"}
    if method == "tools/list":
        return {"tools": TOOLS}
    if how == "slow":
        time.sleep(20)
    if how == "structured":
        return {"content": [], "structuredContent": {"a": [1, "é"]}}
    return {"content": [{"type": "text", "text": "fine"}]}


if how == "chatty":
    print("Server listening ...\n\x1b[31mnot a message", flush=True)
if how == "together":  # it starts once the other one has begun to
    Path(files[0]).touch()
    while not Path(files[1]).exists():
        time.sleep(0.01)
for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        answer = {"jsonrpc": "2.0", "id": asked["id"]}
        answer["result"] = result(asked["method"], asked.get("params", {}))
        print(json.dumps(answer), flush=True)
