"""The loop that makes an answer: prefill, sample, decode, until something ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from .chat.loops import LoopDetector
from .errors import ContextFullError, InvalidRequestError, is_whole
from .logprobs import TokenLogprob, logprobs
from .sampling import Sampler
from .session import Session
from .speculation import Speculation
from .stop_strings import StopFilter
from .tokenizer import Detokenizer

if TYPE_CHECKING:  # loads llguidance
    from .structured import Constraint

__all__ = ["Answer", "FinishReason", "Request"]

FinishReason = Literal["eos", "stop", "length", "context", "cancelled", "loop"]
"""Why an answer ended: an end token, a stop string, `max_tokens`, a full session, somebody stopped
it, or (of events alone) it had become one passage over and over."""


@dataclass(frozen=True)
class Request:
    """What an answer is made of.

    Attributes:
        session: reads the prompt and the answer. Of what it holds when the first token is asked
            for, the longest beginning of the prompt is kept. From then on it is this answer's:
            where something else reads it, the next token is a SessionTakenError.
        prompt: all token ids of the prompt.
        sampler: draws the tokens.
        detokenizer: turns them into text.
        stops: ends the text at a stop string.
        eos_ids: tokens that end the answer.
        max_tokens: most tokens of the answer; None sets no limit but the session's capacity.
        cancel: ends the answer once it is set, from any thread; looked at before every run.
        constraint: the form that the answer has; None leaves it free.
        logprobs: how many alternatives to list beside each token's log probability; None computes
            neither.
        speculation: reads several tokens at once; None reads one by one.

    Raises:
        InvalidRequestError: `max_tokens` is below 1, or `logprobs` below 0.
        ContextFullError: the session does not hold the prompt.
    """

    session: Session
    prompt: Sequence[int]
    sampler: Sampler
    detokenizer: Detokenizer
    stops: StopFilter
    eos_ids: Collection[int]
    max_tokens: int | None
    cancel: threading.Event
    constraint: Constraint | None
    logprobs: int | None = None
    speculation: Speculation | None = None

    def __post_init__(self) -> None:
        for name, least in (("logprobs", 0), ("max_tokens", 1)):
            value = getattr(self, name)
            if value is not None and not (is_whole(value) and value >= least):
                raise InvalidRequestError(
                    f"{name}: got {value!r}, expected an integer of {least} or more"
                )
        if len(self.prompt) > self.session.capacity:
            raise ContextFullError(
                f"the prompt has {len(self.prompt):,} tokens, but the context holds "
                f"{self.session.capacity:,}; shorten it or take a larger context"
            )
        self.sampler.observe(self.prompt)


class Answer:
    """An answer while it is made, in whatever form it is given out."""

    def __init__(self, request: Request) -> None:
        self.finish_reason: FinishReason | None = None
        """Why the answer ended, or None while it goes on."""
        self.prompt_tokens = len(request.prompt)
        """Tokens of the whole prompt."""
        self.reused_tokens = 0
        """Of the prompt, the tokens that the session held already."""
        self.processed_tokens = 0
        """The tokens that were run before the first new one, with what had to be run again."""
        self.proposed_tokens = 0
        """Of the answer, the tokens that were guessed and run in one with others."""
        self.accepted_tokens = 0
        """Of these, the ones that came true."""
        self.time_to_first_token = 0.0
        """Seconds from the first look at the prompt to the first new token."""
        self.ids: list[int] = []
        """The tokens of the answer so far, with the one that ended it."""
        self.logprobs: list[TokenLogprob] = []
        """What the model thought of each of them; empty if that was not asked for."""
        self._request = request
        self._stopped_early = False

    def stop(self) -> None:
        """Ends the answer at the next token, as "cancelled"; from any thread."""
        self._stopped_early = True

    def _tokens(
        self,
        forced: Callable[[], Sequence[int]] | None = None,
        loops: LoopDetector | None = None,
    ) -> Iterator[int]:
        """The answer's tokens but the one that ends it; sets the reason why they ended.

        Args:
            forced: asked before each token, unless it is forced already: which must come next.
            loops: ends the answer where it has become one passage over and over.
        """
        request, waiting = self._request, 0
        begun = time.perf_counter()
        reader = object()  # not `self`: the session would keep the answer, and the answer it
        logits = self._read_prompt(reader)
        while logits is not None:
            if forced is not None and not waiting:
                following = forced()
                request.sampler.force(following)
                waiting = len(following)
            allowed = request.constraint.mask() if request.constraint and not waiting else None
            token = request.sampler.sample(logits, allowed)
            waiting = max(0, waiting - 1)
            if not self.ids:
                self.time_to_first_token = time.perf_counter() - begun
            self._take(token, logits)
            if token in request.eos_ids:
                self.finish_reason = "eos"
                return
            yield token
            if reason := self._end(loops):
                self.finish_reason = reason
                return
            logits = self._read(token, reader)

    def _read_prompt(self, reader: object) -> NDArray[np.float32] | None:
        """The logits after the prompt, or None where the answer was cancelled."""
        prompt, session = self._request.prompt, self._request.session
        unread, logits = session.resume(prompt, reader), None
        self.reused_tokens = len(prompt) - len(unread)
        self.processed_tokens = len(unread) + session.to_replay
        for run in session.runs(len(unread)):
            if self._cancelled():
                return None
            logits = session.read(unread[run], reader)
        return logits

    def _read(self, token: int, reader: object) -> NDArray[np.float32] | None:
        """The logits after a token of the answer, or None where this was cancelled."""
        request, speculation = self._request, self._request.speculation
        if self._cancelled():
            return None
        if speculation is None:
            return request.session.read([token], reader)
        if len(self.ids) == 1:
            speculation.begin(request.prompt)
        # One token follows from this run in any case: guesses are of those behind it.
        most = None if request.max_tokens is None else request.max_tokens - len(self.ids) - 1
        logits = speculation.read(token, reader, most)
        self.proposed_tokens, self.accepted_tokens = speculation.proposed, speculation.accepted
        return logits

    def _cancelled(self) -> bool:
        cancelled = self._stopped_early or self._request.cancel.is_set()
        if cancelled:
            self.finish_reason = "cancelled"
        return cancelled

    def _take(self, token: int, logits: NDArray[np.float32]) -> None:
        """Makes a token the next one of the answer."""
        request = self._request
        self.ids.append(token)
        if request.logprobs is not None:
            self.logprobs.append(self._logprob(logits, token, request.logprobs))
        if request.constraint:
            request.constraint.advance(token)

    def _logprob(self, logits: NDArray[np.float32], token: int, top: int) -> TokenLogprob:
        spell = self._request.detokenizer.token_bytes
        own, likely = logprobs(logits, token, top)
        others = tuple(TokenLogprob(other, spell(other), value) for other, value in likely)
        return TokenLogprob(token, spell(token), own, others)

    def _end(self, loops: LoopDetector | None) -> FinishReason | None:
        """Why an answer ends behind a token that does not end it by itself, if it does."""
        request = self._request
        if loops is not None and loops.push(self.ids[-1]):
            return "loop"
        if request.max_tokens is not None and len(self.ids) >= request.max_tokens:
            return "length"
        return "context" if request.session.position == request.session.capacity else None
