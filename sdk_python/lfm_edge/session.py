"""One conversation's state: tokens go in, logits come out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import BundleError, ContextFullError, InvalidRequestError, UnknownTokenError
from .runtime import Runtime

__all__ = ["PREFILL_CHUNK", "Session"]

PREFILL_CHUNK = 512
"""Most tokens of one run: more would gain no speed and cost memory for activations."""


class Session:
    """What the model has read so far, and room for more; made by `Model.session`.

    A session belongs to one thread at a time. Several sessions of one model may run at once.
    """

    def __init__(self, runtime: Runtime, capacity: int) -> None:
        self.capacity = capacity
        """The most tokens that this session can hold."""
        self.state = runtime.bind(capacity)
        self._vocab_size = runtime.vocab_size
        self._ids: list[int] = []

    @property
    def position(self) -> int:
        """How many tokens the session holds."""
        return len(self._ids)

    @property
    def ids(self) -> list[int]:
        """The tokens that the session holds, in order."""
        return self._ids.copy()

    def prefill(self, ids: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Appends tokens, in as many runs as they need, and returns the last one's logits [vocab].

        Raises:
            InvalidRequestError: `ids` is empty.
            UnknownTokenError: an id lies outside the vocabulary; nothing was appended.
            ContextFullError: the capacity does not hold them all; nothing was appended.
            BundleError: the graph failed to run; the session is then empty.
        """
        tokens = self._checked(ids)
        for start in range(0, len(tokens), PREFILL_CHUNK):
            logits = self._run(tokens[start : start + PREFILL_CHUNK])
        return logits

    def decode(self, token: int) -> NDArray[np.float32]:
        """Appends one token and returns its logits [vocab]. Raises what `prefill` raises."""
        return self._run(self._checked([token]))

    def reset(self) -> None:
        """Forgets every token."""
        self._ids.clear()
        self.state.clear()

    def _checked(self, ids: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
        tokens = np.asarray(ids)
        if tokens.size == 0:
            raise InvalidRequestError("no tokens to read: got an empty list, expected at least one")
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
            raise InvalidRequestError(
                f"token ids: got {tokens.dtype} of shape {list(tokens.shape)}, expected a flat "
                "list of integers"
            )
        unknown = tokens[(tokens < 0) | (tokens >= self._vocab_size)]
        if unknown.size:
            raise UnknownTokenError(
                f"token id {unknown[0]}: outside the vocabulary, expected 0 to "
                f"{self._vocab_size - 1}"
            )
        if self.position + len(tokens) > self.capacity:
            raise ContextFullError(
                f"the context is full: {len(tokens):,} more tokens at position {self.position:,} "
                f"do not fit its capacity of {self.capacity:,}; take a larger context"
            )
        return np.ascontiguousarray(tokens, np.int64)

    def _run(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        try:
            logits = self.state.run(tokens, self.position)
        except BundleError:
            self.reset()
            raise
        self._ids.extend(tokens.tolist())
        return logits
