"""One GGUF file: a checked header, and reads of just the bytes that are asked for.

The format (versions 2 and 3, little-endian): the magic word, the version, the numbers of tensors
and of keys; each key with its typed value; each tensor's name, sizes (the innermost first), type
and offset; then, aligned, the bytes. Source: ggml, `docs/gguf.md`.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

from ..gguf.blocks import INTEGER_FORMATS, from_blocks
from .base import quoted
from .weight_file import WeightFile

__all__ = ["MAGIC", "GgufFile", "GgufTensor"]

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_LONGEST_HEADER = 256 << 20
_LONGEST_NAME = 1 << 16
_MOST_ENTRIES = 1 << 16  # of keys, and of tensors
_MOST_STRINGS = 4 << 20  # of an array: each takes far more memory than bytes in the file
_MOST_AXES = 4
_MOST_ELEMENTS = 1 << 62
_LARGEST_ALIGNMENT = 1 << 20
_CHUNK = 1 << 20
_STRING, _ARRAY = 8, 9
_SCALARS = {
    **{0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4"},
    **{7: "?", 10: "<u8", 11: "<i8", 12: "<f8"},
}
_TYPES = {int(kind): kind for kind in GGMLQuantizationType}
_READABLE = {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q6_K", "Q4_1", "Q5_0", "Q5_1", "Q5_K"}


class GgufFile(WeightFile):
    """An open file.

    Attributes:
        keys: its metadata: numbers, texts, arrays of numbers and lists of texts, by name.
        tensors: what it stores, by name.
    """

    def __init__(self, path: Path) -> None:
        """Opens `path` and checks its whole header against the file's size.

        Raises:
            CheckpointError: the file is missing, truncated or not GGUF.
        """
        super().__init__(path)
        try:
            self._parse()
        except BaseException:
            self.close()
            raise

    def single(self, name: str) -> Any:
        """A key's number or text, or None.

        Raises:
            CheckpointError: it holds several.
        """
        value = self.keys.get(name)
        if isinstance(value, list | np.ndarray):
            raise self.error(f"key {quoted(name)} holds {len(value)} values, expected one")
        return value

    def _parse(self) -> None:
        header = _Header(self)
        if self.size < len(MAGIC) or header.take(4) != MAGIC:
            raise self.error("is not a GGUF file; download it again")
        version = header.number("<u4")
        if version not in _VERSIONS:
            raise self.error(f"is GGUF of version {version}, expected 2 or 3 (little-endian)")
        num_tensors, num_keys = (
            header.count("<u8", what, _MOST_ENTRIES) for what in ("tensors", "keys")
        )
        self.keys: dict[str, Any] = {}
        for _ in range(num_keys):
            name = header.text(_LONGEST_NAME)
            if name in self.keys:
                raise self.error(f"has the key {quoted(name)} twice; the file is damaged")
            self.keys[name] = header.value(name)
        places = [self._tensor(header) for _ in range(num_tensors)]
        alignment = self._alignment()
        begin = -(-header.position // alignment) * alignment
        self.tensors = {place.name: replace(place, offset=begin + place.offset) for place in places}
        if len(self.tensors) != len(places):
            ((twice, _),) = Counter(place.name for place in places).most_common(1)
            raise self.error(f"stores tensor {quoted(twice)} twice; the file is damaged")
        self._check_layout(alignment, begin)

    def _alignment(self) -> int:
        value = self.keys.get("general.alignment", 32)
        if not isinstance(value, int) or not 1 <= value <= _LARGEST_ALIGNMENT or value & value - 1:
            raise self.error(f"general.alignment is {quoted(str(value))}, expected a power of two")
        return value

    def _tensor(self, header: _Header) -> GgufTensor:
        name = header.text(_LONGEST_NAME)
        axes = header.count("<u4", f"axes of {quoted(name)}", _MOST_AXES)
        sizes = [header.number("<u8") for _ in range(axes)]
        kind, offset = _TYPES.get(header.number("<u4")), header.number("<u8")
        if kind is None:
            raise self.error(f"tensor {quoted(name)} has a type that is not known")
        shape = tuple(reversed(sizes))
        if not sizes or min(sizes) < 1 or math.prod(sizes) > _MOST_ELEMENTS:
            raise self.error(f"tensor {quoted(name)} has shape {list(shape)}")
        items, _ = GGML_QUANT_SIZES[kind]
        if sizes[0] % items:
            raise self.error(
                f"tensor {quoted(name)}, {kind.name} {list(shape)}: rows of {sizes[0]} weights, "
                f"expected a multiple of {items}"
            )
        return GgufTensor(self, name, kind, shape, offset)

    def _check_layout(self, alignment: int, begin: int) -> None:
        """Tensors lie aligned, apart from one another, and within the file."""
        ordered = sorted(self.tensors.values(), key=lambda tensor: tensor.offset)
        for tensor in ordered:
            if (tensor.offset - begin) % alignment:
                raise self.error(
                    f"tensor {quoted(tensor.name)} begins at byte {tensor.offset}, which is not "
                    f"aligned to {alignment}: the file is damaged"
                )
            if tensor.offset + tensor.nbytes > self.size:
                raise self.error(
                    f"tensor {quoted(tensor.name)} ends at byte {tensor.offset + tensor.nbytes}, "
                    f"but the file has {self.size}; it is truncated, download it again"
                )
        for one, other in pairwise(ordered):
            if one.offset + one.nbytes > other.offset:
                raise self.error(
                    f"tensors {quoted(one.name)} and {quoted(other.name)} overlap: "
                    "the file is damaged"
                )


class _Header:
    """Reads the header from first to last; every length is held to what the file still has."""

    def __init__(self, file: GgufFile) -> None:
        self._file, self._buffer, self._begin = file, b"", 0
        self.position = 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > min(self._file.size, _LONGEST_HEADER) - self.position:
            kind = "is truncated" if self._file.size < _LONGEST_HEADER else "has too long a header"
            raise self._file.error(f"{kind} at byte {self.position}; download it again")
        first = self.position - self._begin
        if first + count > len(self._buffer):
            size = min(max(count, _CHUNK), self._file.size - self.position)
            chunk = bytearray(size)
            self._file.read_into(memoryview(chunk), self.position)
            self._buffer, self._begin, first = bytes(chunk), self.position, 0
        self.position += count
        return self._buffer[first : first + count]

    def number(self, dtype: str) -> Any:
        """The next number."""
        size = np.dtype(dtype).itemsize
        return np.frombuffer(self.take(size), dtype)[0].item()

    def count(self, dtype: str, what: str, most: int) -> int:
        """The next number, which says how many of something follow."""
        value = int(self.number(dtype))
        if value > most:
            raise self._file.error(f"says that it has {value} {what}; the file is damaged")
        return value

    def text(self, longest: int = _LONGEST_HEADER) -> str:
        """The next text."""
        (length,) = struct.unpack("<Q", self.take(8))
        if length > longest:
            raise self._file.error(f"has a text of {length} bytes; the file is damaged")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError:
            raise self._file.error(
                f"has a text before byte {self.position} that is not UTF-8; the file is damaged"
            ) from None

    def value(self, name: str) -> Any:
        """The next value, after its type."""
        kind = self.number("<u4")
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(self._dtype(kind, name))
        kind, length = self.number("<u4"), self.number("<u8")
        if kind == _STRING:
            if length > min(_MOST_STRINGS, self._file.size // 8):
                raise self._file.error(
                    f"key {quoted(name)} says that it has {length} texts; the file is damaged"
                )
            return [self.text() for _ in range(length)]
        dtype = np.dtype(self._dtype(kind, name))
        return np.frombuffer(self.take(length * dtype.itemsize), dtype)

    def _dtype(self, kind: int, name: str) -> str:
        if kind not in _SCALARS:
            raise self._file.error(f"key {quoted(name)} has a type, {kind}, that is not known")
        return _SCALARS[kind]


@dataclass(frozen=True)
class GgufTensor:
    """Where a tensor, or a part of one, lies in a file.

    Attributes:
        file: the file that holds it.
        name: its name there; a part keeps the name of the whole.
        type: how its weights are stored.
        shape: sizes of the axes, outermost first.
        offset: the first byte's position in the file.
    """

    file: GgufFile
    name: str
    type: GGMLQuantizationType
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in the file."""
        items, size = GGML_QUANT_SIZES[self.type]
        return math.prod(self.shape) // items * size

    @property
    def integers(self) -> str | None:
        """Which of our formats holds it as it is; None for another type than Q8_0 and Q4_0."""
        return INTEGER_FORMATS.get(self.type.name)

    def rows(self, start: int, stop: int) -> GgufTensor:
        """Rows `start` to `stop` of the first axis."""
        skipped = start * self.nbytes // self.shape[0]
        return replace(self, shape=(stop - start, *self.shape[1:]), offset=self.offset + skipped)

    def part(self, index: int) -> GgufTensor:
        """Entry `index` of the first axis, without that axis."""
        row = self.rows(index, index + 1)
        return replace(row, shape=row.shape[1:])

    def read(self) -> NDArray[np.float32]:
        """The values in float32, without loss but for what their type has lost already.

        Raises:
            CheckpointError: another type, or the file cannot be read.
        """
        self.require_readable()
        data = self._bytes()
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found later
            values = (
                dequantize(data.view("<f2"), self.type)
                if self.type == GGMLQuantizationType.F16
                else data.view("<f4")
                if self.type == GGMLQuantizationType.F32
                else dequantize(data, self.type)
            )
        return np.asarray(values, np.float32).reshape(self.shape)

    def read_integers(self) -> QuantizedTensor:
        """A matrix of Q8_0 or Q4_0 as its integers and scales."""
        assert self.integers is not None
        return from_blocks(self._bytes(), self.integers)

    def require_readable(self) -> None:
        """Checks the type of the values.

        Raises:
            CheckpointError: one that is not read.
        """
        if self.type.name not in _READABLE:
            raise self.file.error(
                f"tensor {quoted(self.name)} is {self.type.name}, expected one of "
                f"{', '.join(sorted(_READABLE))}; take another file of this model"
            )

    def _bytes(self) -> NDArray[np.uint8]:
        """Its bytes `[rows, bytes of a row]`; a row is the innermost axis."""
        rows = math.prod(self.shape[:-1])
        data = np.empty((rows, self.nbytes // max(rows, 1)), np.uint8)
        if data.size:
            self.file.read_into(data.reshape(-1).data, self.offset)
        return data
