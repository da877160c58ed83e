"""generation_config.json means what transformers takes it to mean, in both runtimes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import lfm_edge
import onnxruntime_genai as genai
import pytest
import torch
from transformers import GenerationConfig

from tests.export.companions import VOCAB, change, noted
from tests.support import export, load_truth, random_model, saved, tiny_lfm3

PROMPT = [1, 5, 6]


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


@pytest.mark.parametrize(("top_p", "greedy"), [(0, True), (0.0, True), (2, False), (1.5, False)])
def test_top_p_beyond_its_range(folder: Path, tmp_path: Path, top_p: float, greedy: bool) -> None:
    change(folder / "generation_config.json", do_sample=True, top_p=top_p)
    bundle = export(folder, tmp_path / "out", quant="f32", target="onnx-portable")
    truth = load_truth(folder)
    if greedy:
        assert generated(truth, do_sample=True) == generated(truth)
    ours = lfm_edge.Model(bundle, 1).defaults
    assert (ours.temperature, ours.top_p) == (0.0 if greedy else 1.0, 1.0)
    search = json.loads((bundle.folder / "genai_config.json").read_text())["search"]
    assert search["do_sample"] is not greedy
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


def test_genai_runs_lfm3_as_the_type_that_it_knows(tmp_path: Path) -> None:
    truth = random_model(tiny_lfm3(eos_token_id=319))
    source = saved(truth, tmp_path / "source")
    bundle = export(source, tmp_path / "out", quant="f32", target="onnx-portable")
    assert answer_of_genai(bundle.folder, 12) == generated(truth)


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


@pytest.mark.parametrize("where", ["generation_config.json", "config.json"])
@pytest.mark.parametrize("end", [-1, [-1, VOCAB], 2**40])
def test_an_end_token_that_the_model_lacks_ends_nothing(
    folder: Path, tmp_path: Path, end: Any, where: str
) -> None:
    change(folder / "config.json", eos_token_id=None)
    change(folder / where, eos_token_id=end)
    expected = generated(load_truth(folder))
    model, notes = noted(folder, tmp_path / "out")
    first = end[0] if isinstance(end, list) else end
    assert any(re.search(rf"(?<!\d){first}(, 4200)? is passed over", note) for note in notes)
    assert model.eos_ids == frozenset()
    session = model.session(context=32)
    logits, answer = session.prefill(PROMPT), []
    for _ in expected:
        answer.append(int(logits.argmax()))
        logits = session.decode(answer[-1])
    assert answer == expected


def test_what_an_old_config_asks_of_generation_is_noted(folder: Path, tmp_path: Path) -> None:
    change(folder / "config.json", max_length=500, no_repeat_ngram_size=3, num_beams=1)
    _, notes = noted(folder, tmp_path / "out")
    about = [note for note in notes if note.startswith("config.json: ")]
    assert about == [
        "config.json: max_length 500 is passed over",
        "config.json: no_repeat_ngram_size 3 is passed over",
    ]


def test_what_changes_no_answer_is_ignored(folder: Path, tmp_path: Path) -> None:
    values = {
        "use_cache": "x",
        "cache_implementation": "none",
        "output_scores": 5,
        "max_length": 20,
    }
    change(folder / "generation_config.json", eos_token_id=7, **values)
    _, notes = noted(folder, tmp_path / "out")
    assert not any("generation_config.json:" in note for note in notes)
