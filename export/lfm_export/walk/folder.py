"""Where a walk keeps its streams, and how far it is, so that it goes on after a kill."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from filelock import FileLock, Timeout
from lfm_edge.errors import LfmError
from numpy.typing import NDArray

from ..errors import ExportError, WorkersLostError
from .arrays import naming, part_of

__all__ = ["BEFORE", "OWN_TEXT", "WalkFolder", "check_state_folder"]

Array = NDArray[np.float32]

_STATE = "walk.json"
_LOCK = "walk.lock"
_PART = "walk.part"
_TENSORS = "tensors"
_RESULTS = ("scores.*.npz", "damages.*", f"{_TENSORS}/*.npz")
_OURS = ("*.f32", *_RESULTS)  # what a walk leaves in its folder
BEFORE = "measure"
"""The folder, within that of a walk, of another one that came before it."""
OWN_TEXT = "text.npz"
"""What a model wrote to be walked over."""
_TEXTS = OWN_TEXT, part_of(Path(OWN_TEXT)).name
_EARLIER = {_LOCK, BEFORE, *_TEXTS}  # what may be there before a walk


class _Progress(msgspec.Struct):
    """How far a walk is."""

    identity: str
    """Of what is walked, and over which text."""
    operations: int = 0
    """How many are done, up to an addition."""
    side: Literal[0, 1] = 0
    """Which of its two files each stream lies in."""
    weights: int = 0
    """How many weights those operations had."""
    lanes: int = 0
    """How many streams they left."""
    crc: int = 0
    """Of all this and of those streams."""


class WalkFolder:
    """A folder of one walk.

    Attributes:
        path: where it lies; what a walk keeps besides its streams lies there, too.
    """

    def __init__(self, path: Path, progress: _Progress, tokens: int, width: int) -> None:
        self.path, self._progress = path, progress
        self._shape = tokens, width
        self._kept = False

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, identity: str, tokens: int, width: int) -> Iterator[WalkFolder]:
        """The folder at `path`, made if it is missing; goes on where it is of the same walk.

        Where the block refuses its work (LfmError) that no earlier one began, nothing stays behind
        unless it has called `keep`. Where the disk is full or workers were lost, what was found
        stays, as after a kill.

        Args:
            path: an empty folder, one of an earlier walk, or nothing yet.
            identity: what tells the same walk: of another one, everything is dropped.
            tokens: of the streams.
            width: of the streams.

        Raises:
            ExportError: there is something else, or another process walks there.
        """
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        check_state_folder(path)
        path.mkdir(parents=True, exist_ok=True)
        file = path / _STATE
        lock = FileLock(path / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise ExportError(f"{path}: another process is at work there; let it end") from None
        try:
            folder = cls(path, _read(file, identity), tokens, width)
            folder._check_streams()
            folder._kept = cls.holds_results(path)
            try:
                yield folder
            except (LfmError, OSError) as error:
                goes_on = isinstance(error, (WorkersLostError, OSError))
                if not (folder._kept or (goes_on and cls.holds_results(path))):
                    _clear(path)
                    _remove_empty(missing)
                raise
        finally:
            lock.release()

    @staticmethod
    def holds_results(path: Path) -> bool:
        """Whether a walk at `path`, or one before it, has found anything that is worth keeping."""
        found = _progress(path / _STATE)
        return (
            bool(found and found.operations)
            or any(map(any, map(path.glob, (*_RESULTS, OWN_TEXT))))
            or ((path / BEFORE).is_dir() and WalkFolder.holds_results(path / BEFORE))
        )

    @staticmethod
    def remove(path: Path) -> None:
        """Removes what a walk left at `path`, and the folder where nothing else lies there."""
        if _clear(path):
            _remove_empty([path])

    def keep(self) -> None:
        """What is done stays, even if what follows is refused."""
        self._kept = True

    @property
    def operations(self) -> int:
        """How many operations are done."""
        return self._progress.operations

    @property
    def weights(self) -> int:
        """How many weights they had."""
        return self._progress.weights

    def stream(self, lane: int) -> Array:
        """The residual stream of a lane as it stands, `[tokens, width]`."""
        return self.scratch(self._stream(lane))

    def next_stream(self, lane: int) -> Array:
        """Where its next state is written; `stream` stays as it is until `advance`."""
        return self.scratch(f"stream.{lane}.{1 - self._progress.side}")

    def advance(self, operations: int, weights: int, lanes: int) -> None:
        """What stands in the next streams is the state after so many operations and weights."""
        side: Literal[0, 1] = 0 if self._progress.side else 1
        self._progress = _Progress(self._progress.identity, operations, side, weights, lanes)
        self._progress.crc = self._crc()
        _write(self.path / _STATE, self._progress)

    def scratch(self, name: str) -> Array:
        """An array `[tokens, width]` in a file of that name.

        Raises:
            OSError: the disk has no room for it.
        """
        file, (tokens, width) = self._file(name), self._shape
        if not self._has_room(file):
            # Writing to a mapped hole of a full disk is a SIGBUS.
            with naming(file), file.open("wb") as new:
                for _ in range(tokens):
                    new.write(bytes(4 * width))
        return np.memmap(file, np.float32, "r+", shape=self._shape)

    def _check_streams(self) -> None:
        """Begins anew where a stream is not what was left: a lost page has the right size."""
        names = map(self._stream, range(self._progress.lanes))
        whole = all(self._has_room(self._file(name)) for name in names)
        if self._progress.operations and not (whole and self._crc() == self._progress.crc):
            self._progress = _Progress(self._progress.identity)
            _write(self.path / _STATE, self._progress)

    def _crc(self) -> int:
        found = msgspec.structs.replace(self._progress, crc=0)
        crc = zlib.crc32(msgspec.json.encode(found))
        for lane in range(found.lanes):
            crc = zlib.crc32(self.stream(lane).data, crc)
        return crc

    def _stream(self, lane: int) -> str:
        return f"stream.{lane}.{self._progress.side}"

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.f32"

    def _has_room(self, file: Path) -> bool:
        tokens, width = self._shape
        return file.exists() and file.stat().st_size == 4 * tokens * width


def check_state_folder(path: Path) -> None:
    """Leaves alone what is no folder of a walk.

    Raises:
        ExportError: it holds other files, or is one itself.
    """
    if path.exists() and not path.is_dir():
        raise ExportError(f"{path}: is no folder; name an empty one for the state, or a new one")
    if not path.is_dir() or (path / _STATE).exists():
        return
    if any(p.name not in _EARLIER for p in path.iterdir()):
        raise ExportError(
            f"{path}: holds other files; name an empty folder for the state, or a new one"
        )


def _read(file: Path, identity: str) -> _Progress:
    found = _progress(file)
    if found and found.identity == identity:
        return found
    for pattern in _OURS:
        for path in file.parent.glob(pattern):
            path.unlink()
    progress = _Progress(identity)
    _write(file, progress)
    return progress


def _progress(file: Path) -> _Progress | None:
    absent = FileNotFoundError, NotADirectoryError
    with contextlib.suppress(*absent, msgspec.MsgspecError):
        return msgspec.json.decode(file.read_bytes(), type=_Progress)
    return None


def _write(file: Path, progress: _Progress) -> None:
    part = file.with_name(_PART)
    with naming(file):
        part.write_bytes(msgspec.json.encode(progress))
        part.replace(file)


def _clear(folder: Path) -> bool:
    """Removes a walk's files; whether the folder was a walk's at all."""
    names = {file.name for file in folder.iterdir()} if folder.is_dir() else {"not a folder"}
    if _STATE not in names and not names <= _EARLIER:
        return False
    if BEFORE in names:
        WalkFolder.remove(folder / BEFORE)
    for pattern in (*_OURS, *_TEXTS, _PART, _STATE, _LOCK):
        for file in folder.glob(pattern):
            with contextlib.suppress(OSError):  # Windows removes no open file
                file.unlink()
    _remove_empty([folder / _TENSORS])
    return True


def _remove_empty(folders: Iterable[Path]) -> None:
    """Removes folders, the innermost first, up to one that holds something."""
    with contextlib.suppress(OSError):
        for folder in folders:
            if folder.exists():
                folder.rmdir()
