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

from .statistics import Statistics

__all__ = ["Metric"]

Array = NDArray[np.float32]

_DAMPING = 0.01  # of the mean diagonal
_THIN = 0.25  # tokens an input, below which only the diagonal of the statistics is trusted


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
        inverse = np.linalg.inv(damped)
        self._correction: Array | None = None
        if not thin:
            self._correction = ((statistics.cross - second) / energy @ inverse).astype(np.float32)
        self.hessian: Array = damped.astype(np.float32)
        places = (self.order[:, None] * group_size + np.arange(group_size)).reshape(-1)
        inverse = inverse[np.ix_(places, places)]
        self.upper: Array = np.linalg.cholesky(inverse).T.astype(np.float32)

    def target(self, rows: Array) -> Array:
        """The best real weights for the inputs that the layer will read, for `rows` of weights."""
        if self._correction is None:
            return rows
        return rows + rows @ self._correction
