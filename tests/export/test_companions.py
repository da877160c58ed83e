"""The files beside the weights mean what transformers takes them to mean, or are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import lfm_edge
import pytest
from lfm_edge.chat.template import ChatTemplate
from lfm_export.checkpoint import open_checkpoint
from lfm_export.errors import CheckpointError
from lfm_export.export import ExportOptions, export_bundle
from transformers import AutoTokenizer

from tests.export.companions import VOCAB, Notes, change, noted
from tests.support import export


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("generation_config.json", "{", "truncated|is not JSON"),
        ("generation_config.json", "[]", "is not a JSON object"),
        ("generation_config.json", '"x"', "is not a JSON object"),
        ("generation_config.json", "\x80", "is not UTF-8|is not JSON"),
        ("generation_config.json", '{"top_k": 50.0}', "top_k"),
        ("generation_config.json", '{"top_k": -2}', "top_k: got -2"),
        ("generation_config.json", '{"eos_token_id": [7, null]}', "eos_token_id"),
        ("generation_config.json", '{"eos_token_id": "7"}', "eos_token_id"),
        ("generation_config.json", '{"temperature": "hot"}', "temperature"),
        ("tokenizer.json", "{", "is not a tokenizer"),
        ("tokenizer.json", '{"model": {"type": "BPE"}}', "is not a tokenizer"),
        ("tokenizer_config.json", "[1]", "is not a JSON object"),
        ("tokenizer_config.json", "{]", "is not JSON"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {}}}', "malformed token"),
        ("tokenizer_config.json", '{"extra_special_tokens": [3]}', "malformed token"),
        (
            "tokenizer_config.json",
            '{"fast_tokenizer_files": ["tokenizer.4.json"]}',
            "other tokenizer files",
        ),
        ("special_tokens_map.json", "7", "is not a JSON object"),
        ("added_tokens.json", '{"<a>": "first"}', "malformed token"),
    ],
)
def test_a_bad_file_is_named_before_the_first_weight(
    folder: Path, tmp_path: Path, name: str, text: str, message: str
) -> None:
    if name == "added_tokens.json":
        (folder / "tokenizer_config.json").write_text("{}")
    (folder / name).write_bytes(text.encode("latin-1"))
    notes = Notes()
    with (
        open_checkpoint(str(folder)) as checkpoint,
        pytest.raises(CheckpointError, match=message) as caught,
    ):
        export_bundle(checkpoint, tmp_path / "out", ExportOptions(), notes)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert notes.stages == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("where", ["tokenizer.json", "tokenizer_config.json"])
def test_a_token_without_a_row_is_named(folder: Path, tmp_path: Path, where: str) -> None:
    if where == "tokenizer.json":
        tokenizer = json.loads((folder / where).read_text(encoding="utf-8"))
        token = {**tokenizer["added_tokens"][0], "id": VOCAB + 2, "content": "<far>"}
        change(folder / where, added_tokens=[*tokenizer["added_tokens"], token])
        tokenizer["model"]["vocab"]["<far>"] = VOCAB + 2
        change(folder / where, model=tokenizer["model"])
    else:
        change(folder / where, extra_special_tokens=[f"<far{i}>" for i in range(VOCAB)])
    with pytest.raises(CheckpointError, match=rf"token '<far\d*>' has id \d+, .* {VOCAB} rows"):
        export(folder, tmp_path / "out")


def test_a_tokenizer_of_another_kind_is_named(folder: Path, tmp_path: Path) -> None:
    change(folder / "tokenizer.json", decoder=None)
    with pytest.raises(CheckpointError, match="decoder NoneType, expected ByteLevel"):
        export(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("files", "note"),
    [
        (
            {"tokenizer_config.json": {"sep_token": "<new>"}},
            "tokens that only other files list: <new>",
        ),
        (
            {"tokenizer_config.json": {"tokenizer_class": "Qwen2Tokenizer"}},
            "Qwen2Tokenizer is passed over",
        ),
        ({"tokenizer_config.json": {"split_special_tokens": True}}, "split_special_tokens"),
        ({"chat_template.json": {"chat_template": "x"}}, "chat_template.json is passed over"),
        ({"generation_config.json": {"num_beams": 4}}, "num_beams 4 is passed over"),
        (
            {"generation_config.json": {"suppress_tokens": [3]}},
            r"suppress_tokens \[3\] is passed over",
        ),
        ({"generation_config.json": {"eos_token_id": [11]}}, "end token 7 ends an answer too"),
        ({"generation_config.json": {"eos_token_id": [7, 99999]}}, "99999 is passed over"),
        ({"config.json": {"eos_token_id": None, "pad_token_id": None}}, "no end token in any file"),
        (
            {"config.json": {"temperature": 0.3, "do_sample": True}},
            "from config.json's do_sample, temp",
        ),
    ],
)
def test_what_is_changed_or_passed_over_is_said(
    folder: Path, tmp_path: Path, files: dict[str, dict[str, Any]], note: str
) -> None:
    for file, values in files.items():
        change(folder / file, **values)
    _, notes = noted(folder, tmp_path / "out")
    assert any(re.search(note, text) for text in notes), notes
    assert not any("\n" in text for text in notes)


def test_an_ordinary_checkpoint_gets_no_note(folder: Path, tmp_path: Path) -> None:
    change(folder / "generation_config.json", eos_token_id=7, do_sample=True, num_beams=1)
    assert noted(folder, tmp_path / "out")[1] == []


CHAT = [{"role": "user", "content": "a"}]
SPOTS: dict[str, dict[str, Any]] = {
    "list": {
        "config": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]
    },
    "dictionary": {"config": {"default": "d", "tool_use": "t"}},
    "string": {"config": "c {{ bos_token }}"},
    "file over config": {"config": "c", "file": "f"},
    "file over list": {"config": [{"name": "tool_use", "template": "t"}], "file": "f"},
    "folder": {"file": "f", "tool_use": "t"},
    "folder without default": {"config": "c", "tool_use": "t"},
    "default in the folder": {"file": "f", "default": "d"},
    "another in the folder": {"file": "f", "rag": "r"},
}


@pytest.mark.parametrize("tools", [None, [], [{"name": "f"}]], ids=["none", "empty", "one"])
@pytest.mark.parametrize("name", SPOTS)
def test_the_template_is_the_one_that_transformers_takes(
    folder: Path, tmp_path: Path, name: str, tools: Any
) -> None:
    (folder / "chat_template.jinja").unlink()
    for spot, content in SPOTS[name].items():
        if spot == "config":
            change(folder / "tokenizer_config.json", chat_template=content)
        elif spot == "file":
            (folder / "chat_template.jinja").write_text(content)
        else:
            (folder / "additional_chat_templates").mkdir(exist_ok=True)
            (folder / "additional_chat_templates" / f"{spot}.jinja").write_text(content)
    template = ChatTemplate.of_bundle(export(folder, tmp_path / "out", quant="f32"))
    truth = AutoTokenizer.from_pretrained(folder)
    try:
        expected = truth.apply_chat_template(CHAT, tools=tools, tokenize=False)
    except ValueError:
        with pytest.raises(lfm_edge.TemplateError, match="no default one"):
            template.render(CHAT, tools)
        return
    assert template.render(CHAT, tools) == expected


def test_a_template_with_an_odd_name_is_passed_over(folder: Path, tmp_path: Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "a b.jinja").write_text("x")
    model, notes = noted(folder, tmp_path / "out")
    assert any("a b.jinja" in note for note in notes)
    assert not any("a b" in name for name in model.bundle.manifest.files)
