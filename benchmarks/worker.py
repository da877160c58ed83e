"""A process that holds one engine and times it on request.

    python -m benchmarks.worker ENGINE FOLDER THREADS CAPACITY DEPTH

It says `Ready` once, then answers each `Task` on standard input with an `Answer`, one JSON line
each. `Worker` is its other end: it lets the process run only while it times something. Stopped by
SIGSTOP at all other times, its idle threads cannot spin on the cores that another one is timed on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Literal, Self, TypeVar

import msgspec
import numpy as np

from .engines import ENGINES, Engine

__all__ = ["Answer", "Task", "Worker"]

ROOT = Path(__file__).resolve().parents[1]
WARM_UP_TOKENS = 32
MOST_ID = 256  # that any vocabulary has
LOGITS_STEP = 16


class Ready(msgspec.Struct):
    """The engine is loaded."""

    load_seconds: float
    about: str


class Task(msgspec.Struct):
    """Reads `ids` after an untimed warm-up of the first 32 of them.

    `prefill` then goes back and reads them at once; `decode` appends them one by one.
    """

    kind: Literal["prefill", "decode"]
    ids: list[int]


class Answer(msgspec.Struct):
    """How long the ids took, and every 16th of the last one's logits."""

    seconds: float
    logits: list[float]


Message = TypeVar("Message", Ready, Answer)


class Worker:
    """Starts an engine in a process of its own, loads it, and stops the process until it is used.

    Args:
        engine: one of `ENGINES`.
        folder: the model that it loads.
        threads: how many it computes with.
        capacity: the most tokens that it is going to hold.
        depth: how many of them stand before everything else, read once and untimed.
        environment: variables that it gets besides those of this process.

    Raises:
        RuntimeError: the process died; what it wrote to standard error says why.
    """

    def __init__(
        self,
        engine: str,
        folder: Path,
        threads: int,
        capacity: int,
        environment: Mapping[str, str] | None = None,
        depth: int = 0,
    ) -> None:
        self.name = f"{engine} on {folder}"
        command = ["-m", "benchmarks.worker", engine, folder.resolve(), threads, capacity, depth]
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
        self.ready = self._receive(Ready)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def pid(self) -> int:
        """The process."""
        return self.process.pid

    def run(self, task: Task) -> Answer:
        """Has the engine do a task while all other workers are stopped."""
        self.process.send_signal(signal.SIGCONT)
        assert self.process.stdin
        _send(self.process.stdin, task)
        return self._receive(Answer)

    def _receive(self, kind: type[Message]) -> Message:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: died with code {self.process.wait()}")
        self.process.send_signal(signal.SIGSTOP)
        return msgspec.json.decode(line, type=kind)


def _send(stream: IO[bytes], message: Ready | Task | Answer) -> None:
    stream.write(msgspec.json.encode(message) + b"\n")
    stream.flush()


def _perform(engine: Engine, task: Task) -> Answer:
    ids = np.array(task.ids, np.int32)
    engine.reset()
    engine.prefill(ids[:WARM_UP_TOKENS])
    if task.kind == "prefill":
        engine.reset()
        start = time.perf_counter()
        logits = engine.prefill(ids)
    else:
        start = time.perf_counter()
        for token in task.ids:
            logits = engine.decode(token)
    seconds = time.perf_counter() - start
    return Answer(seconds, logits[::LOGITS_STEP].tolist())


def main() -> None:
    """The process."""
    name, folder, threads, capacity, depth = sys.argv[1:]
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    start = time.perf_counter()
    engine = ENGINES[name](folder, int(threads), int(capacity))
    load_seconds = time.perf_counter() - start
    if int(depth):
        engine.begin_with(np.arange(int(depth), dtype=np.int32) * 7 % MOST_ID)
    _send(answers, Ready(load_seconds, engine.about))
    for line in sys.stdin.buffer:
        _send(answers, _perform(engine, msgspec.json.decode(line, type=Task)))


if __name__ == "__main__":
    main()
