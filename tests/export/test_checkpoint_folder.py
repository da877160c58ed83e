"""Local folders: every layout and dtype reads the same; whatever is wrong is named in one line."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lfm_export.architecture import describe
from lfm_export.checkpoint import open_checkpoint
from lfm_export.errors import CheckpointError
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch
from transformers import Lfm2MoeConfig, Lfm2MoeForCausalLM

from tests.export.checkpoint_samples import (
    TINY_DENSE,
    TINY_MOE,
    Config,
    Tensors,
    all_tensors,
    stack_experts,
    tiny,
    write_sharded,
    write_single,
)


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return all_tensors(tiny())


def check(folder: Path, config: Config = TINY_MOE) -> None:
    with open_checkpoint(str(folder)) as checkpoint:
        checkpoint.check(describe(config).tensors())


def fails(action: Callable[[], object], *parts: str) -> str:
    """The action is refused in one line that holds all the parts."""
    with pytest.raises(CheckpointError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


def assert_same(folder: Path, tensors: Tensors) -> None:
    with open_checkpoint(str(folder)) as checkpoint:
        checkpoint.check({name: value.shape for name, value in tensors.items()})
        for name, value in tensors.items():
            read = checkpoint.read(name)
            assert read.dtype == np.float32
            np.testing.assert_array_equal(read, value)


@pytest.mark.parametrize("config", [TINY_MOE, TINY_DENSE], ids=["moe", "dense"])
def test_a_complete_folder_passes(tmp_path: Path, config: Config) -> None:
    write_single(tmp_path, all_tensors(tiny(config)), config)
    check(tmp_path, config)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtypes_that_hold_the_values_exactly(
    tmp_path: Path, tensors: Tensors, dtype: torch.dtype
) -> None:
    write_single(tmp_path, {})
    saved = {name: torch.from_numpy(value).to(dtype) for name, value in tensors.items()}
    save_torch(saved, tmp_path / "model.safetensors")
    assert_same(tmp_path, tensors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_half_converts_exactly(tmp_path: Path, dtype: torch.dtype) -> None:
    halves = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(dtype).reshape(256, 256)
    write_single(tmp_path, {})
    save_torch({"model.x": halves}, tmp_path / "model.safetensors")
    with open_checkpoint(str(tmp_path)) as checkpoint:
        np.testing.assert_array_equal(checkpoint.read("model.x"), halves.float().numpy())


@pytest.mark.parametrize("shards", [1, 3])
def test_sharded(tmp_path: Path, tensors: Tensors, shards: int) -> None:
    assert_same(write_sharded(tmp_path, tensors, shards), tensors)


def test_stacked_experts_read_as_one_by_one(tmp_path: Path, tensors: Tensors) -> None:
    stacked = stack_experts(tensors)
    assert len(stacked) < len(tensors)
    assert_same(write_single(tmp_path / "single", stacked), tensors)
    assert_same(write_sharded(tmp_path / "sharded", stacked, 2), tensors)


def test_rows_of_every_tensor(tmp_path: Path, tensors: Tensors) -> None:
    write_single(tmp_path, stack_experts(tensors))
    with open_checkpoint(str(tmp_path)) as checkpoint:
        for name, value in tensors.items():
            middle = len(value) // 2
            np.testing.assert_array_equal(checkpoint.read(name, 0, middle), value[:middle])
            np.testing.assert_array_equal(checkpoint.read(name, middle), value[middle:])
            assert checkpoint.read(name, middle, middle).shape == (0, *value.shape[1:])
        for start, stop in [(-1, 2), (2, 1), (0, 257)]:
            with pytest.raises(ValueError, match="rows"):
                checkpoint.read("model.embed_tokens.weight", start, stop)


def test_names_without_the_base_model_prefix(tmp_path: Path, tensors: Tensors) -> None:
    bare = {name.removeprefix("model."): value for name, value in tensors.items()}
    assert_same(write_single(tmp_path, bare), tensors)


def test_a_tied_head_that_is_stored_too_is_no_extra(tmp_path: Path, tensors: Tensors) -> None:
    head = {"lm_head.weight": tensors["model.embed_tokens.weight"]}
    check(write_single(tmp_path, {**tensors, **head}))


def test_an_untied_head_is_required(tmp_path: Path, tensors: Tensors) -> None:
    config = {**TINY_MOE, "tie_word_embeddings": False}
    write_single(tmp_path, tensors, config)
    fails(lambda: check(tmp_path, config), "lm_head.weight", "missing")


def test_companion_files_and_name(tmp_path: Path, tensors: Tensors) -> None:
    folder = write_single(tmp_path / "my-model", tensors)
    for name in ("tokenizer.json", "generation_config.json", "README.md"):
        (folder / name).write_text("{}")
    with open_checkpoint(str(folder)) as checkpoint:
        assert checkpoint.name == "my-model"
        assert checkpoint.config == TINY_MOE
        assert checkpoint.files == {
            name: folder / name for name in ("tokenizer.json", "generation_config.json")
        }


def test_missing_superfluous_and_misshapen_tensors(tmp_path: Path, tensors: Tensors) -> None:
    name = "model.layers.1.feed_forward.experts.2.w3.weight"
    rest = {key: value for key, value in tensors.items() if key != name}
    write_single(tmp_path, rest)
    fails(lambda: check(tmp_path), name, "missing", "[32, 64]")
    write_single(tmp_path, {**rest, name: np.zeros((32, 32), np.float32)})
    fails(lambda: check(tmp_path), name, "model.safetensors", "[32, 32]", "[32, 64]")
    write_single(tmp_path, {**tensors, name.replace("2", "4"): rest["model.embedding_norm.weight"]})
    fails(lambda: check(tmp_path), "experts.4.w3.weight", "num_experts")


def test_a_missing_expert_of_a_stack(tmp_path: Path, tensors: Tensors) -> None:
    stacked = stack_experts(tensors)
    name = "model.layers.1.feed_forward.experts.down_proj"
    write_single(tmp_path, {**stacked, name: stacked[name][:3]})
    fails(lambda: check(tmp_path), "experts.3.w2.weight", "missing")
    write_single(tmp_path, {**stacked, name: stacked[name][0]})
    fails(lambda: check(tmp_path), name, "[64, 32]")


def test_experts_both_stacked_and_apart(tmp_path: Path, tensors: Tensors) -> None:
    write_single(tmp_path, {**stack_experts(tensors), **tensors})
    fails(lambda: check(tmp_path), "twice")


def test_a_dtype_that_is_not_read(tmp_path: Path, tensors: Tensors) -> None:
    norm = "model.embedding_norm.weight"
    write_single(tmp_path, {**tensors, norm: np.ones(64, np.int8)})
    with open_checkpoint(str(tmp_path)) as checkpoint:
        fails(lambda: checkpoint.read(norm), norm, "I8", "BF16")


def test_reading_a_tensor_that_is_not_there(tmp_path: Path, tensors: Tensors) -> None:
    with open_checkpoint(str(write_single(tmp_path, tensors))) as checkpoint:
        fails(lambda: checkpoint.read("model.nothing"), "model.nothing")


@pytest.mark.parametrize("text", ["{", "[]", "\xff", "9" * 5000, "[" * 100_000])
def test_config_that_is_no_object(tmp_path: Path, tensors: Tensors, text: str) -> None:
    write_single(tmp_path, tensors)
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    fails(lambda: check(tmp_path), "config.json")


def test_missing_files(tmp_path: Path, tensors: Tensors) -> None:
    fails(lambda: check(tmp_path), "config.json", "No such file")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    fails(lambda: check(tmp_path), "pytorch_model.bin", "safetensors")


def test_damaged_shards_and_index(tmp_path: Path, tensors: Tensors) -> None:
    write_sharded(tmp_path, tensors, 2)
    index = tmp_path / "model.safetensors.index.json"
    good = json.loads(index.read_text())
    shard = tmp_path / "model-00002-of-00002.safetensors"

    def with_map(weight_map: Any) -> None:
        index.write_text(json.dumps({"weight_map": weight_map}))

    with_map({**good["weight_map"], "model.ghost": shard.name})
    check(tmp_path)  # as in transformers, which tensors a file has is what it says itself
    escapes = (
        "../x.safetensors",
        "/etc/passwd",
        "a/../b",
        "a//b",
        "a/",
        "..",
        "",
        "a\\b",
        "a\nb",
        "a\0b",
        3,
    )
    for escape in escapes:
        with_map({**good["weight_map"], "model.ghost": escape})
        fails(lambda: check(tmp_path), "model.ghost", "or in one within it")
    no_maps: list[object] = [[], {}, None]
    for no_map in no_maps:
        with_map(no_map)
        fails(lambda: check(tmp_path), "weight_map")
    index.write_text("[")
    fails(lambda: check(tmp_path), "index.json")
    with_map(good["weight_map"])
    check(tmp_path)
    shard.write_bytes(shard.read_bytes()[:-10])
    fails(lambda: check(tmp_path), shard.name, "truncated")
    shard.unlink()
    fails(lambda: check(tmp_path), shard.name, "missing")


def test_a_file_that_shrinks_while_it_is_open(tmp_path: Path, tensors: Tensors) -> None:
    write_single(tmp_path, tensors)
    with open_checkpoint(str(tmp_path)) as checkpoint:
        (tmp_path / "model.safetensors").open("r+b").truncate(5000)
        fails(lambda: checkpoint.read("model.embed_tokens.weight"), "model.safetensors", "ends at")


@pytest.mark.parametrize(
    "source", ["no-such", "./org/name", "a/b/c", "/no/such", "org/", "ä/b", ""]
)
def test_a_source_that_is_nothing(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    if source:
        fails(lambda: open_checkpoint(source), repr(source), "org/name")


def test_a_source_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    fails(lambda: open_checkpoint(str(tmp_path / "model.onnx")), "model.onnx", "not a folder")


_PEAK = """
import resource, sys
from lfm_export.checkpoint import open_checkpoint
with open_checkpoint(sys.argv[1]) as checkpoint:
    checkpoint.read("model.layers.0.feed_forward.experts.0.w3.weight")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for expert in range(64):
        checkpoint.read(f"model.layers.0.feed_forward.experts.{expert}.w3.weight")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_experts_of_a_large_stack_are_read_one_by_one(tmp_path: Path) -> None:
    """256 MB of experts, 4 MB each: no more than a few of them may ever be resident."""
    stack = np.ones((64, 1024, 1024), np.float32)
    write_single(tmp_path, {"model.layers.0.feed_forward.experts.gate_up_proj": stack})
    command = [sys.executable, "-c", _PEAK, str(tmp_path)]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert int(out) < 16_000


def test_transformers_own_folder_reads_back(tmp_path: Path) -> None:
    """What transformers saves, it saves under names that we read."""
    model = Lfm2MoeForCausalLM(Lfm2MoeConfig(**TINY_MOE))
    model.save_pretrained(tmp_path)
    state = model.state_dict()
    with open_checkpoint(str(tmp_path)) as checkpoint:
        checkpoint.check(describe(checkpoint.config).tensors())
        stack = state["model.layers.1.feed_forward.experts.gate_up_proj"].float().numpy()
        for expert in range(4):
            prefix = f"model.layers.1.feed_forward.experts.{expert}"
            np.testing.assert_array_equal(
                checkpoint.read(f"{prefix}.w1.weight"), stack[expert, :32]
            )
            np.testing.assert_array_equal(
                checkpoint.read(f"{prefix}.w3.weight"), stack[expert, 32:]
            )


def test_header_names_stay_on_one_line(tmp_path: Path) -> None:
    write_single(tmp_path, {"model.a\nb": np.ones((2, 2), np.float32)})
    with open_checkpoint(str(tmp_path)) as checkpoint:
        notes: list[str] = []
        checkpoint.check({}, notes.append)
    assert len(notes) == 1
    assert re.search(r"a\\nb", notes[0])


def test_an_expert_bias_in_float32_beside_bfloat16(tmp_path: Path) -> None:
    write_single(tmp_path, {})
    bias = np.array([0.1, 0.2], np.float32)
    gate = torch.ones(2, 4, dtype=torch.bfloat16)
    save_torch(
        {"model.gate": gate, "model.bias": torch.from_numpy(bias)}, tmp_path / "model.safetensors"
    )
    with open_checkpoint(str(tmp_path)) as checkpoint:
        np.testing.assert_array_equal(checkpoint.read("model.bias"), bias)
        np.testing.assert_array_equal(checkpoint.read("model.gate"), np.ones((2, 4)))


def test_threads_read_at_once(tmp_path: Path, tensors: Tensors) -> None:
    write_single(tmp_path, tensors)
    with open_checkpoint(str(tmp_path)) as checkpoint, ThreadPoolExecutor(4) as pool:
        for name, value in zip(tensors, pool.map(checkpoint.read, list(tensors)), strict=True):
            np.testing.assert_array_equal(value, tensors[name])


def test_save_file_of_numpy_is_read(tmp_path: Path) -> None:
    write_single(tmp_path, {})
    values = np.random.default_rng(0).standard_normal((5, 3, 2)).astype(np.float16)
    save_file({"model.x": values}, tmp_path / "model.safetensors")
    with open_checkpoint(str(tmp_path)) as checkpoint:
        np.testing.assert_array_equal(checkpoint.read("model.x", 2, 4), values[2:4])
