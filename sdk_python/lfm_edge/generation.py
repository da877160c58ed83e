"""An answer as text, in pieces."""

from __future__ import annotations

from collections.abc import Iterator

from .answer import Answer, Request
from .async_pieces import Pieces

__all__ = ["Generation"]


class Generation(Answer, Pieces[str]):
    """Yields an answer in pieces of text, each of whole characters and none empty.

    Args:
        request: what the answer is made of.
    """

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self._pieces = self._run()

    def __next__(self) -> str:
        return next(self._pieces)

    def _run(self) -> Iterator[str]:
        stops = self._request.stops
        for text in self._texts():
            if piece := stops.push(text):
                yield piece
            if stops.stopped:
                self.finish_reason = "stop"
                return
        if held := stops.finish():
            yield held

    def _texts(self) -> Iterator[str]:
        detokenizer = self._request.detokenizer
        for token in self._tokens():
            yield detokenizer.push(token)
        yield detokenizer.finish()
