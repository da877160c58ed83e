"""Finds the shared library of the operators."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["library_path"]

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
