"""Commands in processes of their own, which hear Ctrl-C whoever starts them."""

from __future__ import annotations

import subprocess
import sys

__all__ = ["MAIN", "start"]

MAIN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from lfm_edge.cli import main
main()
"""


def start(*arguments: object) -> subprocess.Popen[str]:
    """Starts `lfm-edge` with these arguments.

    A process inherits which signals are ignored: in a shell's background SIGINT is, as under nohup.
    """
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
