"""Renders a template within bounds of memory and time.

A template is a program that came with a download: `''|center(8000000000)`, strings doubled in a
loop, lists that hold themselves many times over and loops that never end all pass Jinja's sandbox,
and Python can neither stop a thread nor bound what one call of C allocates. So templates are
rendered by another process, which is watched and ended where it takes too much; that works alike on
every system, from any thread, for whatever a template thinks of. The process is kept for the next
rendering, which costs a fraction of a millisecond more than one at home; the first costs its start.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from ..errors import TemplateError

__all__ = ["MAX_BYTES", "MAX_PROMPT_CHARACTERS", "MAX_SECONDS", "render"]

MAX_PROMPT_CHARACTERS = 8 << 20
MAX_SECONDS = 10.0
"""Processor time that one rendering may take."""
MAX_BYTES = 512 << 20
"""Memory that the rendering process may take, with Python's own."""

_POLL_SECONDS = 0.01
_RENDERER = Path(__file__).with_name("renderer.py")
_START = "import sys, runpy; sys.path[:] = {path!r}; runpy.run_path({file!r}, run_name='__main__')"


def render(source: str, values: dict[str, Any] | None, clock: datetime | None = None) -> str:
    """The text that the template `source` makes of `values`; None compiles it only.

    `strftime_now` tells the time of `clock`, or the present one.

    Raises:
        TemplateError: it does not compile, fails, refuses the values, or exceeds `MAX_SECONDS`,
            `MAX_BYTES` or `MAX_PROMPT_CHARACTERS`.
    """
    request = {"source": source, "values": values, "longest": MAX_PROMPT_CHARACTERS}
    if clock is not None:
        request["clock"] = clock.isoformat()
    worker = _take()
    try:
        answer = worker.ask(json.dumps(request).encode() + b"\n")
    except BaseException:  # Ctrl-C too: it is still at work, and nobody waits for it
        worker.end()
        raise
    if worker.is_small():
        _idle.append(worker)
    else:
        worker.end()
    if "error" in answer:
        raise TemplateError(answer["error"])
    return answer["text"]


class _Worker:
    """A process that renders."""

    def __init__(self) -> None:
        start = _START.format(path=sys.path, file=str(_RENDERER))
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-I", "-S", "-c", start],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Ctrl-C in a terminal is not meant for it.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
            self._usage = psutil.Process(self._process.pid)
        except (OSError, psutil.Error) as error:
            raise TemplateError(
                f"the process that renders chat templates does not start: {error}"
            ) from None
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, request: bytes) -> dict[str, str]:
        """Its answer to one request.

        Raises:
            TemplateError: it took too much, or ended.
        """
        assert self._process.stdin
        try:
            begun = self._seconds()
            self._process.stdin.write(request)
            self._process.stdin.flush()
            while True:
                try:
                    answer = self._answers.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    self._require_modest(begun)
                    continue
                if not answer:
                    raise TemplateError("the process that renders chat templates ended")
                result: dict[str, str] = json.loads(answer)
                return result
        except (OSError, psutil.Error) as error:
            raise TemplateError(f"the process that renders chat templates ended: {error}") from None

    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def is_small(self) -> bool:
        """Whether what it holds on to leaves room for the next rendering."""
        try:
            return bool(self._usage.memory_info().rss < MAX_BYTES // 4)
        except psutil.Error:
            return False

    def end(self) -> None:
        """Ends it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(OSError):  # what was not written yet cannot be any more
                    pipe.close()

    def _listen(self) -> None:
        assert self._process.stdout
        with suppress(ValueError):  # closed meanwhile
            for line in self._process.stdout:
                self._answers.put(line)
        self._answers.put(b"")

    def _seconds(self) -> float:
        times = self._usage.cpu_times()
        return times.user + times.system

    def _require_modest(self, begun: float) -> None:
        if self._usage.memory_info().rss > MAX_BYTES:
            raise TemplateError(f"the chat template takes more than {MAX_BYTES >> 20} MB of memory")
        if self._seconds() - begun > MAX_SECONDS:
            raise TemplateError(f"the chat template takes more than {MAX_SECONDS:g} seconds")


_idle: list[_Worker] = []


def _take() -> _Worker:
    """An idle worker or a new one: as many run as threads render at one time."""
    while _idle:
        try:
            worker = _idle.pop()  # one step of Python: no other thread gets the same
        except IndexError:
            break
        if worker.alive():
            return worker
        worker.end()
    return _Worker()


if hasattr(os, "register_at_fork"):  # a forked process does not share its parent's
    os.register_at_fork(after_in_child=_idle.clear)


@atexit.register
def _end_all() -> None:
    while _idle:
        _idle.pop().end()
