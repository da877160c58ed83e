"""The files beside the weights mean what transformers takes them to mean, or are refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import lfm_edge
import onnxruntime_genai as genai
import pytest
import torch
from lfm_edge.chat.template import ChatTemplate
from lfm_edge.progress import Quiet
from lfm_edge.tokenizer import Tokenizer
from lfm_export.checkpoint import open_checkpoint
from lfm_export.errors import CheckpointError
from lfm_export.export import ExportOptions, export_bundle
from transformers import AutoTokenizer, GenerationConfig

from tests.support import DEMO_MODEL, export, load_truth, random_model, saved, tiny_dense

VOCAB = 4200
PROMPT = [1, 5, 6]
TEXT = "<|im_start|>Hello <mark>world</mark> <new> caf\u00e9\n\n  12345 \u65e5\u672c<|im_end|>"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny_dense(vocab_size=VOCAB, bos_token_id=1, pad_token_id=0)
    folder = saved(random_model(config), tmp_path_factory.mktemp("weights") / "checkpoint")
    (folder / "generation_config.json").unlink()
    return folder


@pytest.fixture
def folder(weights: Path, tmp_path: Path) -> Path:
    """A checkpoint whose small files a test may change."""
    folder = Path(shutil.copytree(weights, tmp_path / "checkpoint"))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(DEMO_MODEL / name, folder / name)
    return folder


class Notes(Quiet):
    """Keeps what an export says."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.stages: list[str] = []

    def stage(self, name: str, total: int, unit: str) -> None:
        self.stages.append(name)

    def note(self, text: str) -> None:
        self.texts.append(text)


def change(path: Path, **values: Any) -> None:
    """Sets values of a JSON file; None as text removes one."""
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(old | values), encoding="utf-8")


def noted(folder: Path, out: Path, **options: Any) -> tuple[lfm_edge.Model, list[str]]:
    notes = Notes()
    with open_checkpoint(str(folder)) as checkpoint:
        bundle = export_bundle(checkpoint, out, ExportOptions(quant="f32", **options), notes)
    return lfm_edge.Model(bundle, 1), notes.texts


# --- refused before the first weight


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


# --- tokenizer

TOKENIZER_FILES: dict[str, dict[str, dict[str, Any]]] = {
    "as it is": {},
    "truncation": {
        "tokenizer.json": {
            "truncation": {
                "direction": "Right",
                "max_length": 4,
                "strategy": "LongestFirst",
                "stride": 0,
            }
        }
    },
    "padding": {
        "tokenizer.json": {
            "padding": {
                "strategy": {"Fixed": 64},
                "direction": "Left",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "<|pad|>",
            }
        }
    },
    "added_tokens_decoder": {
        "tokenizer_config.json": {
            "added_tokens_decoder": {
                "4098": {
                    "content": "<mark>",
                    "special": False,
                    "normalized": False,
                    "lstrip": False,
                    "rstrip": True,
                    "single_word": False,
                }
            }
        }
    },
    "another property": {
        "tokenizer_config.json": {
            "added_tokens_decoder": {
                "14": {
                    "content": "<think>",
                    "special": True,
                    "normalized": False,
                    "lstrip": True,
                    "rstrip": True,
                    "single_word": False,
                }
            }
        }
    },
    "named": {"tokenizer_config.json": {"sep_token": "<new>", "mark_token": "<mark>"}},
    "extra_special_tokens": {"tokenizer_config.json": {"extra_special_tokens": ["<new>"]}},
    "extra_special_tokens by name": {
        "tokenizer_config.json": {"extra_special_tokens": {"a_token": "<new>"}}
    },
    "additional_special_tokens": {
        "tokenizer_config.json": {"additional_special_tokens": ["<new>"]}
    },
    "special_tokens_map.json": {
        "special_tokens_map.json": {
            "cls_token": {
                "content": "<mark>",
                "lstrip": True,
                "rstrip": False,
                "normalized": False,
                "single_word": False,
            }
        }
    },
    "added_tokens.json": {"added_tokens.json": {"<new>": 4096, "<mark>": 4097}},
    "added_tokens.json beside a decoder": {
        "added_tokens.json": {"<new>": 4096},
        "tokenizer_config.json": {"added_tokens_decoder": {}},
    },
    "a normalizer": {"tokenizer.json": {"normalizer": {"type": "NFKC"}}},
    "no post-processor": {"tokenizer.json": {"post_processor": None}},
    "cleaning up": {
        "tokenizer_config.json": {"clean_up_tokenization_spaces": True, "legacy": True}
    },
    "add_eos_token": {"tokenizer_config.json": {"add_eos_token": True, "add_bos_token": False}},
    "LlamaTokenizer": {"tokenizer_config.json": {"tokenizer_class": "LlamaTokenizerFast"}},
}


@pytest.mark.parametrize("name", TOKENIZER_FILES)
def test_the_bundles_ids_are_those_of_the_auto_class(
    folder: Path, tmp_path: Path, name: str
) -> None:
    for file, values in TOKENIZER_FILES[name].items():
        change(folder / file, **values)
    bundle = export(folder, tmp_path / "out", quant="f32")
    truth, ours = AutoTokenizer.from_pretrained(folder), Tokenizer(bundle)
    assert ours.encode(TEXT * 20) == truth(TEXT * 20, add_special_tokens=False)["input_ids"]
    assert ours.encode(TEXT, add_special_tokens=True) == truth(TEXT)["input_ids"]
    variables = {
        key: value for key, value in truth.special_tokens_map.items() if isinstance(value, str)
    }
    assert ChatTemplate.of_bundle(bundle)._variables == variables


@pytest.mark.parametrize("name", ["truncation", "padding"])
def test_golden_text_is_read_whole(folder: Path, tmp_path: Path, name: str) -> None:
    plain = export(folder, tmp_path / "plain", quant="f32").manifest.golden
    for file, values in TOKENIZER_FILES[name].items():
        change(folder / file, **values)
    assert export(folder, tmp_path / "out", quant="f32").manifest.golden == plain


def test_a_text_without_bos_gets_one(folder: Path, tmp_path: Path) -> None:
    change(folder / "tokenizer.json", post_processor=None)
    model = lfm_edge.Model(export(folder, tmp_path / "out", quant="f32"), 1)
    session = model.session()
    list(model.generate("Hello", max_tokens=1, session=session))
    assert session.ids == [1, *model.tokenizer.encode("Hello")]


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


# --- templates

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


# --- generation_config.json


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"do_sample": True},
        {"do_sample": None, "temperature": 0.3},
        {"temperature": 0.3, "min_p": 0.15, "repetition_penalty": 1.05},
        {"do_sample": True, "temperature": 0.2, "top_k": 80, "repetition_penalty": 1.05},
        {"do_sample": True, "temperature": None, "top_k": None, "top_p": None, "min_p": None},
        {"do_sample": True, "top_k": 0, "top_p": 0.9, "min_p": 0.1},
        {"do_sample": False, "temperature": 0.7, "top_k": 20},
    ],
)
def test_sampling_defaults_are_transformers(
    folder: Path, tmp_path: Path, values: dict[str, Any]
) -> None:
    change(folder / "generation_config.json", **values)
    bundle = export(folder, tmp_path / "out", quant="f32", target="onnx-portable")
    truth = GenerationConfig.from_pretrained(folder)
    truth.update(**GenerationConfig._get_default_generation_params(), defaults_only=True)
    ours = lfm_edge.Model(bundle, 1).defaults
    assert (ours.temperature > 0) == bool(truth.do_sample)
    if truth.do_sample:
        assert ours.temperature == truth.temperature
    assert (ours.top_k, ours.top_p, ours.repetition_penalty) == (
        truth.top_k,
        truth.top_p,
        truth.repetition_penalty,
    )
    assert ours.min_p == (truth.min_p or 0)
    search = json.loads((bundle.folder / "genai_config.json").read_text())["search"]
    assert search["do_sample"] == bool(truth.do_sample)
    for name in ("top_k", "top_p", "repetition_penalty"):
        assert search[name] == getattr(truth, name)
    genai.Model(str(bundle.folder))


def test_minus_one_is_off_in_both_runtimes(folder: Path, tmp_path: Path) -> None:
    change(folder / "generation_config.json", do_sample=True, top_k=-1)
    bundle = export(folder, tmp_path / "out", quant="f32", target="onnx-portable")
    assert lfm_edge.Model(bundle, 1).defaults.top_k == 0
    genai.Model(str(bundle.folder))


def test_sampling_defaults_of_an_old_config_count(folder: Path, tmp_path: Path) -> None:
    change(folder / "config.json", do_sample=True, temperature=0.25)
    model, _ = noted(folder, tmp_path / "out")
    assert load_truth(folder).generation_config.temperature == 0.25
    assert (model.defaults.temperature, model.defaults.top_k) == (0.25, 50)


def generated(model: Any, **options: Any) -> list[int]:
    """What transformers answers."""
    options = {"do_sample": False, "max_new_tokens": 12, "pad_token_id": 0} | options
    ids: list[int] = model.generate(torch.tensor([PROMPT]), **options)[0, len(PROMPT) :].tolist()
    return ids


def answer_of_genai(folder: Path, count: int) -> list[int]:
    model = genai.Model(str(folder))
    parameters = genai.GeneratorParams(model)
    parameters.set_search_options(max_length=len(PROMPT) + count, do_sample=False)
    generator = genai.Generator(model, parameters)
    generator.append_tokens(PROMPT)
    while not generator.is_done():
        generator.generate_next_token()
    return [int(token) for token in generator.get_sequence(0)][len(PROMPT) :]


@pytest.mark.parametrize("where", ["second of generation_config", "config", "generation_config"])
def test_both_runtimes_stop_where_transformers_stops(
    folder: Path, tmp_path: Path, where: str
) -> None:
    """The end token is one that greedy decoding gives as its fifth."""
    free = generated(load_truth(folder), eos_token_id=VOCAB - 1)
    end = next(token for i, token in enumerate(free) if i >= 4 and token not in free[:i])
    if where == "config":
        change(folder / "config.json", eos_token_id=end)
    elif where == "generation_config":
        change(folder / "generation_config.json", eos_token_id=end)
        change(folder / "config.json", eos_token_id=None)
    else:
        change(folder / "generation_config.json", eos_token_id=[7, end])
    expected = generated(load_truth(folder))
    assert expected == free[: free.index(end) + 1]
    bundle = export(folder, tmp_path / "out", quant="f32", target="onnx-portable")
    assert end in bundle.manifest.model.eos_token_ids
    answer = answer_of_genai(bundle.folder, 12)
    assert answer in (expected, expected[:-1])
    model = lfm_edge.Model(bundle, 1)
    assert end in model.eos_ids


def test_a_model_without_end_and_pad_runs_in_both_runtimes(folder: Path, tmp_path: Path) -> None:
    change(folder / "config.json", eos_token_id=None, pad_token_id=None, bos_token_id=None)
    bundle = export(folder, tmp_path / "out", quant="f32", target="onnx-portable")
    assert bundle.manifest.model.eos_token_ids == []
    assert len(answer_of_genai(bundle.folder, 5)) == 5
