"""The device core's C ABI by ctypes, as thin as can be, for the tests."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator, Sequence
from ctypes import POINTER, byref, c_char_p, c_float, c_int32, c_int64, c_size_t, c_uint64
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from lfm_edge import errors
from numpy.typing import NDArray

__all__ = ["LIBRARY", "Handle", "Library", "library"]

LIBRARY = Path(__file__).parents[2] / "build" / "core" / "liblfm_core.so"
_OK, _END, _BUFFER = 0, 1, 2
_ERRORS: dict[int, type[Exception]] = {
    10: errors.BundleError,
    11: errors.UnsupportedBundleError,
    12: errors.IntegrityError,
    13: errors.InvalidRequestError,
    14: errors.UnknownTokenError,
    15: errors.ContextFullError,
    16: errors.SessionFileError,
    17: errors.SessionTakenError,
    18: errors.TemplateError,
    19: MemoryError,
    20: AssertionError,
}


class Handle(int):
    """A handle of the library's, which is closed where the block ends."""

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        library().close(self)


class Library:
    """The functions of lfm_core.h: errors are those of Python, results Python's values."""

    def __init__(self, path: Path) -> None:
        self._native = ctypes.CDLL(str(path))
        self._native.lfm_core_version.restype = c_char_p
        self._native.lfm_last_error.restype = c_char_p
        self._native.lfm_open_handles.restype = c_int64

    @property
    def version(self) -> str:
        """The ABI's."""
        return str(self._native.lfm_core_version().decode())

    @property
    def last_error(self) -> str:
        """The message of this thread's last failed call."""
        return str(self._native.lfm_last_error().decode())

    @property
    def open_handles(self) -> int:
        """How many there are."""
        return int(self._native.lfm_open_handles())

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a function for its effect."""
        self._check(self._status(name, *arguments))

    def open(self, name: str, *arguments: Any) -> Handle:
        """Calls a function whose last argument takes a handle."""
        handle = c_uint64()
        self.call(name, *arguments, byref(handle))
        return Handle(handle.value)

    def text(self, name: str, *arguments: Any, room: int = 256) -> str | None:
        """Calls a function that writes a text to a buffer; None behind the last event."""
        while True:
            buffer, needed = ctypes.create_string_buffer(room), c_size_t()
            status = self._status(name, *arguments, buffer, c_size_t(room), byref(needed))
            if status == _END:
                return None
            if status != _BUFFER:
                self._check(status)
                return buffer.value.decode()
            assert needed.value > room
            room = needed.value

    def json(self, name: str, *arguments: Any) -> Any:
        """Calls a function that writes JSON."""
        return json.loads(self.text(name, *arguments) or "null")

    def ids(self, name: str, *arguments: Any, room: int = 8) -> list[int]:
        """Calls a function that writes token ids."""
        while True:
            ids, count = (c_int32 * room)(), c_int64()
            status = self._status(name, *arguments, ids, c_int64(room), byref(count))
            if status != _BUFFER:
                self._check(status)
                return list(ids[: count.value])
            assert count.value > room
            room = count.value

    def events(self, handle: int) -> Iterator[dict[str, Any]]:
        """The events to come."""
        while (event := self.text("next", handle)) is not None:
            yield json.loads(event)

    def close(self, handle: int) -> None:
        """Closes any handle."""
        self.call("close", handle)

    def prefill(self, session: int, ids: Sequence[int], vocab_size: int) -> NDArray[np.float32]:
        """Reads tokens; the logits behind the last."""
        logits = np.empty(vocab_size, np.float32)
        place = logits.ctypes.data_as(POINTER(c_float))
        self.call("session_prefill", session, *native_ids(ids), place)
        return logits

    def _status(self, name: str, *arguments: Any) -> int:
        return int(getattr(self._native, f"lfm_{name}")(*map(_native, arguments)))

    def _check(self, status: int) -> None:
        if status != _OK:
            raise _ERRORS[status](self.last_error)


@cache
def library() -> Library:
    """The one that `make core` built, with Python's ONNX Runtime."""
    opened = Library(LIBRARY)
    capi = Path(onnxruntime.__file__).parent / "capi"
    opened.call("use_onnxruntime", str(next(capi.glob("libonnxruntime.so*"))))
    return opened


def native_ids(ids: Sequence[int]) -> tuple[Any, int]:
    """Ids as the functions take them: where they lie, and how many."""
    return (c_int32 * len(ids))(*ids), len(ids)


def _native(argument: Any) -> Any:
    """An argument as ctypes takes it: JSON values as their text, numbers as those of 64 bits."""
    if isinstance(argument, bool):
        return c_int32(argument)
    if isinstance(argument, int):
        return c_int64(argument)
    if isinstance(argument, Path):
        return str(argument).encode()
    if isinstance(argument, str):
        return argument.encode()
    if isinstance(argument, (dict, list)):
        return json.dumps(argument).encode()
    return argument
