"""Who does the pieces of a long piece of work: this process, or the machines of a cluster.

What a piece is never depends on how many do them, nor does the order of results: so neither does
what comes out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np

__all__ = ["Here", "Threads", "Workers"]

Shared = TypeVar("Shared")
Piece = TypeVar("Piece")
Result = TypeVar("Result")


class Workers(Protocol):
    """Does pieces apart from each other."""

    def run(
        self,
        function: Callable[[Shared, Piece], Result],
        shared: Shared,
        pieces: Iterable[Piece],
    ) -> Iterator[Result]:
        """What `function` makes of `shared` and each piece, in their order.

        Of the pieces, which are made when their time comes, a few are taken ahead.
        """
        ...


class Here:
    """One piece after the other, when its result is asked for."""

    def run(
        self,
        function: Callable[[Shared, Piece], Result],
        shared: Shared,
        pieces: Iterable[Piece],
    ) -> Iterator[Result]:
        """As `Workers` says."""
        return (function(shared, piece) for piece in pieces)


class Threads:
    """A few threads of this process, which leave to the end to find what is not finite."""

    def __init__(self, count: int = 2) -> None:
        self._count = count

    def run(
        self,
        function: Callable[[Shared, Piece], Result],
        shared: Shared,
        pieces: Iterable[Piece],
    ) -> Iterator[Result]:
        """As `Workers` says."""

        def do(piece: Piece) -> Result:
            with np.errstate(over="ignore", invalid="ignore"):
                return function(shared, piece)

        pending: deque[Future[Result]] = deque()
        pool = ThreadPoolExecutor(max_workers=self._count)
        try:
            for piece in pieces:
                pending.append(pool.submit(do, piece))
                if len(pending) > self._count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
