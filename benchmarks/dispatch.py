"""What does an agent add to a call? From the model's call to the text that it is told.

A real MCP server over stdio with 60 tools, one of which answers at once; the model is left out, the
rest is the agent's own: check against the schema, decision, call, record on disk, shortening.

    python benchmarks/dispatch.py OUT
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import lfm_edge
from lfm_edge.agent import Agent, AuditLog, ServerConfig, Servers
from lfm_edge.chat import ToolCall

SERVER = Path(__file__).parents[1] / "tests" / "sdk" / "agent" / "server.py"
CALLS = 200


def main() -> None:
    """Prints median, 99th percentile and maximum."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    arguments = parser.parse_args()
    config = ServerConfig(command=sys.executable, args=[str(SERVER), "stdio"])
    call, go = ToolCall("add", {"a": 1, "b": 2}), threading.Event()
    with tempfile.TemporaryDirectory() as folder, Servers({"sixty": config}) as servers:
        log = AuditLog(Path(folder) / "log")
        model = lfm_edge.load(arguments.bundle)
        agent = Agent(model, servers, allowed=["add"], log=log)
        seconds = []
        for _ in range(CALLS + 5):
            begun = time.perf_counter()
            result = agent._handle(call, go)
            seconds.append(time.perf_counter() - begun)
            assert result.text == "3"
        log.close()
    ordered = sorted(seconds[5:])
    print(
        f"{len(servers.tools)} tools, {CALLS} calls: median {statistics.median(ordered) * 1e3:.2f} "
        f"ms, 99 of 100 below {ordered[CALLS * 99 // 100] * 1e3:.2f} ms, "
        f"longest {ordered[-1] * 1e3:.2f} ms; the first {seconds[0] * 1e3:.2f} ms"
    )


if __name__ == "__main__":
    main()
