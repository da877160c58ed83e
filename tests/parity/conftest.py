"""Bundles of the shipped model, made once for each test process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import DEMO_MODEL, export


@pytest.fixture(scope="session")
def demo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Exports the shipped model on first use: `demo_bundle("onnx", "q4", head="q8")`."""
    made: dict[tuple[str, ...], Path] = {}

    def make(target: str, quant: str, **options: str | None) -> Path:
        key = (target, quant, *map(str, options.items()))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("demo") / "bundle"
            export(DEMO_MODEL, made[key], target=target, quant=quant, **options)
        return made[key]

    return make
