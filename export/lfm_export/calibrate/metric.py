"""By which measure a layer's integers are chosen: its statistics, solved once for all its matrices.

An error `e` of one row of weights costs `e H e^T`, where H is the second moment of the inputs.
Where the original layer reads other inputs (those of layers before it, which had no error), the
best real weights are `W (cross + d) (H + d)^-1`: so the errors of earlier layers are made good as
far as possible (GPTAQ, Li et al. 2025, whose asymmetric term this is, in closed form). `d` damps
what too few tokens tell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .statistics import Statistics, Sums

__all__ = ["Metric"]

Array = NDArray[np.float32]

_DAMPING = 0.01  # of the mean diagonal
_THIN = 0.25  # tokens an input, below which only the diagonal of the statistics is trusted
_HALVED = 128  # columns, above which a matrix is inverted by halves


class Metric:
    """The measure of one layer's inputs, in groups that are rounded one after the other.

    Attributes:
        order: the groups `[columns / size]`, those first whose inputs are largest.
        hessian: H, damped and scaled to a mean diagonal of 1, `[columns, columns]`.
        upper: the upper Cholesky factor of its inverse, where the groups stand in that order.
    """

    def __init__(self, statistics: Statistics, group_size: int) -> None:
        """The statistics must not be empty.

        Raises:
            ValueError: they are.
        """
        second = statistics.second
        columns = len(second)
        energy = np.trace(second) / columns
        if not energy > 0:
            raise ValueError("statistics of nothing")
        thin = statistics.tokens < _THIN * columns
        if thin:
            second = np.diag(np.diag(second))
        damped = second / energy
        damped[np.diag_indices(columns)] += _DAMPING
        groups = np.diag(damped).reshape(-1, group_size).sum(-1)
        self.order = np.argsort(-groups, kind="stable")
        places = (self.order[:, None] * group_size + np.arange(group_size)).reshape(-1)
        backward = places[::-1]
        root = _inverse_root(damped[np.ix_(backward, backward)])[::-1, ::-1]
        self.upper: Array = root.astype(np.float32)
        self.hessian: Array = damped.astype(np.float32)
        del root, damped  # of a wide layer they take half a gigabyte
        self._correction: Array | None = None
        if not thin:
            # In float32: no less exact than the products that the statistics are sums of.
            gap = statistics.cross - second
            gap /= energy
            inverse = self.upper[:, np.argsort(places)]
            inverse = inverse.T @ inverse
            self._correction = gap.astype(np.float32) @ inverse

    def target(self, rows: Array) -> Array:
        """The best real weights for the inputs that the layer will read, for `rows` of weights."""
        if self._correction is None:
            return rows
        return rows + rows @ self._correction


def _inverse_root(matrix: Sums) -> Sums:
    """The inverse of the lower Cholesky factor: R with `R^T R matrix = 1`.

    By halves, which makes it products of large matrices.
    """
    size = len(matrix)
    if size <= _HALVED:
        return np.tril(np.linalg.inv(np.linalg.cholesky(matrix)))
    half = size // 2
    root = np.zeros_like(matrix)
    root[:half, :half] = first = _inverse_root(matrix[:half, :half])
    below = matrix[half:, :half] @ first.T
    root[half:, half:] = last = _inverse_root(matrix[half:, half:] - below @ below.T)
    root[half:, :half] = -last @ (below @ first)
    return root
