"""Files that few checkpoints have: one line before the first weight, or passed over."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
import pytest
from lfm_edge.tokenizer import Tokenizer
from lfm_export.checkpoint import open_checkpoint
from lfm_export.errors import CheckpointError, ExportError
from lfm_export.export import ExportOptions, export_bundle
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tests.export.companions import Notes, change, noted
from tests.support import export, load_truth, logits_of

Tensors = dict[str, Any]

REFUSED: dict[str, tuple[str, Any, str]] = {
    "no content": ("tokenizer_config.json", {"eos_token": {"lstrip": False}}, "malformed token"),
    "no content in a list": (
        "tokenizer_config.json",
        {"additional_special_tokens": [{"lstrip": 1}]},
        "malformed token",
    ),
    "further tokens as text": (
        "tokenizer_config.json",
        {"extra_special_tokens": "<new>"},
        "expected a list or an object",
    ),
    "a listed token as text": (
        "tokenizer_config.json",
        {"added_tokens_decoder": {"1": "<new>"}},
        "expected an object",
    ),
    "a token that is a number": (
        "tokenizer_config.json",
        {"eos_token": 7},
        "malformed token: 7, expected a text or an object",
    ),
    "no listed tokens": (
        "tokenizer_config.json",
        {"added_tokens_decoder": None},
        "added_tokens_decoder is None",
    ),
    "id as text": ("added_tokens.json", {"x": "5"}, "malformed token"),
    "a library that panics": (
        "tokenizer.json",
        {
            "model": {
                "type": "BPE",
                "vocab": {"a": 0, "b": 1, "ab": 2},
                "merges": ["a b"],
                "continuing_subword_prefix": "##",
            }
        },
        "is not a tokenizer",
    ),
    "infinite id": ("added_tokens.json", {"x": float("inf")}, "malformed token"),
    "no unknown token": (
        "tokenizer.json",
        {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "[UNK]"}},
        "cannot read a text",
    ),
    "far token around a text": (
        "tokenizer.json",
        {
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [
                    {"SpecialToken": {"id": "[X]", "type_id": 0}},
                    {"Sequence": {"id": "A", "type_id": 0}},
                ],
                "pair": [
                    {"Sequence": {"id": "A", "type_id": 0}},
                    {"Sequence": {"id": "B", "type_id": 0}},
                ],
                "special_tokens": {"[X]": {"id": "[X]", "ids": [9999], "tokens": ["[X]"]}},
            }
        },
        "adds a token with id 9999",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_odd_tokenizer_is_refused_before_the_first_weight(
    folder: Path, tmp_path: Path, name: str
) -> None:
    file, values, message = REFUSED[name]
    if file == "added_tokens.json":
        (folder / "tokenizer_config.json").write_text("{}")
    if name == "no unknown token":
        change(folder / "tokenizer.json", added_tokens=[], pre_tokenizer=None, post_processor=None)
    change(folder / file, **values)
    notes = Notes()
    with (
        open_checkpoint(str(folder)) as checkpoint,
        pytest.raises(CheckpointError, match=message),
    ):
        export_bundle(checkpoint, tmp_path / "out", ExportOptions(), notes)
    assert notes.stages == []
    assert not (tmp_path / "out").exists()


def test_names_of_further_tokenizers_that_are_no_list_are_passed_over(
    folder: Path, tmp_path: Path
) -> None:
    change(folder / "tokenizer_config.json", fast_tokenizer_files=5)
    export(folder, tmp_path / "out", quant="f32")


def test_dropout_of_a_training_run_is_not_obeyed(folder: Path, tmp_path: Path) -> None:
    text = "a few words that merge into tokens"
    plain = Tokenizer(export(folder, tmp_path / "plain", quant="f32")).encode(text)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    change(folder / "tokenizer.json", model={**tokenizer["model"], "dropout": 0.9})
    model, notes = noted(folder, tmp_path / "out")
    assert any("dropout 0.9" in note for note in notes)
    assert model.tokenizer.encode(text) == plain


def test_tensors_without_elements_are_passed_over(folder: Path, tmp_path: Path) -> None:
    file = folder / "model.safetensors"
    with safe_open(file, framework="np") as opened:
        metadata = opened.metadata()
    tensors = load_file(file)
    empty = next(iter(tensors.values()))[:0]
    save_file({**tensors, "a_probe": empty}, file, metadata)
    _, notes = noted(folder, tmp_path / "out")
    assert any("a_probe" in note for note in notes)


def test_an_index_counts_for_the_names_of_files_alone(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    weights = {"lm_head.weight": "model-1.safetensors"}  # a tied model stores none
    change(folder / "model.safetensors.index.json", weight_map=weights)
    export(folder, tmp_path / "out", quant="f32")


def split(folder: Path, files: dict[str, Callable[[Tensors], Tensors]]) -> None:
    """Puts parts of the weights into files of their own, which an index names."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    for name, part in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        save_file(part(tensors), folder / name, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: name for name in files}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def half(which: int) -> Callable[[Tensors], Tensors]:
    return lambda tensors: dict(list(tensors.items())[which::2])


def assert_same_logits(model: lfm_edge.Model, folder: Path) -> None:
    ids = np.arange(1, 17)
    wanted = logits_of(load_truth(folder), ids)[-1]
    assert np.abs(model.session(context=16).prefill(ids) - wanted).max() <= 2e-4


def test_files_beside_the_index_may_be_named_as_such(folder: Path, tmp_path: Path) -> None:
    split(folder, {"./a.safetensors": half(0), "./within/b.safetensors": half(1)})
    model, notes = noted(folder, tmp_path / "out")
    assert_same_logits(model, folder)
    assert not any("tensors" in note for note in notes)


def test_files_within_folders_are_read(folder: Path, tmp_path: Path) -> None:
    split(folder, {"part/a.safetensors": half(0), "b/c.safetensors": half(1)})
    model, notes = noted(folder, tmp_path / "out")
    assert not any("tensors" in note for note in notes)
    assert_same_logits(model, folder)


@pytest.mark.parametrize("scale", [1, 3])
def test_of_one_tensor_in_two_files_the_last_counts(
    folder: Path, tmp_path: Path, scale: int
) -> None:
    def others(tensors: Tensors) -> Tensors:
        return {name: scale * value for name, value in list(tensors.items())[:5]}

    def whole(tensors: Tensors) -> Tensors:
        return tensors

    split(folder, {"b.safetensors": others, "a.safetensors": whole})
    model, notes = noted(folder, tmp_path / "out")
    assert any("5 tensors are stored in two of its files" in note for note in notes), notes
    assert_same_logits(model, folder)


LONG = "x" * 100_000


@pytest.mark.parametrize(
    "long",
    [
        f"model.{LONG}",
        f"model.layers.0.conv.{LONG}.{LONG}",
        f"model.layers.{'9' * 5000}.feed_forward.experts.{'7' * 5000}.w1.weight.{LONG}",
        f"model.{LONG}.layers.0.feed_forward.experts.{'7' * 5000}.w1.weight",
    ],
)
def test_long_names_and_values_are_shown_in_part(folder: Path, tmp_path: Path, long: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    empty = np.ones(3, np.float32)
    save_file({**tensors, long: empty}, folder / "model.safetensors", {"format": "pt"})
    change(folder / "config.json", block_dim=LONG, hidden_act=LONG)
    change(folder / "generation_config.json", stop_strings=[LONG])
    change(folder / "tokenizer_config.json", tokenizer_class=LONG, pad_token=LONG)
    _, notes = noted(folder, tmp_path / "out")
    assert sum("xxx" in note or "999" in note for note in notes) == 6
    assert all(len(note) < 1600 for note in notes)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"layer_types": [LONG] * 4}),
        ("config.json", {"model_type": LONG}),
        ("config.json", {"architectures": [LONG]}),
        ("config.json", {"transformers_weights": LONG}),
        ("config.json", {"rope_parameters": {"rope_type": LONG}}),
        ("tokenizer_config.json", {"fast_tokenizer_files": [LONG]}),
        ("tokenizer_config.json", {"added_tokens_decoder": {LONG: {"content": "a"}}}),
        ("tokenizer.json", {"decoder": {"type": LONG}}),
        ("generation_config.json", {"top_k": LONG}),
        ("model.safetensors.index.json", {"weight_map": {LONG: f"../{LONG}"}}),
    ],
)
def test_errors_show_long_names_and_values_in_part(
    folder: Path, tmp_path: Path, file: str, values: dict[str, Any]
) -> None:
    if "index" in file:
        (folder / "model.safetensors").unlink()
    change(folder / file, **values)
    with pytest.raises(lfm_edge.LfmError) as caught:
        export(folder, tmp_path / "out")
    assert len(str(caught.value)) < 1600
    assert "\n" not in str(caught.value)


def test_numbers_of_thousands_of_digits_are_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["zz"] = {"dtype": "F32", "shape": [10**4000] * 8, "data_offsets": [0, 4]}
    new = json.dumps(header).encode()
    file.write_bytes(len(new).to_bytes(8, "little") + new + data[8 + length :])
    with pytest.raises(CheckpointError, match="tensor 'zz' has shape"):
        open_checkpoint(str(folder))


def test_a_folder_whose_name_is_no_text_exports(folder: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"ck\xffpt")
    shutil.copytree(folder, odd)
    assert export(odd, tmp_path / "out", quant="f32").manifest.model.name == "ck\ufffdpt"


def test_a_link_to_itself_is_no_place(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ExportError, match="is a link to itself"):
        export(folder, tmp_path / "loop")


def test_what_only_looks_like_a_leftover_stays(folder: Path, tmp_path: Path) -> None:
    stray, lock, gone = (tmp_path / f".out.partial-{end}" for end in ("1", "5.lock", "7"))
    stray.write_text("a file")
    lock.write_text("another bundle's")
    gone.mkdir()
    (tmp_path / ".out.partial-2").symlink_to(folder)
    export(folder, tmp_path / "out", quant="f32")
    assert stray.exists()
    assert lock.exists()
    assert not gone.exists()
    assert folder.exists()


def test_an_empty_source_is_none() -> None:
    with pytest.raises(CheckpointError, match="the source is empty"):
        open_checkpoint("")


@pytest.mark.parametrize("threads", [0, 100_000])
def test_threads_that_no_machine_has_are_refused(
    folder: Path, tmp_path: Path, threads: int
) -> None:
    bundle = export(folder, tmp_path / "out", quant="f32")
    with pytest.raises(lfm_edge.InvalidRequestError, match="threads: got"):
        lfm_edge.load(bundle.folder, threads)
