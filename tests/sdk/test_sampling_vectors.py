"""tests/vectors/sampling.json is what the reference gives, and the library gives the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from lfm_ops.sampling import Sampler, exp_of_negative, uniform

from tools.write_sampling_vectors import VECTORS, draw, options_of, vectors_text

CASES: dict[str, list[Any]] = json.loads(VECTORS.read_text(encoding="utf-8"))


def test_vectors_are_fresh() -> None:
    assert VECTORS.read_text(encoding="utf-8") == vectors_text(), (
        "run python -m tools.write_sampling_vectors"
    )


def test_arithmetic() -> None:
    assert [exp_of_negative(x) for x, _ in CASES["exp"]] == [y for _, y in CASES["exp"]]
    for seed, index, value in CASES["uniform"]:
        assert uniform(int(seed), index) == value


@pytest.mark.parametrize("case", CASES["answers"])
def test_answers(case: dict[str, Any]) -> None:
    assert draw(Sampler(options_of(case), case["vocab_size"]), case) == case["tokens"]
