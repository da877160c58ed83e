"""Synthetic weights: the same whatever is read when, sensibly scaled, and loadable elsewhere."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_export.architecture import describe
from lfm_export.checkpoint import SHAPES, Checkpoint, open_checkpoint
from lfm_export.errors import CheckpointError
from transformers import AutoModelForCausalLM

from tests.export.checkpoint_samples import TINY_DENSE, TINY_MOE, Config, all_tensors, tiny
from tools.synthetic_checkpoint import write_folder
from tools.train_demo_model.tokenizer import train_tokenizer, write_tokenizer

EMBEDDING = "model.embed_tokens.weight"
EXPERT = "model.layers.2.feed_forward.experts.5.{}.weight"


@pytest.fixture(scope="module")
def real() -> Iterator[Checkpoint]:
    with open_checkpoint("synthetic:lfm2.5-8b-a1b") as checkpoint:
        yield checkpoint


def test_shapes_have_the_released_sizes(real: Checkpoint) -> None:
    parameters = {
        name: describe(open_checkpoint(f"synthetic:{name}").config).num_parameters()
        for name in SHAPES
    }
    assert parameters == {
        "lfm2-350m": 354_483_968,
        "lfm2-700m": 742_489_344,
        "lfm2-1.2b": 1_170_340_608,
        "lfm2-2.6b": 2_569_272_320,
        "lfm2-8b-a1b": 8_339_930_560,
        "lfm2-24b-a2b": 23_843_661_440,
        "lfm2.5-350m": 354_483_968,
        "lfm2.5-1.2b": 1_170_340_608,
        "lfm2.5-8b-a1b": 8_467_856_832,
        "lfm3-1.7b": 1_728_801_536,
    }
    assert len(real.shapes) == 2302
    assert real.config["layer_types"].count("full_attention") == 6


def test_layers(real: Checkpoint) -> None:
    with open_checkpoint("synthetic:lfm2.5-8b-a1b:8") as checkpoint:
        assert checkpoint.name == "synthetic:lfm2.5-8b-a1b:8"
        assert checkpoint.config["num_hidden_layers"] == 8
        assert checkpoint.config["layer_types"] == real.config["layer_types"][:8]
        checkpoint.check(describe(checkpoint.config).tensors())


@pytest.mark.parametrize("layers", ["0", "25", "-1", "x", "", "1:1", "²", "9" * 5000])
def test_impossible_layers(layers: str) -> None:
    with pytest.raises(CheckpointError, match="1 to 24") as caught:
        open_checkpoint(f"synthetic:lfm2.5-8b-a1b:{layers}")
    assert "\n" not in str(caught.value)


def test_unknown_shape() -> None:
    with pytest.raises(CheckpointError, match=r"lfm3.*known: lfm2-350m"):
        open_checkpoint("synthetic:lfm3")


def test_another_tokenizer(tmp_path: Path) -> None:
    small = train_tokenizer(["a few words"], 300)
    write_tokenizer(small, tmp_path, 1000)
    with open_checkpoint("synthetic:lfm2-350m:1", tokenizer=tmp_path) as checkpoint:
        assert checkpoint.files["tokenizer.json"] == tmp_path / "tokenizer.json"
        assert "generation_config.json" not in checkpoint.files


def test_tokenizers_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match=r"^--tokenizer: .*tokenizer\.json: No such file"):
        open_checkpoint("synthetic:lfm2-350m", tokenizer=tmp_path)
    with pytest.raises(CheckpointError, match=r"^--tokenizer .*: only for synthetic:"):
        open_checkpoint(str(tmp_path), tokenizer=tmp_path)
    write_tokenizer(train_tokenizer(["a few words"], 300), tmp_path, 1000)
    monkeypatch.setitem(cast(Any, SHAPES), "small", {**SHAPES["lfm2-350m"], "vocab_size": 200})
    with pytest.raises(CheckpointError, match=r"tokens, but the shape has 200$"):
        open_checkpoint("synthetic:small", tokenizer=tmp_path)


def test_same_seed_same_weights_in_any_order() -> None:
    first, second = tiny(), tiny()
    expected = all_tensors(first)
    for name in reversed(list(expected)):
        np.testing.assert_array_equal(second.read(name), expected[name])
    other = all_tensors(tiny(seed=1))
    assert all((other[name] != value).any() for name, value in expected.items())


def test_tensors_differ(real: Checkpoint) -> None:
    gate, up = (real.read(EXPERT.format(kind)) for kind in ("w1", "w3"))
    assert abs(np.corrcoef(gate.ravel(), up.ravel())[0, 1]) < 0.01


def test_known_values(real: Checkpoint) -> None:
    """Pinned: another version must draw the same weights."""
    assert real.read(EMBEDDING, 1000, 1001)[0, :4].tolist() == KNOWN


KNOWN = [-0.060546875, 0.0203857421875, -0.007110595703125, -0.032958984375]


@settings(deadline=None)
@given(st.data())
def test_rows_do_not_depend_on_the_range(data: st.DataObject) -> None:
    checkpoint = tiny({**TINY_MOE, "vocab_size": 4099})
    name = data.draw(st.sampled_from(list(checkpoint.shapes)))
    rows = checkpoint.shapes[name][0]
    start = data.draw(st.integers(0, rows))
    stop = data.draw(st.integers(start, rows))
    whole = checkpoint.read(name)
    np.testing.assert_array_equal(checkpoint.read(name, start, stop), whole[start:stop])


def test_rows_of_odd_width() -> None:
    """Rows that begin in the middle of a 64-bit draw."""
    checkpoint = tiny({**TINY_MOE, "conv_L_cache": 7})
    name = "model.layers.0.conv.conv.weight"
    whole = checkpoint.read(name)
    for start in range(8):
        np.testing.assert_array_equal(
            checkpoint.read(name, start, start + 5), whole[start : start + 5]
        )


def test_statistics(real: Checkpoint) -> None:
    up = real.read(EXPERT.format("w3")) * 2048**0.5
    assert abs(up.mean()) < 5e-3
    assert abs(up.std() - 1) < 5e-3
    assert abs((up**4).mean() - 3) < 0.05  # a normal distribution's fourth moment
    assert 4 < np.abs(up).max() < 4.5
    down = real.read(EXPERT.format("w2"))
    assert abs(down.std() * (1792 * 48) ** 0.5 * 2048**0.5 / 2 - 1) < 5e-3
    assert abs(real.read(EMBEDDING, 0, 1000).std() * 2048**0.5 - 2) < 2e-2
    taps = real.read("model.layers.0.conv.conv.weight")
    assert abs(taps.std() * 3**0.5 - 1) < 5e-2
    norm = real.read("model.layers.0.operator_norm.weight")
    assert abs(norm.mean() - 1) < 2e-2
    assert abs(norm.std() - 0.1) < 1e-2
    bias = real.read("model.layers.2.feed_forward.expert_bias")
    assert 0.03 < bias.std() < 0.08


def test_values_are_exact_in_bfloat16() -> None:
    for value in all_tensors(tiny()).values():
        assert not (value.view(np.uint32) & 0xFFFF).any()


def test_it_carries_the_shipped_tokenizer(real: Checkpoint) -> None:
    for name, path in real.files.items():
        assert path.name == name
        assert path.parent.name == "demo_model"


@pytest.mark.parametrize("config", [TINY_MOE, TINY_DENSE], ids=["moe", "dense"])
@pytest.mark.parametrize("shard_bytes", [1 << 30, 20_000])
def test_written_folder_reads_back_and_loads_in_transformers(
    tmp_path: Path, config: Config, shard_bytes: int
) -> None:
    checkpoint = tiny(config)
    out = tmp_path / "out"
    write_folder(checkpoint, out, shard_bytes)
    assert len(list(out.glob("*.safetensors"))) == 1 or shard_bytes == 20_000
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with open_checkpoint(str(out)) as written:
        written.check(describe(config).tensors())
        assert json.loads((out / "config.json").read_text()) == config
        assert set(written.files) == set(checkpoint.files)
        for name, value in all_tensors(checkpoint).items():
            np.testing.assert_array_equal(written.read(name), value)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        out, dtype=torch.float32, output_loading_info=True
    )
    model, report = loaded
    assert not any(report.values())
    np.testing.assert_array_equal(
        model.model.embed_tokens.weight.detach().numpy(), checkpoint.read(EMBEDDING)
    )
    logits = model(torch.arange(32)[None]).logits.detach().numpy()
    assert 0.5 < logits.std() < 4


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tiny()

    def fail(name: str, start: int, stop: int) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_read", fail)
    with pytest.raises(OSError, match="No space"):
        write_folder(checkpoint, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_kept(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="exists"):
        write_folder(tiny(), tmp_path)


def test_command_line(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "tools" / "synthetic_checkpoint.py"

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, script, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert "--seed" in run("--help").stdout
    unknown = run("synthetic:lfm9", tmp_path / "out")
    assert unknown.returncode == 1
    assert "known:" in unknown.stderr
    assert "Traceback" not in unknown.stderr
    assert run("org/name", tmp_path / "out").returncode == 2
    assert not list(tmp_path.iterdir())
