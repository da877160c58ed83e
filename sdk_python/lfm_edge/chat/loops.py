"""Notices when a model repeats itself without end."""

from __future__ import annotations

import numpy as np

from ..errors import InvalidRequestError

__all__ = ["LoopDetector"]


class LoopDetector:
    """Finds a text that has become one passage over and over.

    A loop is found when the last tokens are one block of `p <= max_period` tokens, repeated without
    a change, and this repeated stretch is at least `min_repeats` blocks and at least `min_tokens`
    tokens long. So a single token must come `min_tokens` times in a row (a ruled line or a table's
    edge is no loop), and a paragraph of 200 tokens `min_repeats` times. A loop that counts
    ("step 41", "step 42") changes every time and is not found.

    A token costs a few vector operations over `max_period` numbers, however long the text is.

    Args:
        max_period: longest block, in tokens.
        min_repeats: fewest blocks.
        min_tokens: shortest stretch.

    Raises:
        InvalidRequestError: an argument is too small to mean anything.
    """

    def __init__(
        self, *, max_period: int = 512, min_repeats: int = 4, min_tokens: int = 256
    ) -> None:
        if max_period < 1 or min_repeats < 2 or min_tokens < 2:
            raise InvalidRequestError(
                f"loop detection: got max_period {max_period}, min_repeats {min_repeats}, "
                f"min_tokens {min_tokens}, expected at least 1, 2 and 2"
            )
        self.period: int | None = None
        """Length of the repeated block once a loop is found."""
        periods = np.arange(max_period, 0, -1)
        # Equal pairs at distance p that make a stretch: its length less p.
        self._needed = np.maximum(periods * (min_repeats - 1), min_tokens - periods)
        self._equal = np.zeros(max_period, np.int64)
        self._tokens = np.full(2 * max_period, -1, np.int64)
        self._end = max_period

    def push(self, token: int) -> bool:
        """Whether the tokens so far, with this one, end in a loop."""
        size = len(self._equal)
        if self._end == len(self._tokens):
            self._tokens[:size] = self._tokens[size:]
            self._end = size
        self._equal += 1
        self._equal *= self._tokens[self._end - size : self._end] == token
        self._tokens[self._end] = token
        self._end += 1
        found = self._equal >= self._needed
        self.period = int(size - np.flatnonzero(found)[-1]) if found.any() else None
        return self.period is not None
