"""An LM head that is not read whole: the rows that would be left to compute, and what it may gain.

A coarse copy of the head scores all rows, the best of them are computed from the `q8` head. For
each copy: how many of the best by it hold all of the 80 truly best, of

- the shipped model, its hidden states on the text that it held out;
- Gaussian rows and hidden states in the shape of LFM2.5-8B-A1B's head. Few positions can be
  multiplied there; the tail follows from the copy's error alone (`tail`), for it makes a row's two
  scores a pair of correlated normal variables.

Activations are rounded to int8 as the kernels do. The gain is that of a decoded token if time were
bytes of weights read, every candidate a row that can be read alone: more than it can be.

    python benchmarks/screened_head.py [--positions 512]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from lfm_export.architecture import describe
from lfm_export.checkpoint import open_checkpoint
from lfm_export.demo import DEMO_MODEL
from lfm_export.quantize import METHODS
from lfm_ops.reference import round_to_int8
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from benchmarks.quality_text import held_out
from benchmarks.work import BITS, decode_bytes

Array = NDArray[np.float32]

BEST = 80
ROWS, COLUMNS = 128_000, 2048
LAYERS = (8, 24)
ROWS_AT_ONCE, POSITIONS_AT_ONCE = 4096, 4096
HELD_OUT_TOKENS = 1250  # of each of 16 files
SIMULATED = 400_000
QUANTILES = (0.5, 0.99, 0.9999)


class Screen(NamedTuple):
    """A coarse copy: bits a weight, its part of the scales included, and what is left of rows."""

    bits: float
    rounded: Callable[[Array], Array]


class Left(NamedTuple):
    """How many rows are left at each position, and the copy's error as a part of the squares."""

    counts: NDArray[np.int64]
    error: float


def stored(method: str) -> Callable[[Array], Array]:
    """Rounded as an export does."""
    return lambda rows: METHODS[method](rows).dequantize()


def half_steps(bits: int, step: float) -> Callable[[Array], Array]:
    """Groups of 64 on (k + 1/2) s: s first `step` deviations, then by least squares."""
    most = 2 ** (bits - 1)

    def rounded(rows: Array) -> Array:
        groups = rows.reshape(len(rows), -1, 64)
        scale = step * np.sqrt(np.mean(np.square(groups), -1, keepdims=True))
        for _ in range(2):
            integers = np.clip(np.floor(groups / scale), -most, most - 1) + np.float32(0.5)
            squares = np.square(integers).sum(-1, keepdims=True)
            scale = (groups * integers).sum(-1, keepdims=True) / squares
        out: Array = (integers * scale).reshape(rows.shape)
        return out

    return rounded


def top_bits(rows: Array) -> Array:
    """The top 3 bits of q8's integers, whose scales it shares."""
    exact = METHODS["q8"](rows)
    values = np.asarray(exact.values, np.int8)
    return replace(exact, values=(values >> 5) * 32 + 16).dequantize()


SCREENS: Mapping[str, Screen] = {
    "q4_64": Screen(4.25, stored("q4_64")),
    "3 bits": Screen(3.25, half_steps(3, 0.586)),
    "3 bits of q8": Screen(3.5, top_bits),
    "2 bits": Screen(2.25, half_steps(2, 0.996)),
}


def left(head: Iterator[Array], hidden: Array) -> dict[str, Left]:
    """What every screen leaves of a head `[rows, columns]`, given in parts, at each position."""
    exact: list[Array] = []
    coarse: dict[str, list[Array]] = {name: [] for name in SCREENS}
    errors, squares = dict.fromkeys(SCREENS, 0.0), 0.0
    for rows in head:
        exact.append(hidden @ stored("q8")(rows).T)
        squares += float(np.square(rows).sum())
        for name, screen in SCREENS.items():
            rounded = screen.rounded(rows)
            errors[name] += float(np.square(rounded - rows).sum())
            coarse[name].append(hidden @ rounded.T)
    best = np.argpartition(-np.concatenate(exact, 1), BEST, axis=1)[:, :BEST]
    return {
        name: Left(left_by(np.concatenate(coarse.pop(name), 1), best), errors[name] / squares)
        for name in SCREENS
    }


def left_by(scores: Array, best: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many rows score at least as well as the worst of the best ones."""
    worst = np.take_along_axis(scores, best, axis=1).min(axis=1, keepdims=True)
    counts: NDArray[np.int64] = (scores >= worst).sum(axis=1)
    return counts


def tail(error: float) -> NDArray[np.int64]:
    """The counts of Gaussian rows by the copy's error, at far more positions than were multiplied.

    A least-squares copy is what its error leaves uncorrelated: by a row's score l the coarse one is
    (1 - error) l, and normal about it with variance error (1 - error). The l of the best rows are
    order statistics; of the others as many score better as their number's mean says, give or take.
    """
    generator = torch.Generator().manual_seed(0)
    counts = []
    for _ in range(SIMULATED // 20_000):
        uniform = torch.empty(20_000, BEST, dtype=torch.float64).exponential_(generator=generator)
        score = -torch.special.ndtri(uniform.cumsum(1) / ROWS)
        noise = torch.randn(score.shape, generator=generator, dtype=torch.float64)
        worst = ((1 - error) * score + (error * (1 - error)) ** 0.5 * noise).amin(1)
        others = ROWS * torch.special.ndtr(-worst / (1 - error) ** 0.5)
        counts.append(torch.poisson(others, generator=generator).long().numpy())
    return np.concatenate(counts)


def shipped() -> dict[str, Left]:
    """Of the shipped model on its held-out text."""
    model = AutoModelForCausalLM.from_pretrained(DEMO_MODEL, dtype=torch.float32)
    head: Array = model.lm_head.weight.detach().numpy()
    with torch.no_grad():
        states = [
            model.model(torch.from_numpy(ids)[None]).last_hidden_state[0].numpy()
            for ids in held_out(DEMO_MODEL, HELD_OUT_TOKENS).ids
        ]
    hidden = round_to_int8(np.concatenate(states))
    parts = [
        left(iter([head]), hidden[at : at + POSITIONS_AT_ONCE])
        for at in range(0, len(hidden), POSITIONS_AT_ONCE)
    ]
    return {
        name: Left(np.concatenate([part[name].counts for part in parts]), parts[0][name].error)
        for name in SCREENS
    }


def gaussian(positions: int) -> dict[str, Left]:
    """Of Gaussian rows and hidden states."""
    random = np.random.default_rng(0)
    hidden = round_to_int8(random.standard_normal((positions, COLUMNS), np.float32))
    sizes = np.diff(np.r_[0:ROWS:ROWS_AT_ONCE, ROWS])
    return left((random.standard_normal((size, COLUMNS), np.float32) for size in sizes), hidden)


def report(name: str, found: Left) -> str:
    """A row of the table."""
    quantiles = np.quantile(found.counts, QUANTILES, method="inverted_cdf")
    columns = (f"{count:>8}" for count in (len(found.counts), *quantiles))
    return " ".join((f"{name:<14} {found.error:>6.4f}", *columns))


def gains(bits: float, candidates: int) -> Iterator[float]:
    """Of a token with a `q8` head, and of one with a `q4` head, for each number of layers."""
    weights = ROWS * COLUMNS
    screened = weights * bits / 8 + candidates * COLUMNS * 8.5 / 8
    for layers in LAYERS:
        with open_checkpoint(f"synthetic:lfm2.5-8b-a1b:{layers}") as checkpoint:
            rest = decode_bytes(describe(checkpoint.config, print)) - weights * BITS / 8
        for whole in (8.5, 4.5):
            yield (rest + weights * whole / 8) / (rest + screened)


def main() -> None:
    """Prints how many rows are left, then what could be gained."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--positions", type=int, default=512, help="of Gaussian rows")
    positions: int = parser.parse_args().positions
    if positions < 1:
        parser.error(f"--positions {positions}: expected at least 1")
    print(f"{'screen':<14} {'error':>6} {'number':>8} {'median':>8} {'99 %':>8} {'99.99 %':>8}")
    print("shipped model")
    for name, found in shipped().items():
        print(report(name, found), flush=True)
    print("Gaussian rows, multiplied; then by their error")
    wanted = {}
    for name, found in gaussian(positions).items():
        followed = Left(tail(found.error), found.error)
        print(report(name, found), report("", followed), sep="\n", flush=True)
        wanted[name] = int(np.quantile(followed.counts, QUANTILES[-1]))
    print(f"by bytes, at most: {LAYERS[0]} layers over q8, over q4, {LAYERS[1]} over q8, over q4")
    for name, screen in SCREENS.items():
        print(f"{name:<14}", *(f"{gain:.3f}" for gain in gains(screen.bits, wanted[name])))


if __name__ == "__main__":
    main()
