"""Bundles of the toy model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lfm_edge
import pytest

from tests.sdk.toy import ToyModel, write_toy_bundle


@pytest.fixture(scope="session")
def toy() -> ToyModel:
    return ToyModel()


@pytest.fixture(scope="session")
def toy_bundle(toy: ToyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle to read; tests that change one make their own."""
    return write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle", toy)


@pytest.fixture(scope="session")
def model(toy_bundle: Path) -> lfm_edge.Model:
    return lfm_edge.load(toy_bundle, threads=1)


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., lfm_edge.Model]:
    """Loads a toy with other biases or files."""

    def make(
        bias: dict[int, float] | None = None, files: dict[str, str | None] | None = None
    ) -> lfm_edge.Model:
        return lfm_edge.load(write_toy_bundle(tmp_path / "bundle", ToyModel(bias), files), 1)

    return make
