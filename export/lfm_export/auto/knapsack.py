"""Which groups of matrices are worth more bits, within a budget.

All begin at the fewest bits, and may climb from format to format. The budget is what layers of so
many bits a weight would take beside a head of the most, both in size and in what a token reads.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .budget import FEWEST, LADDER, MOST, Group, bits_of

__all__ = ["choose"]

_STEPS = 64  # budgets of a bit at most; one between them counts as the lower
_PRICES = (0.0, 0.5, 1.0)  # of size; the rest is that of reading
_MORE = bits_of(MOST) - bits_of(FEWEST)


def choose(groups: Sequence[Group], damages: Mapping[str, float], bits: float) -> list[str]:
    """Each group's format: together they save most damage.

    Steps are taken greedily by the damage that they save for their bits, at several prices of size
    and reading; likewise behind each group's first that is taken before all others, which finds a
    large one that leaves little room. The best is kept, also among those of all smaller budgets: so
    a larger one never does worse.

    Args:
        groups: what there is.
        damages: what the fewest bits do to the model, by a group's first matrix. With more it
            falls with the square of the steps.
        bits: a weight of the layers, where tables have the most.
    """
    steps = [
        step
        for index, group in enumerate(groups)
        for step in _steps(index, group, damages[group.linears[0].name])
    ]
    best, most = set[_Step](), 0.0
    for size, read in _budgets(groups, bits):
        fitting = [step for step in steps if step.fits(size, read)]
        for price in _PRICES:
            ordered = sorted(fitting, key=lambda step: step.worth(size, read, price))
            for first in [None, *(step for step in ordered if step.rung == 1)]:
                taken = _take(ordered if first is None else [first, *ordered], size, read)
                saved = math.fsum(step.saved for step in taken)
                if saved > most:
                    best, most = taken, saved
    rungs = Counter(step.index for step in best)
    return [LADDER[rungs[index]] for index in range(len(groups))]


@dataclass(frozen=True)
class _Step:
    """Of a group to a format from the one before; all of one group save less from step to step."""

    index: int
    rung: int
    saved: float
    """Damage."""
    size: float
    """Bits."""
    read: float
    """Those that a token reads."""

    def fits(self, size: float, read: float) -> bool:
        return self.size <= size and self.read <= read

    def worth(self, size: float, read: float, price: float) -> tuple[float, int, int]:
        """Its place among others: of equal ones the first comes first."""
        cost = price * self.size / size + (1 - price) * self.read / read
        return -self.saved / cost, self.index, self.rung


def _steps(index: int, group: Group, damage: float) -> Iterator[_Step]:
    if damage <= 0:
        return
    left = [damage * 4.0 ** (bits_of(FEWEST) - bits_of(format)) for format in LADDER]
    for rung, (before, format) in enumerate(pairwise(LADDER), 1):
        bits = (bits_of(format) - bits_of(before)) * group.weights
        yield _Step(index, rung, left[rung - 1] - left[rung], bits, group.read * bits)


def _take(steps: Sequence[_Step], size: float, read: float) -> set[_Step]:
    """What fits of `steps`, in their order.

    A group's later step saves less for as many bits as its first, and so comes only behind it.
    """
    taken: set[_Step] = set()
    for step in steps:
        if step not in taken and step.fits(size, read):
            taken.add(step)
            size, read = size - step.size, read - step.read
    return taken


def _budgets(groups: Sequence[Group], bits: float) -> list[tuple[float, float]]:
    """For every budget up to `bits`, how many bits there are above the fewest, also of those read.

    Reading is at least what layers of the fewest bits and a head of the most take.
    """
    tables = sum(group.weights for group in groups if group.is_table)
    layers = sum(group.weights for group in groups if not group.is_table)
    tables_read = sum(group.read * group.weights for group in groups if group.is_table)
    layers_read = sum(group.read * group.weights for group in groups if not group.is_table)
    least, most = -_MORE * tables / layers, bits - bits_of(FEWEST)
    rungs = round(_MORE * _STEPS)
    apart = max(1.0, tables / layers)  # below, where tables that outweigh the layers have much room
    more = [rung / _STEPS * (apart if rung < 0 else 1.0) for rung in range(-rungs, rungs + 1)]
    return [
        (_MORE * tables + some * layers, _MORE * tables_read + max(some, 0) * layers_read)
        for some in more
        if least <= some <= most
    ]
