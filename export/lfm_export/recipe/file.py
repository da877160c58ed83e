"""The file of a recipe: one JSON object, from names of matrices to formats.

    {"*": "q4", "lm_head": "q8", "layers.0.*": "q8", "layers.*.feed_forward.experts.*.w2": "q8"}

A key is the name of a matrix, or of a module with all that is in it; `*` stands for any text. Where
several fit, the last one counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..checkpoint.base import quoted
from ..errors import ExportError
from ..quantize import METHODS

__all__ = ["read_recipe"]

_MOST_BYTES = 1 << 20
_KEY = re.compile(r"[A-Za-z0-9_.*-]{1,255}")


def read_recipe(path: Path) -> dict[str, str]:
    """The formats that a file names, by keys in its order; `formats_of` applies them.

    Raises:
        ExportError: it cannot be read, or is no recipe.
    """
    where = f"--recipe {path}"
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ExportError(f"{where}: {error.strerror or error}") from None
    if len(data) > _MOST_BYTES:
        raise ExportError(f"{where}: larger than {_MOST_BYTES >> 20} MB, not a recipe")
    try:
        pairs = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ExportError(f"{where}: not JSON in UTF-8 ({reason})") from None
    if not isinstance(pairs, _Pairs) or not pairs:
        raise ExportError(
            f'{where}: expected an object from names to formats, such as {{"*": "q4"}}'
        )
    return _checked(where, pairs)


class _Pairs(list[tuple[str, Any]]):
    """An object's members as they stand, so that a key that stands twice is seen."""


def _checked(where: str, pairs: Sequence[tuple[str, Any]]) -> dict[str, str]:
    recipe: dict[str, str] = {}
    for key, format in pairs:
        if not _KEY.fullmatch(key):
            raise ExportError(
                f"{where}: {quoted(key)} is no name of a matrix, in which * stands for any text"
            )
        if key in recipe:
            raise ExportError(f"{where}: {quoted(key)} stands twice")
        if not isinstance(format, str) or format not in METHODS:
            raise ExportError(
                f"{where}: {quoted(key)} has the format {quoted(str(format))}, expected one of "
                f"{', '.join(METHODS)}"
            )
        recipe[key] = format
    return recipe
