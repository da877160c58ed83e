"""One conversation's state: tokens go in, logits come out."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import ContextFullError, InvalidRequestError, SessionTakenError, UnknownTokenError
from .runtime import Runtime, State

__all__ = ["PREFILL_CHUNK", "Session"]

PREFILL_CHUNK = 512
"""Most tokens of one run: more would gain no speed and cost memory for activations."""


class Session:
    """What the model has read so far, and room for more; made by `Model.session`.

    A session belongs to one thread at a time. Several sessions of one model may run at once.

    Whatever interrupts a run (Ctrl-C, an error of the runtime, no memory) leaves the session empty,
    or with all that it was to read: what it says that it holds is what its state holds.
    """

    def __init__(self, runtime: Runtime, capacity: int) -> None:
        self.capacity = capacity
        """The most tokens that this session can hold."""
        self._runtime = runtime
        self._contents = _Contents(runtime.bind(capacity))

    @property
    def state(self) -> State:
        """The runtime's state, which a run changes."""
        return self._contents.state

    @property
    def position(self) -> int:
        """How many tokens the session holds."""
        contents = self._contents
        return 0 if contents.busy.locked() else len(contents.ids)

    @property
    def ids(self) -> list[int]:
        """The tokens that the session holds, in order."""
        contents = self._contents
        return [] if contents.busy.locked() else contents.ids.copy()

    def prefill(self, ids: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Appends tokens, in as many runs as they need, and returns the last one's logits [vocab].

        Raises:
            InvalidRequestError: `ids` is empty.
            UnknownTokenError: an id lies outside the vocabulary; nothing was appended.
            ContextFullError: the capacity does not hold them all; nothing was appended.
            BundleError: the graph failed to run; the session is then empty.
        """
        tokens, contents = self._checked(ids), self._take()
        contents.reader = None
        return self._append(tokens, contents)

    def decode(self, token: int) -> NDArray[np.float32]:
        """Appends one token and returns its logits [vocab]. Raises what `prefill` raises."""
        return self.prefill([token])

    def reset(self) -> None:
        """Forgets every token."""
        contents = self._take()
        contents.clear()
        contents.busy.release()

    def begin(self, prompt: Sequence[int], reader: object) -> int:
        """Hands the session to `reader`, and returns how many tokens of its prompt it holds.

        What the session holds is kept where `prompt` continues it, and forgotten otherwise.
        Whoever read before has no say any more: see `read`.
        """
        contents = self._take()
        held = contents.ids
        if len(held) >= len(prompt) or list(prompt[: len(held)]) != held:
            contents.clear()
        contents.reader = reader
        kept = len(contents.ids)
        contents.busy.release()
        return kept

    def read(self, ids: Sequence[int], reader: object) -> NDArray[np.float32]:
        """What `prefill` does, for the `reader` that began last.

        Raises:
            SessionTakenError: something else has read or emptied the session since `begin`.
            LfmError: whatever `prefill` raises.
        """
        tokens, contents = self._checked(ids), self._take()
        if contents.reader is not reader:
            contents.busy.release()
            raise SessionTakenError(
                "the session went on without this answer: another answer, prefill, decode or reset "
                "has used it since; give each answer a session of its own, or finish one before "
                "the next"
            )
        return self._append(tokens, contents)

    def _checked(self, ids: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
        tokens = np.asarray(ids)
        if tokens.size == 0:
            raise InvalidRequestError("no tokens to read: got an empty list, expected at least one")
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
            raise InvalidRequestError(
                f"token ids: got {tokens.dtype} of shape {list(tokens.shape)}, expected a flat "
                "list of integers"
            )
        unknown = tokens[(tokens < 0) | (tokens >= self._runtime.vocab_size)]
        if unknown.size:
            raise UnknownTokenError(
                f"token id {unknown[0]}: outside the vocabulary, expected 0 to "
                f"{self._runtime.vocab_size - 1}"
            )
        return np.ascontiguousarray(tokens, np.int64)

    def _take(self) -> _Contents:
        """The contents, to be changed by the caller alone until it releases them."""
        contents = self._contents
        if not contents.busy.acquire(blocking=False):
            # Interrupted in the middle of a change, or used by another thread: left as they are.
            contents = _Contents(self._runtime.bind(self.capacity))
            contents.busy.acquire()
            self._contents = contents
        return contents

    def _append(self, tokens: NDArray[np.int64], contents: _Contents) -> NDArray[np.float32]:
        """Reads `tokens` and releases the contents that were taken."""
        position = len(contents.ids)
        if position + len(tokens) > self.capacity:
            contents.busy.release()
            raise ContextFullError(
                f"the context is full: {len(tokens):,} more tokens at position {position:,} "
                f"do not fit its capacity of {self.capacity:,}; take a larger context"
            )
        try:
            for start in range(0, len(tokens), PREFILL_CHUNK):
                chunk = tokens[start : start + PREFILL_CHUNK]
                logits = contents.state.run(chunk, position + start)
        except BaseException:
            contents.clear()
            contents.busy.release()
            raise
        contents.ids.extend(tokens.tolist())
        contents.busy.release()
        return logits


class _Contents:
    """Tokens and the state that they led to.

    `busy` is locked while either changes, and never waited for. A change that is interrupted
    never unlocks it, wherever the interrupt strikes: such contents are not used again.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.ids: list[int] = []
        self.reader: object | None = None
        """Who may go on reading; None where nobody has begun, or something else came between."""
        self.busy = threading.Lock()

    def clear(self) -> None:
        """Forgets everything; only for who made it busy."""
        self.reader = None
        self.ids.clear()
        self.state.clear()
