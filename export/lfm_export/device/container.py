"""The file `device.bin`: named sections, each at a multiple of 64 bytes, to be mapped and read.

Little-endian: the magic, u32 format version, u32 count of sections, u64 size of the file; then for
each section its name in 16 bytes, u64 offset and u64 size. `docs/bundle.md` describes the sections.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

__all__ = ["ALIGNMENT", "pack", "unpack"]

MAGIC = b"LFMDEVIC"
VERSION = 1
ALIGNMENT = 64

_HEAD = struct.Struct("<8sIIQ")
_SECTION = struct.Struct("<16sQQ")
_LONGEST_NAME = 15


def pack(sections: Mapping[str, bytes]) -> bytes:
    """The file of `sections`, in their order."""
    offset = _aligned(_HEAD.size + _SECTION.size * len(sections))
    table, body = b"", b""
    for name, data in sections.items():
        encoded = name.encode("ascii")
        if not 0 < len(encoded) <= _LONGEST_NAME:
            raise ValueError(f"{name!r}: expected 1 to {_LONGEST_NAME} characters")
        place = offset + _aligned(len(body))
        body = body.ljust(place - offset, b"\0") + data
        table += _SECTION.pack(encoded, place, len(data))
    size = offset + len(body)
    head = _HEAD.pack(MAGIC, VERSION, len(sections), size) + table
    return head.ljust(offset, b"\0") + body


def unpack(data: bytes) -> dict[str, bytes]:
    """The sections of a file.

    Raises:
        ValueError: it is none, or damaged.
    """
    if len(data) < _HEAD.size:
        raise ValueError(f"{len(data)} bytes, expected at least {_HEAD.size}")
    magic, version, count, size = _HEAD.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise ValueError(f"begins {magic!r} {version}, expected {MAGIC!r} {VERSION}")
    if size != len(data) or count > (size - _HEAD.size) // _SECTION.size:
        raise ValueError(f"{len(data)} bytes, expected {size} with {count} sections")
    sections = {}
    for index in range(count):
        name, offset, length = _SECTION.unpack_from(data, _HEAD.size + index * _SECTION.size)
        if offset % ALIGNMENT or offset > size or length > size - offset:
            raise ValueError(f"section {name!r} lies at {offset}, {length} bytes")
        sections[name.rstrip(b"\0").decode("ascii")] = data[offset : offset + length]
    return sections


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
