"""Sizes and rules of attention that only Apple's targets take, or that all take alike."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from lfm_edge.verify import verify
from transformers import Lfm2Config

from tests.support import export, random_model, saved, tiny_dense

TARGETS = ["coreml", *(["coreai"] if find_spec("coreai_torch") else [])]
SIZES: dict[str, dict[str, Any]] = {
    "heads of 24": {"head_dim": 24},
    "heads of 8": {"num_attention_heads": 8},
    "linear": {"rope_parameters": {"rope_type": "linear", "factor": 4.0}},
    "yarn": {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}},
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("changes", SIZES.values(), ids=SIZES)
def test_apple_targets_meet_their_golden_vectors(
    changes: dict[str, Any], target: str, tmp_path: Path
) -> None:
    config: Lfm2Config = tiny_dense(**changes)
    folder = saved(random_model(config), tmp_path / "model")
    export(folder, tmp_path / "bundle", target=target, quant="q8", context=64)
    assert verify(tmp_path / "bundle").positions == 32
