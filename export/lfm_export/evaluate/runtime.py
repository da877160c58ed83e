"""The logits of a bundle as it runs on this machine."""

from __future__ import annotations

from typing import cast

import numpy as np
from lfm_edge.bundle import Bundle
from lfm_edge.runtime import AheadState
from lfm_edge.targets import open_runtime
from numpy.typing import NDArray

__all__ = ["RuntimeLogits"]

_TOKENS_AT_ONCE = 64


class RuntimeLogits:
    """Reads sequences from an empty state, and gives the logits of every token."""

    def __init__(self, bundle: Bundle, capacity: int, threads: int | None) -> None:
        """Raises what `lfm_edge.targets.open_runtime` raises."""
        self._runtime = open_runtime(bundle, threads)
        self._state = self._runtime.bind(capacity)

    def logits(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """`[tokens, vocab]`; raises BundleError where the graph fails to run."""
        self._state.clear()
        if not self._runtime.access.ahead:
            return np.stack([self._state.run(ids[i : i + 1], i) for i in range(len(ids))])
        state, rows = cast(AheadState, self._state), []
        for start in range(0, len(ids), _TOKENS_AT_ONCE):
            some, _ = state.run_ahead(ids[start : start + _TOKENS_AT_ONCE], start)
            rows.append(some.copy())
        return np.concatenate(rows)
