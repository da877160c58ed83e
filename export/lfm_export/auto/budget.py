"""Which matrices a format is chosen for, and how many bytes there are for them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lfm_ops.formats import format_named

from ..architecture import Architecture, Linear, SparseMoe, Vector, tensors_of
from ..errors import ExportError
from ..recipe import groups_of, linears_of

__all__ = [
    "FEWEST",
    "LADDER",
    "MOST",
    "Budget",
    "Group",
    "bits_of",
    "measured_groups",
    "without_needless",
]

LADDER = ("q4_64", "q4", "q6", "q8")
"""The formats that are chosen from, fewest bits first."""
FEWEST, MOST = LADDER[0], LADDER[-1]
_PAGE = 4096  # a tensor of an ONNX graph begins at one
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?) ?(GB|MB)")


@dataclass(frozen=True)
class Group:
    """Matrices of one format."""

    linears: tuple[Linear, ...]
    read: float
    """The share of its weights that a token reads."""
    is_table: bool
    """The token embedding or the LM head."""
    ladder: tuple[str, ...] = LADDER
    """What it is chosen from, as far as its inputs allow."""

    @property
    def weights(self) -> int:
        """Their number."""
        return sum(linear.rows * linear.columns for linear in self.linears)

    @property
    def formats(self) -> tuple[str, ...]:
        """Those of the ladder that have whole groups of all their inputs."""
        return tuple(
            format
            for format in self.ladder
            if all(format_named(format).takes(linear.columns) for linear in self.linears)
        )

    @property
    def fewest(self) -> float:
        """Bits of all its weights in the first format."""
        return bits_of(self.formats[0]) * self.weights


def measured_groups(architecture: Architecture) -> list[Group]:
    """All that can be of any format; the others have widths that only floats take.

    All experts of a layer are one group: not every target holds two formats of them.
    """
    shares = _shares(architecture)
    tables = {linear.name for linear in linears_of(architecture.embedding)}
    layer_of = {
        linear.name: layer.index
        for layer in architecture.layers
        if isinstance(layer.feed_forward, SparseMoe)
        for linear in linears_of(layer.feed_forward)
    }
    groups: dict[int | str, tuple[Linear, ...]] = {}
    for linears in groups_of(architecture):
        name = linears[0].name
        key = layer_of.get(name, name)
        groups[key] = (*groups.get(key, ()), *linears)
    found = (
        Group(linears, shares.get(linears[0].name, 1.0), linears[0].name in tables)
        for linears in groups.values()
    )
    return [group for group in found if group.formats]


def without_needless(groups: Sequence[Group], bits: float) -> list[Group]:
    """The same, to be begun with the next format where the budget has it for all of them.

    Damages of the coarsest rounding say too little of what matrices lose together: where there was
    room for `q4` everywhere, some `q4_64` for the sake of others made the shipped model worse.

    Args:
        groups: with the whole ladder.
        bits: a weight of the layers.
    """
    ladder = LADDER if bits < bits_of(LADDER[1]) else LADDER[1:]
    return [replace(group, ladder=ladder) for group in groups]


def _shares(architecture: Architecture) -> dict[str, float]:
    """What a token reads less than whole: experts that it is sent to, a row of an embedding."""
    shares = {}
    if architecture.embedding.head is not None:
        shares[architecture.embedding.tokens.name] = 1 / architecture.vocab_size
    for layer in architecture.layers:
        if isinstance(layer.feed_forward, SparseMoe):
            router = layer.feed_forward.router
            share = router.num_experts_per_tok / router.num_experts
            shares |= {linear.name: share for linear in linears_of(layer.feed_forward)}
    return shares


@dataclass(frozen=True)
class Budget:
    """Bits a weight of the layers, or bytes of all weights; one of them.

    Raises:
        ExportError: neither or both, or what is no such number.
    """

    bits: float | None = None
    size: str | None = None

    def __post_init__(self) -> None:
        if (self.bits is None) == (self.size is None):
            raise ExportError("--quant auto: expected --bits N, such as 4.5, or --size N, not both")
        if self.bits is not None and not 0 < self.bits <= 32:
            raise ExportError(f"--bits {self.bits}: expected a number such as 4.5")
        if self.size is not None and not _SIZE.fullmatch(self.size):
            raise ExportError(f"--size {self.size}: expected a size such as 4.8GB or 700MB")

    def of_layers(self, architecture: Architecture, groups: Sequence[Group]) -> float:
        """Bits a weight of the layers, where tables have 8 bits.

        Raises:
            ExportError: not even the fewest bits fit.
        """
        layers = sum(group.weights for group in groups if not group.is_table)
        tables = sum(group.weights for group in groups if group.is_table)
        if not layers:
            raise ExportError(
                "--quant auto: the inputs of no matrix are a multiple of 32; take --quant f32"
            )
        fewest = sum(group.fewest for group in groups)
        least = (fewest - bits_of(MOST) * tables) / layers
        if self.bits is not None:
            if self.bits < least:
                raise ExportError(
                    f"--bits {self.bits:g}: {FEWEST} throughout, the least, is {_up(least)}"
                )
            return self.bits
        others = _bytes_of_others(architecture, groups)
        asked = _bytes(self.size or "")
        bits = (8 * (asked - others) - bits_of(MOST) * tables) / layers
        if bits < least:
            most = others + fewest / 8
            unit, name = (1e9, "GB") if most >= 1e9 else (1e6, "MB")
            raise ExportError(
                f"--size {self.size}: {FEWEST} throughout, the least, is {_up(most / unit)}{name}"
            )
        return bits


def bits_of(format: str) -> float:
    """Of one weight, its part of the group's scale included."""
    found = format_named(format)
    return found.bits + (16 / found.group_size if found.group_size else 0)


def _up(number: float) -> float:
    return math.ceil(number * 100) / 100


def _bytes(size: str) -> float:
    found = _SIZE.fullmatch(size)
    assert found is not None
    return float(found[1]) * {"GB": 1e9, "MB": 1e6}[found[2]]


def _bytes_of_others(architecture: Architecture, groups: Sequence[Group]) -> int:
    """Vectors and matrices that stay floats, and what lies between tensors at most."""
    quantized = {linear.name for group in groups for linear in group.linears}
    tensors = [t for t in tensors_of(architecture) if t.name not in quantized]
    pages = len(groups) + sum(isinstance(tensor, Vector) for tensor in tensors)
    return 4 * sum(math.prod(tensor.shape) for tensor in tensors) + pages * _PAGE
