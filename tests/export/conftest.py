"""A checkpoint whose small files a test may change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.export.companions import VOCAB
from tests.support import DEMO_MODEL, random_model, saved, tiny_dense


@pytest.fixture(scope="module")
def companion_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny_dense(vocab_size=VOCAB, bos_token_id=1, pad_token_id=0)
    folder = saved(random_model(config), tmp_path_factory.mktemp("weights") / "checkpoint")
    (folder / "generation_config.json").unlink()
    return folder


@pytest.fixture
def folder(companion_weights: Path, tmp_path: Path) -> Path:
    """A checkpoint whose small files a test may change."""
    folder = Path(shutil.copytree(companion_weights, tmp_path / "checkpoint"))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(DEMO_MODEL / name, folder / name)
    return folder
