"""The code blocks of a page of the documentation, and how they are run.

Above a block, a line of its own may say `*Needs `openai`.*` (modules or programs, which may be
missing here) or `*Not run by the tests: why.*`; readers see both.
"""

from __future__ import annotations

import importlib.util
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PORT", "Block", "Runner", "blocks_of", "recipes_of", "running"]

PORT = "8080"
"""The port that pages write; a free one takes its place."""

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r"^\*Not run by the tests: (.+)\.\*$")
_NEEDS = re.compile(r"^\*Needs (.+)\.\*$")


@dataclass(frozen=True)
class Block:
    """Code of a page, from the line that its fence stands on."""

    page: Path
    line: int
    language: str
    code: str
    needs: tuple[str, ...]
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def missing(self) -> list[str]:
        """What it needs that is not here."""
        return [n for n in self.needs if not (shutil.which(n) or importlib.util.find_spec(n))]


def blocks_of(page: Path) -> list[Block]:
    """The blocks of Python and of a shell, in order."""
    text, found = page.read_text(encoding="utf-8"), []
    for fence in _FENCE.finditer(text):
        if fence[1] not in {"python", "sh"}:
            continue
        before = text[: fence.start()]
        above = before.rstrip().rpartition("\n")[2]
        not_run, needs = _NOT_RUN.match(above), _NEEDS.match(above)
        names = tuple(re.findall(r"`([^`]+)`", needs[1])) if needs else ()
        line, why = before.count("\n") + 1, not_run[1] if not_run else None
        found.append(Block(page, line, fence[1], fence[2], names, why))
    return found


def recipes_of(page: Path) -> dict[str, list[Block]]:
    """The blocks under each heading of the second level, behind those that stand before all."""
    headings = {
        number: line.removeprefix("## ")
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        if line.startswith("## ")
    }
    opening: list[Block] = []
    found: dict[str, list[Block]] = {name: [] for name in headings.values()}
    for block in blocks_of(page):
        above = [name for number, name in headings.items() if number < block.line]
        (found[above[-1]] if above else opening).append(block)
    return {name: [*opening, *blocks] for name, blocks in found.items() if blocks}


def _free_port() -> int:
    """Below those that the system gives out, so that it stays free until a block takes it."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


class Runner:
    """Runs blocks in the working folder, those of Python in one namespace."""

    def __init__(self, output: Path) -> None:
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._output, self._groups = output, list[int]()
        self._port = str(_free_port())

    def run(self, block: Block) -> None:
        """Raises what a block of Python raises, and AssertionError where a command fails."""
        code = block.code.replace(PORT, self._port)
        if block.language == "python":
            # Behind empty lines, so that a traceback shows the page's.
            source = "\n" * block.line + code
            exec(compile(source, str(block.page), "exec", dont_inherit=True), self._names)
        else:
            self._shell(block, code)

    def _shell(self, block: Block, code: str) -> None:
        """What it leaves in the background goes on until `close`."""
        command = ["bash", "-euo", "pipefail", "-c", code]
        with self._output.open("w+") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._groups.append(process.pid)
            status = process.wait()
            said = self._output.read_text(encoding="utf-8")
        print(said)
        assert status == 0, f"{block}: a command ended with {status}:\n{said}"

    def close(self) -> None:
        """Ends the programs that still run."""
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)


@contextmanager
def running(folder: Path) -> Iterator[Runner]:
    """A runner in a folder, with this Python's programs first on the path."""
    before, path = Path.cwd(), os.environ["PATH"]
    os.chdir(folder)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}"
    runner = Runner(folder / "output.txt")
    try:
        yield runner
    finally:
        runner.close()
        os.chdir(before)
        os.environ["PATH"] = path
