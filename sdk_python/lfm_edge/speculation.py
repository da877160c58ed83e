"""Prompt-lookup decoding: an answer that repeats its prompt or itself is read several at a time.

Where the last tokens of a text stood in it before, what followed them there may follow again. These
tokens are run together with the one that is next anyway (`Session.read`), and each position is then
sampled in order, as ever: so an answer has the tokens that it would have had, and a guess that was
wrong costs nothing but the time of the longer run. Source: A. Saxena, Prompt Lookup Decoding, 2023.

A run of several tokens takes longer than one of one: its weights are read once, but each token is
multiplied, and a mixture of experts reads more experts. So it is measured what runs take and how
often guesses come true, and guesses are made where they pay.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidRequestError
from .runtime import AheadState
from .session import Session

__all__ = ["MOST_GUESSES", "Choice", "Pace", "PromptLookup", "Speculation"]

Choice = Literal["auto"] | bool | int
"""Whether to guess, or how many tokens at a time."""
MOST_GUESSES = 63
_LENGTHS = (3, 7, 15)
"""Guesses of a run that are tried; with the token before them they fill the kernels' tiles."""
_SHORTEST_MATCH, _LONGEST_MATCH = 3, 16
_LOSS = 0.005
"""Part of a model's time that may be lost in finding out whether guesses pay."""
_FEWEST_RUNS = 3
"""Of one token, before anything is guessed."""
_GUESS = 0.5
"""Of a run of one token: what another token in it may take, where that is hardly measured."""
_CREDIT, _MOST_CREDIT = 1.5, 8
"""Runs of one token that may be lost at first, and those saved that are remembered."""


class PromptLookup:
    """A text, in which what may follow its end is looked up.

    Args:
        ids: the text so far.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self._count = len(ids)
        self._ids = np.array(ids, np.int64)

    def push(self, token: int) -> None:
        """Takes the next token."""
        if self._count == len(self._ids):
            self._ids = np.concatenate([self._ids, np.empty(self._count + 64, np.int64)])
        self._ids[self._count] = token
        self._count += 1

    def following(self, most: int) -> list[int]:
        """Up to `most` tokens that followed the last place with the longest equal end.

        Empty where no more than two tokens before some place are those before the end.
        """
        ids = self._ids[: self._count]
        ends = np.flatnonzero(ids[:-1] == ids[-1]) if len(ids) else np.arange(0)
        matched = 1
        while matched < _LONGEST_MATCH and len(ends):
            longer = ends[ends >= matched]
            longer = longer[ids[longer - matched] == ids[-1 - matched]]
            if not len(longer):
                break
            ends, matched = longer, matched + 1
        if matched < _SHORTEST_MATCH or not len(ends):
            return []
        # The last place, unless the text ends so soon behind it that an earlier one tells more.
        whole = ends[ends + most < len(ids)]
        start = int(whole[-1] if len(whole) else ends[0]) + 1
        found: list[int] = ids[start : start + most].tolist()
        return found


class Pace:
    """What the runs of a model take on this machine, as measured lately, and what guesses cost."""

    def __init__(self) -> None:
        self._lately: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=15))
        self._seconds: dict[int, float] = {}
        self._spent = self._lost = 0.0

    def ran(self, tokens: int, seconds: float) -> None:
        """Takes a measured run of so many tokens; of the last ones the fastest counts."""
        self._spent += seconds
        if tokens > 1 and self.measured:
            self._lost += seconds - self._seconds[1]
        self._lately[tokens].append(seconds)
        self._seconds[tokens] = min(self._lately[tokens])

    def saved(self, tokens: int) -> None:
        """Takes how many runs of one token were not needed."""
        if self.measured:
            one = self._seconds[1]
            self._lost = max(self._lost - tokens * one, -_MOST_CREDIT * one)

    @property
    def measured(self) -> bool:
        """Whether some runs of one token were, the first of which may be slow.

        Without them nothing else is known.
        """
        return len(self._lately[1]) >= _FEWEST_RUNS

    def of(self, tokens: int) -> float:
        """What a run takes, in runs of one: measured, or from the nearest number that was.

        Before any was measured, and after the first, which may be slow, a guess is not taken to
        cost more than half a run.
        """
        measured = [count for count in [*self._seconds] if count > 1]  # others may add to it
        if not measured:
            return 1 + _GUESS * (tokens - 1)
        nearest = min(measured, key=lambda count: abs(count - tokens))
        each = (self._seconds[nearest] / self._seconds[1] - 1) / (nearest - 1)
        if len(self._lately[nearest]) == 1:
            each = min(each, _GUESS)
        return 1 + each * (tokens - 1)

    def affords(self, tokens: int, credit: float) -> bool:
        """Whether a run of so many tokens may turn out to be in vain.

        Besides what guesses have saved, `credit` runs of one token and a part of all time may go.
        """
        one = self._seconds[1]
        loss = self._lost + (self.of(tokens) - 1) * one
        return loss <= credit * one + _LOSS * self._spent


class Speculation:
    """Reads an answer token by token, several in a run where that pays.

    Args:
        session: where `StateAccess.ahead` holds.
        pace: of the model, for all of its answers.
        choice: how many guesses to make each time; "auto" finds out what pays.

    Raises:
        InvalidRequestError: `choice` is none.
    """

    def __init__(self, session: Session, pace: Pace, choice: Choice = "auto") -> None:
        self._guesses = _guesses(choice)
        self.proposed = self.accepted = 0
        """Tokens that were guessed, and of these the ones that came true."""
        self._session, self._pace = session, pace
        self._text = PromptLookup([])
        self._chance = 0.8  # that a guess comes true, if those before it have
        self._guessed = self._right = 0  # of the last run

    def begin(self, ids: Sequence[int]) -> None:
        """Takes the prompt."""
        self._text = PromptLookup(ids)

    def read(self, token: int, reader: object, most: int | None) -> NDArray[np.float32]:
        """What `Session.read` does, for the answer's next token.

        Args:
            token: this token.
            reader: who reads.
            most: how many guesses the answer has room for; None sets no limit.

        Raises whatever `Session.read` raises.
        """
        session = self._session
        self._text.push(token)
        if session.ahead[:1] == [token]:
            self.accepted += 1
            self._right += 1
            return session.read([token], reader)
        self._learn()
        room = session.capacity - session.position - 1
        length = min(self._length(), room if most is None else min(room, most))
        guesses = self._text.following(length) if length > 0 else []
        state = cast(AheadState, session.state)
        begun = time.perf_counter() - state.waited
        logits = session.read([token], reader, guesses)
        self._pace.ran(1 + len(guesses), time.perf_counter() - state.waited - begun)
        self.proposed += len(guesses)
        self._guessed, self._right = len(guesses), 0
        return logits

    def _length(self) -> int:
        """How many guesses to make now, if there are any to make."""
        pace = self._pace
        if self._guesses is not None:
            return self._guesses
        if not pace.measured:
            return 0
        rates = {
            self._tokens(length) / pace.of(1 + length): length
            for length in _LENGTHS
            if pace.affords(1 + length, _CREDIT)
        }
        if rates and max(rates) > 1:
            return rates[max(rates)]
        # Times change, and so do texts: now and then the fewest are tried all the same.
        return _LENGTHS[0] if pace.affords(1 + _LENGTHS[0], 0) else 0

    def _tokens(self, length: int) -> float:
        """How many tokens a run with so many guesses can be expected to give."""
        return sum(self._chance**count for count in range(length + 1))

    def _learn(self) -> None:
        """Learns from what became of the last run's guesses."""
        self._pace.saved(self._right)
        # Those that came true, and the first that did not: nothing is known of what followed it.
        for came_true in [1] * self._right + [0] * (self._right < self._guessed):
            self._chance += 0.1 * (came_true - self._chance)
        self._guessed = self._right = 0


def _guesses(choice: Choice) -> int | None:
    """How many to make each time; None where that is to be found out."""
    if choice == "auto":
        return None
    if choice is True:
        return _LENGTHS[1]
    if isinstance(choice, bool) or not isinstance(choice, int) or not 1 <= choice <= MOST_GUESSES:
        raise InvalidRequestError(
            f'speculation: got {choice!r}, expected "auto", True, False or a number of tokens '
            f"from 1 to {MOST_GUESSES}"
        )
    return choice
