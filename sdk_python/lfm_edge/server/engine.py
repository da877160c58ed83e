"""Who is answered when: a bounded queue, from which a few threads take in order of arrival."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, suppress
from typing import Any

__all__ = ["Engine", "QueueFullError", "StoppedError", "Ticket"]

Work = Callable[[threading.Event], Iterator[Any]]
"""Makes an answer's pieces; ends early once the event is set."""


class QueueFullError(Exception):
    """As many requests wait as may."""


class StoppedError(Exception):
    """The server stops."""


class Ticket(AsyncIterator[Any]):
    """A request's place, and then its answer: iterated in the event loop that made it."""

    def __init__(self, engine: Engine, work: Work) -> None:
        self.cancelled = threading.Event()
        self._engine, self._work = engine, work
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def __anext__(self) -> Any:
        kind, item = await self._items.get()
        if kind == "piece":
            return item
        self._items.put_nowait((kind, item))  # ended it stays
        if kind == "error":
            raise item
        raise StopAsyncIteration

    def cancel(self) -> None:
        """Gives up: the place in the queue, or the answer at its next token."""
        self.cancelled.set()
        self._engine.forget(self)

    def fail(self, error: Exception) -> None:
        """Ends it by an error."""
        self._put("error", error)

    def run(self) -> None:
        """Makes the answer, on the thread that calls this."""
        cut = False
        try:
            with closing(self._work(self.cancelled)) as pieces:  # type: ignore[type-var]
                for piece in pieces:
                    if cut := self.cancelled.is_set():
                        break
                    self._put("piece", piece)
        except Exception as error:  # whatever it is, it is the request's
            self._put("error", error)
        else:
            if cut:  # by the server's end, or nobody listens any more
                self._put("error", StoppedError())
            else:
                self._put("end", None)

    def _put(self, kind: str, item: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody listens
            self._loop.call_soon_threadsafe(self._items.put_nowait, (kind, item))


class Engine:
    """Answers requests in order of arrival.

    Args:
        slots: how many are answered side by side.
        waiting: how many more may wait.
    """

    def __init__(self, slots: int, waiting: int) -> None:
        self._most_waiting = waiting
        self._queue: deque[Ticket] = deque()
        self._running: set[Ticket] = set()
        self._changed = threading.Condition()
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"lfm-edge answers {index}", daemon=True)
            for index in range(slots)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        return len(self._running)

    def submit(self, work: Work) -> Ticket:
        """A place for a request.

        Raises:
            QueueFullError: there is none.
            StoppedError: the server stops.
        """
        ticket = Ticket(self, work)
        with self._changed:
            if self._stopped:
                raise StoppedError
            idle = len(self._threads) - len(self._running)
            if len(self._queue) >= self._most_waiting + idle:
                raise QueueFullError
            self._queue.append(ticket)
            self._changed.notify()
        return ticket

    def forget(self, ticket: Ticket) -> None:
        """Takes a request out of the queue, if it is there."""
        with self._changed, suppress(ValueError):
            self._queue.remove(ticket)

    def stop(self) -> None:
        """Ends all answers at their next token, and takes no request any more."""
        with self._changed:
            self._stopped = True
            left = [*self._queue]
            self._queue.clear()
            for ticket in self._running:
                ticket.cancelled.set()
            self._changed.notify_all()
        for ticket in left:
            ticket.fail(StoppedError())

    def close(self) -> None:
        """Stops, and waits until its threads have ended."""
        self.stop()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return
                ticket = self._queue.popleft()
                self._running.add(ticket)
            try:
                ticket.run()
            finally:
                with self._changed:
                    self._running.discard(ticket)
            del ticket  # or an idle thread would keep it
