"""Adds a `device.bin` to a bundle that is otherwise whole."""

from __future__ import annotations

import msgspec
from lfm_edge.bundle import Bundle, file_entry
from lfm_edge.file_names import DEVICE

from ..notes import Note
from ..writer import write_manifest
from .chat_format import chat_section
from .container import pack
from .tokenizer_section import tokenizer_section

__all__ = ["add_device_file"]


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
    path = bundle.folder / DEVICE
    path.write_bytes(pack(found))
    files = {**bundle.manifest.files, DEVICE: file_entry(path)}
    write_manifest(msgspec.structs.replace(bundle.manifest, files=files), bundle.folder)
