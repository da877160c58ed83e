"""Which groups of matrices are worth more bits, within a budget.

All begin at the fewest bits that they take, and may climb from format to format. The budget is what
layers of so many bits a weight would take beside a head of the most, both in size and in what a
token reads.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .budget import FEWEST, MOST, Group, bits_of

__all__ = ["choose"]

_STEPS = 64  # budgets of a bit at most; one between them counts as the lower
_PRICES = (0.0, 0.5, 1.0)  # of size; the rest is that of reading
_ERRORS = {"q4_64": 1.23, "q4": 1.0, "q6": 1 / 16, "q8": 1 / 256}
"""Squared, of as many weights: of a step half as wide a fourth; scales of fewer fit better."""


def choose(groups: Sequence[Group], damages: Mapping[str, float], bits: float) -> list[str]:
    """Each group's format: together they save most damage.

    Steps are taken greedily by the damage that they save for their bits, at several prices of size
    and reading; likewise behind some of a group's that are taken before all others, which finds a
    large one that leaves little room. The best is kept, also among those of all smaller budgets: so
    a larger one never does worse.

    Args:
        groups: what there is.
        damages: what the fewest bits do to the model, by a group's first matrix. With more it
            falls as the squared error of its weights does.
        bits: a weight of the layers, where tables have the most.
    """
    steps = [
        step
        for index, group in enumerate(groups)
        for step in _steps(index, group, damages[group.linears[0].name])
    ]
    firsts = [[], *_firsts(steps)]
    best, most = set[_Step](), 0.0
    for size, read in _budgets(groups, bits):
        fitting = [step for step in steps if step.fits(size, read)]
        for price in _PRICES:
            ordered = sorted(fitting, key=lambda step: step.worth(size, read, price))
            for first in firsts:
                taken = _take([*first, *ordered], size, read)
                saved = math.fsum(step.saved for step in taken)
                if saved > most:
                    best, most = taken, saved
    rungs = Counter(step.index for step in best)
    return [group.formats[rungs[index]] for index, group in enumerate(groups)]


@dataclass(frozen=True, eq=False)  # each is itself alone, which is found fast
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
    unit = damage / _ERRORS[group.formats[0]]
    for rung, (before, format) in enumerate(pairwise(group.formats), 1):
        bits = (bits_of(format) - bits_of(before)) * group.weights
        saved = unit * (_ERRORS[before] - _ERRORS[format])
        yield _Step(index, rung, saved, bits, group.read * bits)


def _firsts(steps: Sequence[_Step]) -> Iterator[list[_Step]]:
    """Of every group the first step, and the first two."""
    for last in steps:
        if last.rung <= 2:
            group = (step for step in steps if step.index == last.index)
            yield [step for step in group if step.rung <= last.rung]


def _take(steps: Sequence[_Step], size: float, read: float) -> set[_Step]:
    """What fits of `steps`, in their order.

    A group's later step saves less for its bits, and takes no fewer of them, than the one before,
    and so comes only behind it.
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
    tables = [group for group in groups if group.is_table]
    layers = [group for group in groups if not group.is_table]
    table_size, table_read = _above(tables, bits_of(MOST))
    rungs = round((bits_of(MOST) - bits_of(FEWEST)) * _STEPS)
    # Below, tables that outweigh the layers have much room.
    apart = max(1.0, sum(g.weights for g in tables) / sum(g.weights for g in layers))
    found = []
    for rung in range(-rungs, rungs + 1):
        some = bits_of(FEWEST) + rung / _STEPS * (apart if rung < 0 else 1.0)
        size, read = _above(layers, some)
        if some <= bits and table_size + size >= 0:
            found.append((table_size + size, table_read + max(read, 0)))
    return found


def _above(groups: Sequence[Group], bits: float) -> tuple[float, float]:
    """What so many bits a weight take above the fewest, and what of that is read."""
    more = [bits * group.weights - group.fewest for group in groups]
    return sum(more), sum(group.read * some for group, some in zip(groups, more, strict=True))
