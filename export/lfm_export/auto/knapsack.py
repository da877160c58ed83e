"""Which groups of matrices are worth more bits, within a budget.

All begin at the fewest bits. The budget is what layers of so many bits a weight would take beside a
head of the most, both in size and in what a token reads of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .budget import FEWEST, MOST, Group, bits_of

__all__ = ["choose"]

_STEPS = 64  # budgets of a bit; one between them counts as the lower
_PRICES = (0.0, 0.5, 1.0)  # of size; the rest is that of reading
_MORE = bits_of(MOST) - bits_of(FEWEST)


def choose(groups: Sequence[Group], damages: Mapping[str, float], bits: float) -> frozenset[int]:
    """The groups that get the most bits, by their indices: together they save most damage.

    Groups are taken greedily by the damage that they do for their bits, at several prices of size
    and reading; likewise behind each group that is taken before all others, which finds a large one
    that leaves little room. The best is kept, also among those of all smaller budgets: so a larger
    one never does worse.

    Args:
        groups: what there is.
        damages: what the fewest bits do to the model, by a group's first matrix. Next to nothing is
            left of it at the most: it falls with the square of the steps, to 1/290.
        bits: a weight of the layers, where tables have the most.
    """
    items = [
        _Item(index, damages[group.linears[0].name], group.weights, group.read * group.weights)
        for index, group in enumerate(groups)
    ]
    items = [item for item in items if item.damage > 0]
    best, most = frozenset[int](), 0.0
    for size, read in _budgets(groups, bits):
        fitting = [item for item in items if item.fits(size, read)]
        for price in _PRICES:
            ordered = sorted(fitting, key=lambda item: item.worth(size, read, price))
            for first in [None, *ordered]:
                taken = _take(ordered if first is None else [first, *ordered], size, read)
                saved = math.fsum(item.damage for item in taken)
                if saved > most:
                    best, most = frozenset(item.index for item in taken), saved
    return best


@dataclass(frozen=True)
class _Item:
    index: int
    damage: float
    size: float
    """Weights."""
    read: float
    """Those that a token reads."""

    def fits(self, size: float, read: float) -> bool:
        return self.size <= size and self.read <= read

    def worth(self, size: float, read: float, price: float) -> tuple[float, int]:
        """Its place among others: of equal ones the first comes first."""
        cost = price * self.size / size + (1 - price) * self.read / read
        return -self.damage / cost, self.index


def _take(items: Sequence[_Item], size: float, read: float) -> set[_Item]:
    taken: set[_Item] = set()
    for item in items:
        if item not in taken and item.fits(size, read):
            taken.add(item)
            size, read = size - item.size, read - item.read
    return taken


def _budgets(groups: Sequence[Group], bits: float) -> list[tuple[float, float]]:
    """For every budget up to `bits`, how many weights may have more bits, and be read so.

    Reading is at least what layers of the fewest bits and a head of the most take.
    """
    tables = sum(group.weights for group in groups if group.is_table)
    layers = sum(group.weights for group in groups if not group.is_table)
    tables_read = sum(group.read * group.weights for group in groups if group.is_table)
    layers_read = sum(group.read * group.weights for group in groups if not group.is_table)
    first = math.ceil((bits_of(FEWEST) - _MORE * tables / layers) * _STEPS)
    last = math.floor(min(bits, bits_of(MOST)) * _STEPS)
    shares = [(step / _STEPS - bits_of(FEWEST)) / _MORE for step in range(first, last + 1)]
    return [
        (tables + share * layers, tables_read + max(share, 0) * layers_read) for share in shares
    ]
