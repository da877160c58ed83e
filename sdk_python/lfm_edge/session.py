"""One conversation's state: tokens go in, logits come out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from . import session_file
from .bundle import Bundle
from .errors import (
    ContextFullError,
    InvalidRequestError,
    SessionTakenError,
    UnsupportedBundleError,
    is_whole,
)
from .replay import Contents, runs
from .runtime import Conv, Runtime, State
from .token_ids import common, require_ids

__all__ = ["Session", "SessionMaker", "Snapshot"]


class SessionMaker(Protocol):
    """A model, as far as opening a session asks for it."""

    bundle: Bundle

    def session(self, context: int | None = None) -> Session:
        """An empty session; see `Model.session`."""
        ...


class Session:
    """What the model has read so far, and room for more; made by `Model.session`.

    A session belongs to one thread at a time. Several sessions of one model may run at once.

    It can go back to any position. With target `onnx` this costs the next run a few tokens
    (`to_replay`), however far it is, and changes no bit of what follows; with the others what was
    read since the last kept conv state is read again.

    Whatever interrupts a run (Ctrl-C, an error of the runtime, no memory) leaves the session empty,
    or with all that it was to read: what it says that it holds is what its state holds.

    Args:
        runtime: runs the graph.
        capacity: the most tokens that it can hold.
    """

    def __init__(self, runtime: Runtime, capacity: int) -> None:
        self.capacity = capacity
        """The most tokens that this session can hold."""
        self._runtime = runtime
        self._contents = self._empty()

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

    @property
    def to_replay(self) -> int:
        """How many of these tokens the next run reads again, because the session went back."""
        contents = self._contents
        return 0 if contents.busy.locked() else contents.replay

    def prefill(self, ids: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Appends tokens, in as many runs as they need, and returns the last one's logits [vocab].

        Args:
            ids: the tokens, at least one.

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
        """Appends one token and returns its logits [vocab].

        Args:
            token: its id.

        Raises:
            LfmError: as `prefill`.
        """
        return self.prefill([token])

    def reset(self) -> None:
        """Forgets every token."""
        contents = self._take()
        contents.clear()
        contents.busy.release()

    def rewind(self, position: int) -> None:
        """Forgets the tokens from `position` on.

        Args:
            position: how many tokens stay.

        Raises:
            InvalidRequestError: the session does not hold so many.
        """
        held = self.position
        if not (is_whole(position) and 0 <= position <= held):  # before anything is taken
            raise InvalidRequestError(
                f"rewind: got position {position!r}, but the session holds {held:,} tokens"
            )
        contents = self._take()
        contents.reader = None
        contents.rewind(int(position))
        contents.busy.release()

    def resume(
        self, ids: Sequence[int] | NDArray[np.integer], reader: object | None = None
    ) -> list[int]:
        """Goes to the longest beginning of `ids` that it holds, and returns what is left to read.

        Something always is, the last token at least: its logits are what one reads for. Where the
        target keeps conv states only here and there, the session goes to the last of these.

        Args:
            ids: all tokens that the session is to hold in the end.
            reader: who may go on by `read`; whoever read before has no say any more.

        Raises:
            InvalidRequestError: `ids` is empty.
            UnknownTokenError: an id lies outside the vocabulary.
        """
        wanted: list[int] = self._checked(ids).tolist()
        contents = self._take()
        kept = contents.reachable(min(common(contents.ids, wanted), len(wanted) - 1))
        contents.rewind(kept)
        contents.reader = reader
        contents.busy.release()
        return wanted[kept:]

    def reachable(self, ids: Sequence[int]) -> int:
        """How many of `ids` a `resume` would keep."""
        contents = self._contents
        return contents.reachable(max(0, min(common(contents.ids, ids), len(ids) - 1)))

    def runs(self, count: int) -> Iterator[slice]:
        """The pieces in which to `read` `count` tokens, each of them one run of the graph."""
        return runs(count, self.to_replay)

    @property
    def ahead(self) -> list[int]:
        """Tokens that a run read as those that may come next; `read` of the first needs no run."""
        contents = self._contents
        return [] if contents.busy.locked() else contents.ahead

    def read(
        self, ids: Sequence[int], reader: object, following: Sequence[int] = ()
    ) -> NDArray[np.float32]:
        """What `prefill` does, for the `reader` of the last `resume`.

        Args:
            ids: the tokens.
            reader: who reads.
            following: behind one token, those that may come next (`ahead`): where the target can
                (`StateAccess.ahead`), they are part of its run. The session does not hold them
                before they are read themselves.

        Raises:
            SessionTakenError: something else has used the session since.
            LfmError: whatever `prefill` raises.
        """
        tokens = self._checked(ids)
        guesses = self._checked(following).tolist() if following else []
        contents = self._take()
        if contents.reader is not reader:
            contents.busy.release()
            raise SessionTakenError(
                "the session went on without this answer: another answer, prefill, decode, rewind "
                "or reset has used it since; give each answer a session of its own, or finish one "
                "before the next"
            )
        if len(tokens) == 1 and contents.ahead[:1] == [int(tokens[0])]:
            logits = contents.take_ahead()
            contents.busy.release()
            return logits
        room = self.capacity - len(contents.ids) - 1
        return self._append(tokens, contents, guesses[: max(0, room)])

    def fork(self) -> Session:
        """A session of its own that holds the same, with the same room; copies what is held.

        Raises:
            UnsupportedBundleError: the target's state cannot be copied.
            BundleError: there is no memory for it.
        """
        self._require_tensors("fork")
        other, contents = Session(self._runtime, self.capacity), self._contents
        if contents.busy.acquire(blocking=False):
            try:
                other._contents.copy_from(contents)
            finally:  # nothing was changed
                contents.busy.release()
        return other

    def fork_beginning(self, position: int) -> Session:
        """As `fork`, of the tokens before a position alone, and while another thread reads on.

        The caller makes sure that this thread does not rewind to before the position.

        Args:
            position: how many tokens the copy holds.

        Raises:
            UnsupportedBundleError: the target's state cannot be copied, or a run cannot replay.
            BundleError: there is no memory for it.
        """
        self._require_tensors("fork")
        if self._runtime.access.replay is None:
            raise UnsupportedBundleError("fork: this target's conv state is that of the end alone")
        other = Session(self._runtime, self.capacity)
        other._contents.copy_beginning(self._contents, position)
        return other

    def snapshot(self) -> Snapshot:
        """A mark of this place, to `restore` it later.

        It has the tokens and, where it can be had, the conv state, which saves the replay.
        """
        contents = self._contents
        if not contents.busy.acquire(blocking=False):
            return Snapshot((), None, self._runtime)
        try:
            return Snapshot(tuple(contents.ids), contents.conv(), self._runtime)
        finally:  # nothing was changed
            contents.busy.release()

    def restore(self, snapshot: Snapshot) -> None:
        """Goes back to a snapshot's place, of which the session must still hold all tokens.

        Args:
            snapshot: made by this session, or by another of the same model.

        Raises:
            InvalidRequestError: it holds others, or the snapshot is another model's.
        """
        if not isinstance(snapshot, Snapshot):  # before anything is taken
            kind = type(snapshot).__name__
            raise InvalidRequestError(f"restore: got a {kind}, expected what snapshot gave")
        contents, place = self._take(), snapshot.position
        held = common(contents.ids, snapshot.ids)
        if snapshot._runtime is not self._runtime or held < place:
            contents.busy.release()
            reason = f"the session holds {held:,} of its {place:,} tokens; resume with its ids"
            if snapshot._runtime is not self._runtime:
                reason = "it is a snapshot of another model's session"
            raise InvalidRequestError(f"restore: {reason}")
        contents.reader = None
        contents.rewind(place)
        if snapshot._conv is not None:
            contents.set_conv(*snapshot._conv)
        contents.busy.release()

    def save(self, path: Path | str, attached: str = "") -> None:
        """Writes what the session holds to a file that `Session.open` reads.

        The file takes its name when it is whole; an earlier one is replaced.

        Args:
            path: the file.
            attached: a text to keep with it, such as a conversation's.

        Raises:
            UnsupportedBundleError: the target's state cannot be read.
            SessionFileError: the file cannot be written; nothing is left of it.
        """
        self._require_tensors("save")
        contents = self._contents
        if not contents.busy.acquire(blocking=False):
            contents = self._empty()
            contents.busy.acquire()
        try:
            session_file.write(Path(path), self._runtime.bundle, contents, self.capacity, attached)
        finally:  # nothing was changed
            contents.busy.release()

    @classmethod
    def open(cls, model: SessionMaker, path: Path | str, context: int | None = None) -> Session:
        """A session with what `save` wrote.

        Args:
            model: of the same bundle.
            path: the file.
            context: the session's capacity; by default that of the saved one.

        Raises:
            UnsupportedBundleError: the target's state cannot be written.
            SessionFileError: the file is missing, damaged, no saved session, of another version or
                of another bundle.
            InvalidRequestError: `context` is out of range.
            ContextFullError: `context` does not hold the saved tokens.
        """
        with session_file.opened(Path(path), model.bundle) as saved:
            session = model.session(saved.capacity if context is None else context)
            session._require_tensors("open")
            if saved.position > session.capacity:
                raise ContextFullError(
                    f"{path}: holds {saved.position:,} tokens, but the context "
                    f"{session.capacity:,}; take a larger context"
                )
            saved.read_into(session._contents)
        return session

    def _require_tensors(self, what: str) -> None:
        if self._runtime.access.axes is None:
            bundle = self._runtime.bundle
            raise UnsupportedBundleError(
                f"{what}: the state of target {bundle.manifest.graph.target} stays in its runtime, "
                "so such a session can go back, but is neither copied nor saved"
            )

    def _checked(self, ids: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
        return require_ids(ids, self._runtime.vocab_size)

    def _empty(self) -> Contents:
        return Contents(self._runtime.bind(self.capacity), self._runtime.access)

    def _take(self) -> Contents:
        """The contents, to be changed by the caller alone until it releases them."""
        contents = self._contents
        if not contents.busy.acquire(blocking=False):
            # Interrupted in the middle of a change, or used by another thread: left as they are.
            contents = self._empty()
            contents.busy.acquire()
            self._contents = contents
        return contents

    def _append(
        self, tokens: NDArray[np.int64], contents: Contents, following: Sequence[int] = ()
    ) -> NDArray[np.float32]:
        """Reads `tokens` and releases the contents that were taken."""
        position = len(contents.ids)
        if position + len(tokens) > self.capacity:
            contents.busy.release()
            raise ContextFullError(
                f"the context is full: {len(tokens):,} more tokens at position {position:,} "
                f"do not fit its capacity of {self.capacity:,}; take a larger context"
            )
        try:
            if following and len(tokens) == 1:
                logits = contents.append_ahead(int(tokens[0]), following)
            else:
                logits = contents.append(tokens)
        except BaseException:
            contents.clear()
            contents.busy.release()
            raise
        contents.busy.release()
        return logits


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A place that a session can go back to; made by `Session.snapshot`."""

    ids: tuple[int, ...]
    """The tokens that the session held."""
    _conv: tuple[int, Conv] | None = field(repr=False)
    _runtime: Runtime = field(repr=False)

    @property
    def position(self) -> int:
        """How many tokens the session held."""
        return len(self.ids)
