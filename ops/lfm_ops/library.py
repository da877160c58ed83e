"""Finds the shared library of the operators."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

__all__ = ["instruction_set", "library_path", "prefetch_bytes"]

_NAMES = {"win32": "lfm_ops.dll", "darwin": "liblfm_ops.dylib"}


def library_path() -> Path:
    """The library, for `SessionOptions.register_custom_ops_library(str(library_path()))`.

    It lies beside this package, or in `build/ops` of a source tree.

    Raises:
        FileNotFoundError: it is in neither place; the message says how to build it.
    """
    name = _NAMES.get(sys.platform, "liblfm_ops.so")
    package = Path(__file__).resolve().parent
    tree = package.parent.parent
    for path in (package / name, tree / "build" / "ops" / name):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{name} is neither in {package} nor in {tree / 'build' / 'ops'}: install the package with "
        "pip, or build it with `cmake -S ops -B build/ops && cmake --build build/ops`"
    )


def instruction_set() -> str:
    """What this process computes with, as `LFM_OPS_ISA` names it.

    Raises:
        FileNotFoundError: see `library_path`.
    """
    name = _library().lfm_ops_isa
    name.restype = ctypes.c_char_p
    found: bytes = name()
    return found.decode()


def prefetch_bytes() -> int:
    """How far ahead weights are fetched when one token is decoded.

    As `LFM_OPS_PREFETCH` fixes it, else what was best in the trials so far: sessions try distances
    with their first tokens.

    Raises:
        FileNotFoundError: see `library_path`.
    """
    distance = _library().lfm_ops_prefetch_bytes
    distance.restype = ctypes.c_int64
    found: int = distance()
    return found


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(str(library_path()))
