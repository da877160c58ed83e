"""A checkpoint whose matrices are integers already: they are kept, whatever was asked for.

Rounding them again would lose and could win nothing. Only float32 (`--quant f32`, or a recipe's
`f32`) takes what they stand for.
"""

from __future__ import annotations

from collections import Counter

from lfm_ops.formats import format_named

from .architecture import Architecture
from .checkpoint import Checkpoint
from .notes import Note
from .quantize import Scheme
from .recipe import groups_of, scheme_of
from .weights import methods

__all__ = ["keep_integers"]


def keep_integers(
    scheme: Scheme, architecture: Architecture, checkpoint: Checkpoint, note: Note
) -> Scheme:
    """The scheme that holds every matrix of integers as `checkpoint` stores it.

    Operators take some matrices together (queries, keys and values; gate and up): such have one
    format, that of the most bits. Integers of 4 bits are held exactly in 8.

    Args:
        scheme: what was asked for; it counts for matrices that are stored as floats.
        architecture: the model's.
        checkpoint: it says how each matrix is stored.
        note: hears how many are kept.
    """
    asked = methods(architecture, scheme)
    found: dict[str, str] = {}
    kept = 0
    for group in groups_of(architecture):
        method = asked[group[0].name]
        if method != "f32":
            stored = [checkpoint.stored_format(linear.name) for linear in group]
            kept += sum(name is not None for name in stored)
            method = max((name or method for name in stored), key=lambda n: format_named(n).bits)
        found |= dict.fromkeys((linear.name for linear in group), method)
    if not kept:
        return scheme
    counts = Counter(found.values())
    note(
        f"{checkpoint.name}: {kept} matrices are integers already and are kept as they are ("
        + ", ".join(f"{count} in {name}" for name, count in sorted(counts.items()))
        + ")"
    )
    return scheme_of(found, architecture)
