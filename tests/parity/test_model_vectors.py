"""The vectors of the shipped model are fresh, and its bundle gives what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
import pytest
from lfm_edge.file_names import DEVICE

from tools.write_model_vectors import TOLERANCE, VECTORS, demo_model, rewind_cases, vectors

AGAIN = "run python -m tools.write_model_vectors"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> lfm_edge.Model:
    return demo_model(tmp_path_factory.mktemp("vectors"))


def test_tokens_and_templates_are_fresh(model: lfm_edge.Model) -> None:
    for name, text in vectors(model).items():
        assert (VECTORS / name).read_text(encoding="utf-8") == text, AGAIN


def test_the_device_file_is_fresh(model: lfm_edge.Model) -> None:
    found = (model.bundle.folder / DEVICE).read_bytes()
    assert (VECTORS / DEVICE).read_bytes() == found, AGAIN


def test_a_session_that_goes_back_gives_what_is_written(model: lfm_edge.Model) -> None:
    written: list[dict[str, Any]] = json.loads(Path(VECTORS / "rewind.json").read_text())
    found = rewind_cases(model)
    assert len(found) == len(written), AGAIN
    for now, then in zip(found, written, strict=True):
        tops = now.pop("top", None), then.pop("top", None)
        assert now == then, AGAIN
        assert (tops[0] is None) == (tops[1] is None), AGAIN
        if tops[0] is not None and tops[1] is not None:
            here, there = (np.array([logit for _, logit in top]) for top in tops)
            np.testing.assert_allclose(here, there, atol=TOLERANCE)
            if there[0] - there[1] > 2 * TOLERANCE:
                assert tops[0][0][0] == tops[1][0][0]
    assert sum("top" in then for then in json.loads((VECTORS / "rewind.json").read_text())) >= 6
