"""What a coarse copy of an LM head leaves to compute, against plain counting."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import screened_head


def test_the_rows_left_are_counted_down_to_the_worst_of_the_best() -> None:
    random = np.random.default_rng(0)
    scores = random.standard_normal((3, 50), np.float32)
    best = np.array([[4, 9], [0, 1], [49, 7]])
    plain = [
        sum(1 for score in row if score >= min(row[i] for i in chosen))
        for row, chosen in zip(scores, best, strict=True)
    ]
    assert screened_head.left_by(scores, best).tolist() == plain


def test_a_tail_begins_where_pairs_of_scores_that_are_drawn_one_by_one_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, error, positions = 20_000, 0.1, 200
    monkeypatch.setattr(screened_head, "ROWS", rows)
    monkeypatch.setattr(screened_head, "SIMULATED", 20_000)
    random = np.random.default_rng(0)
    exact = random.standard_normal((positions, rows), np.float32)
    noise = random.standard_normal((positions, rows), np.float32)
    coarse = np.float32(1 - error) * exact + np.float32((error * (1 - error)) ** 0.5) * noise
    best = np.argpartition(-exact, screened_head.BEST)[:, : screened_head.BEST]
    drawn = screened_head.left_by(coarse, best)
    followed = screened_head.tail(error)
    for quantile in (0.25, 0.5, 0.75):
        assert np.quantile(followed, quantile) == pytest.approx(
            np.quantile(drawn, quantile), rel=0.12
        )


@pytest.mark.parametrize(
    ("name", "error"), [("q4_64", 0.0082), ("3 bits", 0.0345), ("3 bits of q8", 0.032)]
)
def test_screens_err_by_as_much_of_normal_rows_as_their_steps_allow(
    name: str, error: float
) -> None:
    rows = np.random.default_rng(0).standard_normal((256, 2048), np.float32)
    rounded = screened_head.SCREENS[name].rounded(rows)
    assert np.mean(np.square(rounded - rows)) == pytest.approx(error, rel=0.03)
