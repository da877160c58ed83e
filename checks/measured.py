"""Runs `lfm-edge` and tells what it took.

    python -m checks.measured ARGUMENTS...

Linux counts the memory of the process that starts a command towards the command's own peak. So a
small process in between starts it, and not the tests, which map whole models.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import NamedTuple

__all__ = ["Finished", "run"]


class Finished(NamedTuple):
    """What a command took, and what it wrote to standard error."""

    seconds: float
    peak: float
    """Resident memory in bytes."""
    stderr: str


def run(*arguments: object) -> Finished:
    """Runs a command that must succeed."""
    command = [sys.executable, "-m", "checks.measured", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return Finished(seconds, peak, done.stderr)


def main() -> None:
    """The process in between."""
    command, begun = [sys.executable, "-m", "lfm_edge", *sys.argv[1:]], time.monotonic()
    process = os.posix_spawn(command[0], command, dict(os.environ))
    _, status, usage = os.wait4(process, 0)
    print(json.dumps([time.monotonic() - begun, usage.ru_maxrss * 1024]))
    raise SystemExit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
