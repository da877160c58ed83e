"""Answers that are read by `for`, and by `async for` without holding up the event loop."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["Pieces"]

T = TypeVar("T")
_END: Any = object()


class Pieces(Iterator[T], AsyncIterable[T]):
    """What comes piece by piece.

    `async for` makes the pieces in a thread of its own, one after the other. Where its task is
    cancelled, they stop at the next token; the session can be used again once the task has ended.
    """

    @abstractmethod
    def stop(self) -> None:
        """Ends the pieces at the next token, from any thread."""

    def abandon(self) -> None:
        """Ends them where nobody reads on."""
        self.stop()

    async def __aiter__(self) -> AsyncIterator[T]:
        worker = ThreadPoolExecutor(1, "lfm-edge answer")
        run: asyncio.Future[T] | None = None
        try:
            while True:
                run = asyncio.get_running_loop().run_in_executor(worker, next, self, _END)
                # Shielded: a cancelled wait must not hide that the thread is still at work.
                if (piece := await asyncio.shield(run)) is _END:
                    return
                yield piece
        except BaseException:
            self.abandon()
            if run is not None and not run.done():
                await asyncio.wait([run])
                run.exception()  # looked at, or asyncio would complain
            raise
        finally:
            worker.shutdown(wait=False)
