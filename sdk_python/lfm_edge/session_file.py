"""A session as a file: a safetensors file of its ids, keys and values, and of its conv state.

Metadata: `format`, `version`, the SHA-256 of the bundle's manifest (`bundle`), `capacity`,
`attached` (a text of whoever saved it), `conv_position` (where the conv state stands; -1 without
one), `earliest` where sliding layers keep the last positions alone (where a run may begin at the
earliest; one more than the ids where none may) and the SHA-256 of all tensors and of the rest of
the metadata. Tensors: `ids` int32 [n], and `state.NAME` for each of the bundle's, of caches only
the positions held.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .bundle import Bundle
from .errors import SessionFileError
from .replay import Contents

__all__ = ["VERSION", "SavedSession", "opened", "write"]

VERSION = "1"
_FORMAT = "lfm-edge session"
_DIGEST = "sha256"
_TYPES = {"float32": "F32", "float16": "F16", "int8": "I8"}

Array = NDArray[Any]


def write(path: Path, bundle: Bundle, contents: Contents, capacity: int, attached: str) -> None:
    """Writes contents, of a runtime whose tensors can be read, beside `path` and renames it.

    Raises:
        SessionFileError: it cannot be written; nothing is left of it.
    """
    assert contents.access.axes is not None
    if os.path.isdir(path):  # noqa: PTH112 (a name that cannot be is no folder)
        raise SessionFileError(f"{path}: is a folder; expected the name of a file")
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 (likewise)
        raise SessionFileError(f"{path}: cannot be written: is no plain file")
    held, conv = len(contents.ids), contents.conv_to_save()
    tensors: dict[str, Array] = {"ids": np.array(contents.ids, np.int32)}
    for name, axis in contents.access.axes.items():
        part = contents.state.tensors[name][(slice(None),) * axis + (slice(held),)]
        tensors[_stored(name)] = np.ascontiguousarray(part)
    if conv is not None:
        tensors |= {_stored(name): value for name, value in conv[1].items()}
    metadata = {
        "format": _FORMAT,
        "version": VERSION,
        "bundle": bundle.digest,
        "capacity": str(capacity),
        "attached": attached,
        "conv_position": str(conv[0] if conv else -1),
    }
    if contents.access.windows is not None:
        metadata["earliest"] = str(min(contents.earliest, held + 1))
    digest = _Digest(metadata)
    for name in sorted(tensors):
        digest.add(name, tensors[name])
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        save_file(tensors, partial, metadata | {_DIGEST: digest.hex()})
        partial.replace(path)
    except (OSError, ValueError, SafetensorError) as error:
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
        raise SessionFileError(f"{path}: cannot be written: {reason}") from None
    finally:
        with contextlib.suppress(OSError, ValueError):
            partial.unlink()


@contextmanager
def opened(path: Path, bundle: Bundle) -> Iterator[SavedSession]:
    """A saved session whose metadata fit the bundle, while its file is open.

    Raises:
        SessionFileError: the file is missing, damaged, no saved session, of another version or of
            another bundle; also from within the block.
    """
    if not os.path.isfile(path):  # noqa: PTH113 (nor is it a file)
        raise SessionFileError(f"{path}: no such file; expected one that Session.save wrote")
    try:
        with safe_open(path, framework="numpy") as file:
            yield SavedSession(path, file, bundle)
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise SessionFileError(f"{path}: damaged, or no saved session: {reason}") from None


class SavedSession:
    """An open file whose metadata fit the bundle; its tensors are checked when they are read."""

    def __init__(self, path: Path, file: Any, bundle: Bundle) -> None:
        self._path, self._file = path, file
        self._vocab_size = bundle.manifest.model.vocab_size
        metadata = dict(file.metadata() or {})
        self._sha256 = metadata.pop(_DIGEST, None)
        self._digest = _Digest(metadata)
        if metadata.get("format") != _FORMAT:
            raise SessionFileError(f"{path}: no saved session; expected one by Session.save")
        if metadata.get("version") != VERSION:
            raise SessionFileError(
                f"{path}: saved in version {metadata.get('version')!r} of the format, but this "
                f"version of lfm-edge reads {VERSION}; read its text again"
            )
        if metadata.get("bundle") != bundle.digest:
            raise SessionFileError(
                f"{path}: was saved with another bundle than {bundle.folder}; read its text again"
            )
        self.capacity = self._number(metadata, "capacity")
        """That of the session that was saved."""
        shape = self._shape("ids", "I32")
        if len(shape) != 1 or shape[0] > self.capacity:
            raise self._damaged(f"ids of shape {shape}")
        self.position: int = shape[0]
        """How many tokens it holds."""
        self.attached: str = metadata.get("attached", "")
        """The text that was saved with it."""
        self._conv_position = self._number(metadata, "conv_position")
        self._metadata = metadata

    def read_into(self, contents: Contents) -> None:
        """Fills empty contents, whose capacity holds `position` tokens.

        Raises:
            SessionFileError: the tensors are not the bundle's, or differ from what was written; the
                contents are then not to be used.
        """
        assert contents.access.axes is not None
        shapes = {}
        for name, tensor in contents.state.tensors.items():
            axis = contents.access.axes.get(name)
            if axis is not None or self._conv_position >= 0:
                held = self.position
                size = [min(held, n) if at == axis else n for at, n in enumerate(tensor.shape)]
                shapes[_stored(name)] = (_TYPES[str(tensor.dtype)], size)
        self._check_tensors(shapes)
        conv: dict[str, Array] = {}
        ids: list[int] = []
        for name in sorted({"ids", *shapes}):
            value = self._file.get_tensor(name)
            self._digest.add(name, value)
            if name == "ids":
                ids = value.tolist()
            elif (axis := contents.access.axes.get(_name(name))) is None:
                conv[_name(name)] = value
            else:
                part = (slice(None),) * axis + (slice(self.position),)
                contents.state.tensors[_name(name)][part] = value
        if self._digest.hex() != self._sha256:
            raise self._damaged("its content is not what was written")
        if not all(0 <= token < self._vocab_size for token in ids):
            raise self._damaged("it holds tokens that the model does not have")
        kept = contents.access.windows is not None
        earliest = self._number(self._metadata, "earliest") if kept else 0
        known = (self._conv_position, conv) if self._conv_position >= 0 else None
        contents.fill(ids, known, earliest)

    def _check_tensors(self, shapes: Mapping[str, tuple[str, list[int]]]) -> None:
        """Holds names, types and shapes to the bundle's, before anything is read."""
        wanted = shapes.keys() | {"ids"}
        if odd := sorted(wanted ^ set(self._file.keys())):
            raise self._damaged(f"tensor {odd[0]} is {'missing' if odd[0] in wanted else 'odd'}")
        for name, (dtype, shape) in shapes.items():
            if (found := self._shape(name, dtype)) != shape:
                raise self._damaged(f"tensor {name} has shape {found}, expected {shape}")

    def _shape(self, name: str, dtype: str) -> list[int]:
        if name not in self._file.keys():  # noqa: SIM118 (it is no mapping)
            raise self._damaged(f"tensor {name} is missing")
        found = self._file.get_slice(name)
        if found.get_dtype() != dtype:
            raise self._damaged(f"tensor {name} is {found.get_dtype()}, expected {dtype}")
        shape: list[int] = found.get_shape()
        return shape

    def _number(self, metadata: Mapping[str, str], name: str) -> int:
        text = metadata.get(name, "")
        low, high = (1, None) if name == "capacity" else (-1, self.position)
        if name == "earliest":
            low, high = 0, self.position + 1
        digits = text.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) <= 9:
            value = int(text)
            if low <= value and (high is None or value <= high):
                return value
        raise self._damaged(f"{name} is {text[:40]!r}")

    def _damaged(self, what: str) -> SessionFileError:
        return SessionFileError(f"{self._path}: damaged: {what}; read its text again")


class _Digest:
    """SHA-256 of metadata and of tensors in the order of their names.

    What is hashed of texts is ASCII: `repr` escapes what the Unicode of this Python does not know.
    """

    def __init__(self, metadata: Mapping[str, str]) -> None:
        self._hash = hashlib.sha256(ascii(sorted(metadata.items())).encode())

    def add(self, name: str, tensor: Array) -> None:
        self._hash.update(ascii((name, str(tensor.dtype), tensor.shape)).encode())
        self._hash.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)

    def hex(self) -> str:
        return self._hash.hexdigest()


def _stored(name: str) -> str:
    """How the file calls a state tensor."""
    return f"state.{name}"


def _name(stored: str) -> str:
    return stored.removeprefix("state.")
