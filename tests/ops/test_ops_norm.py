"""The residual stream's addition and norm against its reference, in a session."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lfm_ops import reference as ops

from tests.ops.nodes import Array, Node, error, gaussian

EPSILON = 1e-5


def add_rms_norm(x: Array, branch: Array | None, **more: Any) -> Node:
    return Node(
        "AddRmsNorm",
        {"x": x, "weight": gaussian(7, x.shape[-1]), "branch": branch},
        [("y", np.float32), *([] if branch is None else [("sum", np.float32)])],
        hidden_size=x.shape[-1],
        epsilon=EPSILON,
        **more,
    )


@pytest.mark.parametrize("tokens", [1, 2, 33, 600])
@pytest.mark.parametrize("hidden", [32, 96, 2048])
def test_add_and_norm(tokens: int, hidden: int) -> None:
    x, branch = gaussian(1, 1, tokens, hidden), gaussian(2, 1, tokens, hidden)
    y, total = add_rms_norm(x, branch)()
    assert np.array_equal(total, x + branch)
    assert error(y, ops.rms_norm(x + branch, gaussian(7, hidden), EPSILON)) <= 1e-5


def test_without_a_branch() -> None:
    x = gaussian(1, 1, 5, 64)
    (y,) = add_rms_norm(x, None)()
    assert error(y, ops.rms_norm(x, gaussian(7, 64), EPSILON)) <= 1e-5


def test_tokens_do_not_see_each_other() -> None:
    x, branch = gaussian(1, 1, 40, 96), gaussian(2, 1, 40, 96)
    node = add_rms_norm(x, branch, threads=1)
    whole = node()
    for token in range(40):
        alone = node(x=x[:, token : token + 1], branch=branch[:, token : token + 1])
        assert all(np.array_equal(a[0, 0], w[0, token]) for a, w in zip(alone, whole, strict=True))
