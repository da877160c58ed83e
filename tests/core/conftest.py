"""The shipped model as a bundle, opened by Python and by the device core."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lfm_edge
import pytest

from tests.core.lfm_core import LIBRARY, Handle, library
from tests.core.programs import core_program
from tests.support import DEMO_MODEL, export


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    core_program(LIBRARY.name)
    folder = tmp_path_factory.mktemp("core") / "bundle"
    export(DEMO_MODEL, folder)
    return folder


@pytest.fixture(scope="session")
def reference(folder: Path) -> lfm_edge.Model:
    return lfm_edge.load(folder, threads=1)


@pytest.fixture(scope="session")
def model(folder: Path) -> Iterator[Handle]:
    with library().open("model_open", folder, {"threads": 1}) as model:
        yield model


@pytest.fixture
def session(model: Handle) -> Iterator[Handle]:
    with library().open("session_open", model, 0) as session:
        yield session


@pytest.fixture
def no_handle_is_left(model: Handle) -> Iterator[None]:
    before = library().open_handles
    yield
    assert library().open_handles == before
