"""Ends a stream of text at a stop string, and never lets any part of it out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .errors import InvalidRequestError

__all__ = ["StopFilter"]


class StopFilter:
    """Passes text on until a stop string is complete.

    The stop string that ends first counts; of several that end there, the longest. So the result
    does not depend on how the text was cut into pieces.

    Args:
        stops: one stop string, or several.

    Raises:
        InvalidRequestError: a stop string is empty.
    """

    def __init__(self, stops: str | Sequence[str]) -> None:
        given = [stops] if isinstance(stops, str) else stops
        if not isinstance(given, Collection) or not all(isinstance(s, str) and s for s in given):
            raise InvalidRequestError(f"stop: got {stops!r}, expected strings that are not empty")
        self._stops = list(given)
        self.stopped = False
        """Whether a stop string has appeared; nothing comes out after it."""
        self._held = ""

    def push(self, text: str) -> str:
        """The text that can no longer be part of a stop string."""
        if self.stopped:
            return ""
        text = self._held + text
        ends = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped, self._held = True, ""
            return text[: min(ends)[1]]
        kept = self._held_length(text)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def finish(self) -> str:
        """The text that was held back, when the stream ends without a stop string."""
        held, self._held = self._held, ""
        return held

    def _held_length(self, text: str) -> int:
        """Length of the longest end of `text` that could begin a stop string."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stops):
                return length
        return 0
