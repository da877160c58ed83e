"""The loop that makes text: prefill, sample, decode, until something ends it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from typing import Literal

from .errors import ContextFullError, InvalidRequestError
from .sampling import Sampler
from .session import Session
from .stop_strings import StopFilter
from .tokenizer import Detokenizer

__all__ = ["FinishReason", "Generation"]

FinishReason = Literal["eos", "stop", "length", "context", "cancelled"]


class Generation(Iterator[str]):
    """Yields an answer in pieces of text, each of whole characters and none empty.

    Args:
        session: reads the prompt and the answer. Of what it holds when the first piece is asked
            for, the longest beginning of the prompt is kept. From then on it is this answer's:
            where something else reads it, the next piece is a SessionTakenError.
        prompt: all token ids of the prompt.
        sampler: draws the tokens.
        detokenizer: turns them into text.
        stops: ends the text at a stop string.
        eos_ids: tokens that end the answer.
        max_tokens: most tokens of the answer; None sets no limit but the session's capacity.
        cancel: ends the answer once it is set, from any thread; looked at before every run.

    Raises:
        InvalidRequestError: `max_tokens` is below 1.
        ContextFullError: the session does not hold the prompt.
    """

    def __init__(
        self,
        session: Session,
        prompt: Sequence[int],
        *,
        sampler: Sampler,
        detokenizer: Detokenizer,
        stops: StopFilter,
        eos_ids: Collection[int],
        max_tokens: int | None,
        cancel: threading.Event | None,
    ) -> None:
        if max_tokens is not None and max_tokens < 1:
            raise InvalidRequestError(f"max_tokens: got {max_tokens}, expected 1 or more")
        self.finish_reason: FinishReason | None = None
        """Why the answer ended, or None while it goes on."""
        self.prompt_tokens = len(prompt)
        self.reused_tokens = self.processed_tokens = 0
        """Of the prompt, the tokens that the session held already; and those that were run before
        the first new one, with what had to be run again."""
        self.ids: list[int] = []
        """The tokens of the answer so far, with the one that ended it."""
        self._session, self._sampler = session, sampler
        self._detokenizer, self._stops = detokenizer, stops
        self._eos_ids = frozenset(eos_ids)
        self._max_tokens = max_tokens
        self._cancel = cancel or threading.Event()
        if len(prompt) > session.capacity:
            raise ContextFullError(
                f"the prompt has {len(prompt):,} tokens, but the context holds "
                f"{session.capacity:,}; shorten it or take a larger context"
            )
        self._prompt = list(prompt)
        sampler.observe(prompt)
        self._pieces = self._run()

    def __next__(self) -> str:
        return next(self._pieces)

    def _run(self) -> Iterator[str]:
        for text in self._texts():
            if piece := self._stops.push(text):
                yield piece
            if self._stops.stopped:
                self.finish_reason = "stop"
                return
        if held := self._stops.finish():
            yield held

    def _texts(self) -> Iterator[str]:
        for token in self._tokens():
            yield self._detokenizer.push(token)
        yield self._detokenizer.finish()

    def _tokens(self) -> Iterator[int]:
        """The answer's tokens but the one that ends it; sets the reason why they ended."""
        reader = object()  # not `self`: the session would keep the answer, and the answer it
        unread = self._session.resume(self._prompt, reader)
        self.reused_tokens = len(self._prompt) - len(unread)
        self.processed_tokens = len(unread) + self._session.to_replay
        while True:
            for run in self._session.runs(len(unread)):
                if self._cancel.is_set():
                    self.finish_reason = "cancelled"
                    return
                logits = self._session.read(unread[run], reader)
            token = self._sampler.sample(logits)
            self.ids.append(token)
            if token in self._eos_ids:
                self.finish_reason = "eos"
                return
            yield token
            if self._max_tokens is not None and len(self.ids) >= self._max_tokens:
                self.finish_reason = "length"
                return
            if self._session.position == self._session.capacity:
                self.finish_reason = "context"
                return
            unread = [token]
