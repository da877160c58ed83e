"""The formats of weights: one table, the same as `include/lfm_ops/formats.h`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["FORMATS", "Format", "format_named"]


@dataclass(frozen=True)
class Format:
    """How the weights of a matrix are stored.

    `bits` are those of one weight: with a `group_size` weights are integers, and that many
    neighbours along the input axis share a float16 scale; with 0 they are floats without scales.
    `tile_bytes` is what 32 rows x `tile_columns` take in the packed layout, scales included.
    `activations` is what a matrix product makes of its inputs: int8 per group, or float32.
    """

    name: str
    bits: int
    group_size: int
    tile_bytes: int
    activations: Literal["int8", "float32"]

    @property
    def tile_columns(self) -> int:
        """Columns of a tile: a group, or as many as the activations of one have."""
        return max(self.group_size, 32)

    def takes(self, columns: int) -> bool:
        """Whether a matrix of so many columns can be stored: whole groups, or any number."""
        return self.group_size == 0 or columns % self.group_size == 0


FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        Format("f32", 32, 0, 4096, "float32"),
        Format("q8", 8, 32, 1088, "int8"),
        Format("q6", 6, 32, 832, "int8"),
        Format("q4", 4, 32, 576, "int8"),
        Format("q4_64", 4, 64, 1088, "int8"),
    )
}


def format_named(name: str) -> Format:
    """The format of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in FORMATS:
        raise ValueError(f"weight format {name!r}: expected one of {', '.join(FORMATS)}")
    return FORMATS[name]
