"""What a session holds, and how its state gets back to an earlier position.

The caches of keys and values keep every position, so going back means nothing to them. A
convolution keeps its last inputs alone. They follow from running the last tokens before the
position again, on an empty conv state, where a graph can be told that these tokens stand in its
cache already (`StateAccess.replay`); elsewhere copies of the conv state are kept on the way
(`Checkpoints`), and what was read since the last one is read again. Either way this happens with
the next run, which has to be made anyway.

A sliding layer's cache may keep its last positions alone. Further back more tokens are run again,
from which its keys and values follow (`windows`).
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from .runtime import AheadState, Conv, State, StateAccess, WindowState

__all__ = ["PREFILL_CHUNK", "Checkpoints", "Contents", "runs"]

PREFILL_CHUNK = 512
"""Most tokens of one run: more would gain no speed and cost memory for activations."""
CHECKPOINT_TOKENS = 512
"""Most tokens between two kept conv states, while these are few."""
MOST_CHECKPOINTS = 64


def runs(count: int, replay: int = 0) -> Iterator[slice]:
    """The runs in which so many tokens are read, one after the other.

    Args:
        count: tokens to read.
        replay: tokens that are read again before them, and share their first run.
    """
    start, stop = 0, PREFILL_CHUNK - replay % PREFILL_CHUNK
    while start < count:
        yield slice(start, min(stop, count))
        start, stop = stop, stop + PREFILL_CHUNK


class Checkpoints:
    """Conv states at some positions, from the first to the last.

    Beyond `MOST_CHECKPOINTS` those go that leave the smallest gaps, so that a long conversation can
    go back anywhere at a cost that grows slowly.
    """

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._kept: list[Conv] = []

    @property
    def last(self) -> int:
        """The last position with a conv state; 0, where it is empty, if there is none."""
        return self._positions[-1] if self._positions else 0

    def add(self, position: int, conv: Conv) -> None:
        """Keeps the conv state of a position from the last one on."""
        self.drop_after(position - 1)
        self._positions.append(position)
        self._kept.append(conv)
        if len(self._positions) > MOST_CHECKPOINTS:
            places = [0, *self._positions]
            gaps = [places[i + 2] - places[i] for i in range(len(places) - 2)]
            least = gaps.index(min(gaps))
            del self._positions[least], self._kept[least]

    def before(self, position: int) -> tuple[int, Conv]:
        """The last position up to this one with a known conv state, and this state."""
        index = bisect_right(self._positions, position)
        return (self._positions[index - 1], self._kept[index - 1]) if index else (0, {})

    def drop_after(self, position: int) -> None:
        """Forgets what lies beyond a position."""
        index = bisect_right(self._positions, position)
        del self._positions[index:], self._kept[index:]

    def copy(self) -> Checkpoints:
        """The same conv states, which nobody changes, in a list of its own."""
        other = Checkpoints()
        other._positions, other._kept = self._positions.copy(), self._kept.copy()
        return other


@dataclass(frozen=True)
class Ahead:
    """What a run gave that read tokens which may turn out to be others.

    Attributes:
        start: the position before its first token, which counts as read.
        ids: its tokens; those behind the first are read once someone asks for them.
        logits: those after each of them [S, vocab].
        columns: the inputs of the convolutions; see `AheadState.run_ahead`.
    """

    start: int
    ids: list[int]
    logits: NDArray[np.float32]
    columns: Conv

    def conv(self, position: int) -> Conv:
        """The conv state at a position behind its first token."""
        first = position - self.start - 1
        behind = len(self.ids) - 1 - first
        return {
            name: values[..., first : values.shape[-1] - behind]
            for name, values in self.columns.items()
        }


@dataclass(frozen=True)
class Start:
    """Where a run begins.

    Attributes:
        position: of its first token.
        conv: the conv state that it needs there; None: the one that the state has.
        anew: whether sliding layers write the keys and values of replayed tokens anew.
    """

    position: int
    conv: Conv | None = None
    anew: bool = False


class Contents:
    """Tokens and the state that they led to.

    `busy` is locked while either changes, and never waited for. A change that is interrupted
    never unlocks it, wherever the interrupt strikes: such contents are not used again.
    """

    def __init__(self, state: State, access: StateAccess) -> None:
        self.state, self.access = state, access
        self.ids: list[int] = []
        self.reader: object | None = None
        """Who may go on reading; None where nobody has begun, or something else came between."""
        self.busy = threading.Lock()
        self._conv_position = 0  # where the conv state stands, which may be where ids went on to
        self._checkpoints = Checkpoints()
        self._ahead: Ahead | None = None
        self.earliest = 0
        """Where a run may begin at the earliest by what the sliding layers keep."""

    def clear(self) -> None:
        """Forgets everything; only for who made it busy, as all that changes something."""
        self.reader = self._ahead = None
        self.ids.clear()
        self._checkpoints.drop_after(0)
        self.state.clear()
        self._conv_position = self.earliest = 0

    @property
    def replay(self) -> int:
        """How many of the tokens that it holds the next run reads again."""
        return len(self.ids) - self._start().position

    def rewind(self, position: int) -> None:
        """Forgets what was read from a position on."""
        if position == 0:
            self.clear()
        del self.ids[position:]
        if self._ahead is not None and position <= self._ahead.start:
            self._ahead = None
        self._checkpoints.drop_after(position)

    def reachable(self, position: int) -> int:
        """The last position up to this one at which no token needs to be appended again."""
        if self.access.replay is not None or position == self._conv_position:
            return position
        return self._checkpoints.before(position)[0]

    @property
    def ahead(self) -> list[int]:
        """Tokens that were run already, as those that may come next."""
        if self._ahead is None:
            return []
        return self._ahead.ids[len(self.ids) - self._ahead.start :]

    def take_ahead(self) -> NDArray[np.float32]:
        """Reads the first token of `ahead`, which needs no run; its logits."""
        ahead = self._ahead
        assert ahead is not None
        index = len(self.ids) - ahead.start
        self.ids.append(ahead.ids[index])
        return _row(ahead.logits, index)

    def append_ahead(self, token: int, following: Sequence[int]) -> NDArray[np.float32]:
        """Reads a token, and runs with it those that may follow; the first one's logits."""
        held, start = len(self.ids), self._start()
        if not self.access.ahead or start.position < held:
            return self.append(np.array([token], np.int64))
        if start.conv is not None:
            self.state.set_conv(start.conv)
        self._ahead, ids = None, [token, *following]
        state = cast(AheadState, self.state)
        logits, columns = state.run_ahead(np.array(ids, np.int64), held)
        self._ahead = Ahead(held, ids, logits, columns)
        self.ids.append(token)
        self._conv_position = held + len(ids)
        self._overwrite(held + len(ids))
        return _row(logits, 0)

    def append(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Reads tokens, and before them what must be read again; the last one's logits."""
        held, start = len(self.ids), self._start()
        self._ahead = None
        if 0 == start.position < held:
            self.state.clear()
            self.earliest = 0
        elif start.conv is not None:
            self.state.set_conv(start.conv)
        if start.anew:
            self.earliest = held
        again = np.array(self.ids[start.position :], np.int64)
        # From the very beginning nothing is missing, and the tokens are simply appended again.
        replayed = len(again) if self.access.replay is not None and start.position > 0 else 0
        unread = np.concatenate([again, tokens]) if len(again) else tokens
        for run in runs(len(unread)):
            ids, position = unread[run], start.position + run.start
            if run.start >= replayed:
                logits = self.state.run(ids, position)
            else:
                state = cast(WindowState, self.state)
                replay = state.run_anew if start.anew else state.run
                logits = replay(ids, position, min(replayed - run.start, len(ids)))
            self._overwrite(position + len(ids))
            self._pass(position + len(ids), len(tokens))
        self.ids.extend(tokens.tolist())
        self._conv_position = len(self.ids)
        return logits

    def conv(self) -> tuple[int, Conv] | None:
        """A conv state that leads to its end, and its position; None if it has none."""
        if not self.access.conv:
            return None
        held = len(self.ids)
        if self._conv_position == held:
            return held, self.state.conv()
        if self._ahead is not None:
            return held, {name: conv.copy() for name, conv in self._ahead.conv(held).items()}
        position, conv = self._checkpoints.before(len(self.ids))
        return (position, conv) if position else None

    def conv_to_save(self) -> tuple[int, Conv] | None:
        """The conv state for a file, which has room for one; None if there is none.

        Where such states are kept, that of the last turn's beginning: a conversation whose thinking
        is dropped goes back there, and one that just goes on has little to read again.
        """
        position, conv = self._checkpoints.before(len(self.ids))
        return (position, conv) if position else self.conv()

    def fill(self, ids: list[int], conv: tuple[int, Conv] | None, earliest: int = 0) -> None:
        """Takes ids whose keys and values were written to the state, and a conv state of them.

        `earliest` is that of the contents that they come from.
        """
        self.ids, self._conv_position, self.earliest = ids, -1, earliest
        if conv is not None:
            self.set_conv(*conv)

    def set_conv(self, position: int, conv: Conv) -> None:
        """Takes a conv state of one of its positions for what `conv` gave there."""
        if position == len(self.ids):
            self.state.set_conv(conv)
            self._conv_position = position
        if self.access.replay is None:
            self._checkpoints.add(position, conv)

    def copy_from(self, other: Contents) -> None:
        """Fills empty contents with others of the same runtime and capacity."""
        self.copy_beginning(other, len(other.ids))
        self._checkpoints = other._checkpoints.copy()
        self.fill(self.ids, other.conv(), other.earliest)

    def copy_beginning(self, other: Contents, held: int) -> None:
        """Fills empty contents with the first tokens of others.

        Their conv state is left out, and what sliding layers keep: it is that of the others' end.
        """
        assert self.access.axes is not None
        for name, axis in self.access.axes.items():
            part = (slice(None),) * axis + (slice(held),)
            self.state.tensors[name][part] = other.state.tensors[name][part]
        self.fill(other.ids[:held], None, held + 1 if self.access.windows else 0)

    def _start(self) -> Start:
        """Where the next run begins."""
        held, windows = len(self.ids), self.access.windows
        if held >= self.earliest and self._conv_position == held:
            return Start(held)
        if held >= self.earliest and self._ahead is not None:
            return Start(held, self._ahead.conv(held))
        if self.access.replay is None:
            return Start(*self._checkpoints.before(held))
        near = max(0, held - self.access.replay)
        if windows is None or near == 0 or near >= self.earliest:
            return Start(near, {})
        far = max(0, held - windows.replay)
        return Start(far, {}, anew=far > 0)

    def _overwrite(self, end: int) -> None:
        """Notes that sliding layers took what stands before `end`, in the place of older ones."""
        if self.access.windows is not None:
            self.earliest = max(self.earliest, end - self.access.windows.reach)

    def _pass(self, position: int, reading: int) -> None:
        """Keeps the conv state of a position that a run has come to, where it may be wanted.

        Several tokens at once are a turn's, and the next one may go back to their end.
        """
        if self.access.replay is not None or not self.access.conv:
            return
        if reading > 1 or position - self._checkpoints.last >= CHECKPOINT_TOKENS:
            self._checkpoints.add(position, self.state.conv())


def _row(logits: NDArray[np.float32], index: int) -> NDArray[np.float32]:
    """A copy of one token's logits."""
    row: NDArray[np.float32] = logits[index].copy()
    return row
