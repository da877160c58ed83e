"""Files that take a reader's time or memory, numbers beyond reason, and files never fetched."""

from __future__ import annotations

import json
import struct
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lfm_export.architecture import describe
from lfm_export.errors import ArchitectureError, CheckpointError, ExportError
from safetensors.torch import load_file, save_file

from tests.export.companions import VOCAB, change, noted
from tests.support import DENSE, MOE, export

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
        "additional_chat_templates/tool_use.jinja",
    ],
)
def test_what_git_has_not_fetched_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(POINTER)
    with pytest.raises(CheckpointError, match=f"{name}: is only a pointer of Git LFS; run git lfs"):
        export(folder, tmp_path / "out")


def test_a_header_of_millions_of_experts_is_refused(folder: Path) -> None:
    empty = {"dtype": "F32", "shape": [4096, 0, 5], "data_offsets": [0, 0]}
    names = (f"model.layers.{layer}.feed_forward.experts.gate_up_proj" for layer in range(5000))
    header = json.dumps(dict.fromkeys(names, empty)).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointError, match=r"more than 262,144 experts in stacks like 'model\."):
        export(folder, folder / "out")


def test_long_names_are_read_in_time_that_grows_with_their_length(
    folder: Path, tmp_path: Path
) -> None:
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    odd = ["x" + ".experts." * 100_000 + "w1", "model.layers.0.conv" + ".a" * 200_000]
    save_file({**tensors, **{name: torch.ones(1) for name in odd}}, path, {"format": "pt"})
    _, notes = noted(folder, tmp_path / "out")
    assert len([note for note in notes if "2 tensors that the model does not have" in note]) == 1


def test_names_of_several_lines_stand_in_one(folder: Path, tmp_path: Path) -> None:
    change(folder / "tokenizer_config.json", tokenizer_class="a\nb", eos_token="c\n\td")
    _, notes = noted(folder, tmp_path / "out")
    assert "tokenizer_config.json: tokenizer_class a b is passed over" in "".join(notes)
    assert "other files list: c d" in "".join(notes)
    assert not any("\n" in note for note in notes)
    change(folder / "tokenizer_config.json", fast_tokenizer_files=["a\nb"])
    with pytest.raises(CheckpointError, match=r"^[^\n]* \('a\\nb'\); save the tokenizer[^\n]*$"):
        export(folder, tmp_path / "out")


def test_many_end_tokens_are_one_note(folder: Path, tmp_path: Path) -> None:
    change(folder / "config.json", eos_token_id=list(range(200_000)))
    change(folder / "generation_config.json", eos_token_id=[7, *range(300_000, 500_000)])
    model, notes = noted(folder, tmp_path / "out")
    assert model.eos_ids == set(range(VOCAB))
    assert [note for note in notes if "token" in note and "tokenizer" not in note] == [
        "config.json: eos_token_id 4200, 4201, 4202, 4203, 4204, 4205, ... is passed over; "
        "there are 4200 tokens",
        "config.json's end token 0, 1, 2, 3, 4, 5, ... ends an answer too, "
        "though generation_config.json does not list it",
        "end token 300000, 300001, 300002, 300003, 300004, 300005, ... is passed over: "
        "the model has no row for it",
    ]


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        (DENSE | {"model_type": "lfm2"}, "norm_eps", 1e300),
        (DENSE | {"model_type": "lfm2"}, "rope_theta", 1e39),
        (MOE | {"model_type": "lfm2_moe"}, "routed_scaling_factor", 1e38),
    ],
    ids=["norm_eps", "rope_theta", "routed_scaling_factor"],
)
def test_numbers_that_no_operator_takes_are_refused(
    config: dict[str, Any], name: str, value: float
) -> None:
    changed = {**config, "rope_parameters": None, name: value}
    with pytest.raises(ArchitectureError, match=rf"{name} is .*e\+\d+, expected a number > 0"):
        describe(changed)


def test_numbers_that_overflow_are_refused_without_further_lines(
    folder: Path, tmp_path: Path
) -> None:
    change(folder / "config.json", rope_parameters={"rope_type": "default", "rope_theta": 1e-300})
    with warnings.catch_warnings(action="error"):
        with pytest.raises(ArchitectureError, match="gives no finite frequencies"):
            export(folder, tmp_path / "out")
        change(folder / "config.json", rope_parameters=None)
        path = folder / "model.safetensors"
        large = {
            name: 6e4 * tensor / tensor.abs().max() for name, tensor in load_file(path).items()
        }
        save_file(large, tmp_path / "large", {"format": "pt"})
        (tmp_path / "large").replace(path)
        with pytest.raises(ExportError, match="its weights are too large for float32"):
            export(folder, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
