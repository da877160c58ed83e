"""Does a large capacity cost time? Decodes at one position in sessions of several capacities.

A cache that is copied for every token costs time in proportion to its capacity; one that is bound
in place costs nothing. The sessions alternate, token by token; ratios are medians over pairs.

    python benchmarks/cache_in_place.py OUT
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import lfm_edge
from lfm_edge.session import Session

POSITION, CAPACITIES, PAIRS = 100, (512, 32_768), 60


def decode_seconds(session: Session) -> float:
    """Decodes one token at `POSITION` and returns to the state before it, as far as time goes."""
    start = time.perf_counter()
    session.decode(1)
    seconds = time.perf_counter() - start
    session.reset()
    session.prefill([1] * POSITION)
    return seconds


def main() -> None:
    """Prints the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    model = lfm_edge.load(arguments.bundle, threads=arguments.threads)
    sessions = [model.session(context=capacity) for capacity in CAPACITIES]
    for session in sessions:
        session.prefill([1] * POSITION)
        decode_seconds(session)
    pairs = [[decode_seconds(session) for session in sessions] for _ in range(PAIRS)]
    for capacity, seconds in zip(CAPACITIES, zip(*pairs, strict=True), strict=True):
        print(f"capacity {capacity:>6}: {statistics.median(seconds) * 1e3:.2f} ms a token")
    ratio = statistics.median(large / small for small, large in pairs)
    print(f"ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
