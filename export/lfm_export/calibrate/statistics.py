"""What a linear layer reads: the sums over tokens from which its best integers follow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Statistics"]

Array = NDArray[np.float32]
Sums = NDArray[np.float64]


class Statistics:
    """Weighed sums of products of a layer's inputs.

    Attributes:
        second: `sum w x x^T` `[columns, columns]` of what the quantized layer reads, `x`.
        cross: `sum w y x^T` of what the original layer reads for the same tokens, `y`.
    """

    def __init__(self, columns: int) -> None:
        self.second: Sums = np.zeros((columns, columns))
        self.cross: Sums = np.zeros((columns, columns))
        self._weight = self._square = 0.0

    def add(self, x: Array, exact: Array, weights: Array | None = None) -> None:
        """Adds tokens.

        Args:
            x: what the quantized layer reads, `[tokens, columns]`.
            exact: what the original layer reads.
            weights: of the tokens, `[tokens]`; ones if none are given.
        """
        if weights is None:
            weights = np.ones(len(x), np.float32)
        root = np.sqrt(weights)[:, None]
        x, exact = x * root, exact * root
        self.second += x.T @ x  # of one array: BLAS makes but half of it
        self.cross += exact.T @ x
        self._weight += float(weights.sum(dtype=np.float64))
        self._square += float(np.square(weights, dtype=np.float64).sum())

    @property
    def tokens(self) -> float:
        """How many tokens of equal weight would say as much: `(sum w)^2 / sum w^2`."""
        return self._weight**2 / self._square if self._square else 0.0
