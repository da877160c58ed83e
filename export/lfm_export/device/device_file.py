"""Adds a `device.bin` to a bundle that is otherwise whole."""

from __future__ import annotations

import msgspec
from lfm_edge.bundle import Bundle, file_entry
from lfm_edge.file_names import (
    CHAT_TEMPLATE,
    CHAT_TEMPLATES,
    DEVICE,
    SPECIAL_TOKENS,
    TOKENIZER,
    TOKENIZER_CONFIG,
)

from ..notes import Note
from ..writer import write_manifest
from .chat_format import chat_section
from .container import pack
from .tokenizer_section import tokenizer_section

__all__ = ["add_device_file"]

_SOURCES = (TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS, CHAT_TEMPLATE)


def add_device_file(bundle: Bundle, note: Note) -> None:
    """Compiles what the bundle's files say, and lists the result in its manifest.

    Args:
        bundle: whose tokenizer and template these are.
        note: hears what cannot be expressed.
    """
    sections = {
        "tokenizer": tokenizer_section(bundle, note),
        "chat": chat_section({name: bundle.folder / name for name in bundle.manifest.files}, note),
    }
    found = {name: section for name, section in sections.items() if section is not None}
    if not found:
        return
    found["sources"] = _sources(bundle)
    path = bundle.folder / DEVICE
    path.write_bytes(pack(found))
    files = {**bundle.manifest.files, DEVICE: file_entry(path)}
    write_manifest(msgspec.structs.replace(bundle.manifest, files=files), bundle.folder)


def _sources(bundle: Bundle) -> bytes:
    """The hashes of what the sections were made of, as JSON: a device uses them with no other."""
    hashes = {
        name: entry.sha256
        for name, entry in bundle.manifest.files.items()
        if name in _SOURCES or name.startswith(f"{CHAT_TEMPLATES}/")
    }
    return msgspec.json.encode(dict(sorted(hashes.items())))
