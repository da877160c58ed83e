"""What a user types: options that mean nothing are refused, and other things than folders named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lfm_edge.errors import LfmError
from lfm_export.checkpoint import open_checkpoint
from lfm_export.errors import CheckpointError, ExportError
from lfm_export.export import export_bundle

from tests.export.checkpoint_samples import TINY_DENSE, all_tensors, tiny, write_single
from tests.export.test_faults import refused
from tests.support import DEMO_MODEL


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        (str(DEMO_MODEL), {"seed": 0}, "--seed 0: only for synthetic:SHAPE"),
        (str(DEMO_MODEL), {"revision": "main"}, "--revision main: only for a model of the Hub"),
        ("org/name", {"seed": 3}, "--seed 3"),
        ("synthetic:lfm2-350m:1", {"revision": "v2"}, "--revision v2"),
    ],
)
def test_an_option_that_means_nothing_is_refused(
    source: str, options: dict[str, object], words: str
) -> None:
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(source, **options)  # type: ignore[arg-type]


def test_the_command_refuses_it_too(tmp_path: Path) -> None:
    assert "--seed 0" in refused("export", DEMO_MODEL, tmp_path / "out", "--seed", "0")
    assert list(tmp_path.iterdir()) == []


def test_a_seed_of_synthetic_weights() -> None:
    names = ("synthetic:lfm2-350m:1", "model.embedding_norm.weight")
    values = [open_checkpoint(names[0], seed=seed).read(names[1]) for seed in (None, 0, 1)]
    np.testing.assert_array_equal(values[0], values[1])
    assert (values[1] != values[2]).any()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lfm2.gguf", "GGUF"),
        ("MODEL.GGUF", "GGUF"),
        ("model.safetensors", "name the folder"),
        ("pytorch_model.bin", "save_pretrained"),
        ("model.onnx", "exported graph"),
        ("notes.txt", "name a folder"),
    ],
)
def test_a_file_says_what_it_is(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(str(tmp_path / name))


def test_fine_weights_whose_product_is_no_number(tmp_path: Path) -> None:
    """Every weight fits float16; what they multiply to does not fit float32."""
    large = {
        name: np.full_like(value, 6e4) for name, value in all_tensors(tiny(TINY_DENSE)).items()
    }
    write_single(tmp_path / "model", large, TINY_DENSE)
    with (
        open_checkpoint(str(tmp_path / "model")) as checkpoint,
        np.errstate(all="ignore"),
        pytest.raises(ExportError, match="not finite"),
    ):
        export_bundle(checkpoint, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("config", [{"num_hidden_layers": 10**9}, {"num_experts": 10**9}])
def test_absurd_sizes_of_a_synthetic_config(config: dict[str, int]) -> None:
    with pytest.raises(LfmError, match="1000000000"):
        tiny({**tiny().config, **config})
