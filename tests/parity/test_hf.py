"""A bundle behind the interface of transformers gives what the SDK and transformers give."""

from __future__ import annotations

import builtins
import importlib
import sys
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
import pytest
import torch
from lfm_edge.hf import LfmEdgeCache, LfmEdgeForCausalLM
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer, PreTrainedModel, pipeline

from tests.support import DEMO_MODEL, export, random_model, saved, tiny_lfm3, tiny_moe

BOUND = 2e-4
SHORT, LONG = [5, 9, 11], [20, 21, 22, 23, 24, 25, 26]


@pytest.fixture(scope="module", params=["moe, onnx", "moe, onnx-portable", "lfm3, onnx"])
def made(request: pytest.FixtureRequest) -> tuple[PreTrainedModel, str]:
    """A model, and the target to export it to."""
    family, target = request.param.split(", ")
    ends: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": None}
    return random_model(tiny_lfm3(**ends) if family == "lfm3" else tiny_moe(**ends)), target


@pytest.fixture(scope="module")
def truth(made: tuple[PreTrainedModel, str]) -> PreTrainedModel:
    return made[0]


@pytest.fixture(scope="module")
def tiny(
    made: tuple[PreTrainedModel, str], tmp_path_factory: pytest.TempPathFactory
) -> LfmEdgeForCausalLM:
    folder = tmp_path_factory.mktemp("hf")
    truth, target = made
    export(saved(truth, folder / "source"), folder / "out", target=target, quant="f32")
    return LfmEdgeForCausalLM.from_pretrained(folder / "out", threads=1)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> LfmEdgeForCausalLM:
    folder = tmp_path_factory.mktemp("hf") / "demo"
    export(DEMO_MODEL, folder)
    return LfmEdgeForCausalLM.from_pretrained(folder, threads=1)


def left_padded(*rows: list[int]) -> dict[str, torch.Tensor]:
    width = max(map(len, rows))
    ids = [[0] * (width - len(row)) + row for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def test_forward_gives_the_logits_of_transformers(tiny: Any, truth: Any) -> None:
    batch = left_padded(SHORT, LONG)
    with torch.no_grad():
        ours = tiny(**batch)
        alone = [truth(torch.tensor([row])).logits[0] for row in (SHORT, LONG)]
    assert torch.all(ours.logits[0, : len(LONG) - len(SHORT)] == 0)  # padding
    for row, wanted in zip(ours.logits, alone, strict=True):
        assert torch.abs(row[-len(wanted) :] - wanted).max() <= BOUND
    following = tiny(torch.tensor([[30], [31]]), past_key_values=ours.past_key_values)
    for row, ids in zip(following.logits, ([*SHORT, 30], [*LONG, 31]), strict=True):
        with torch.no_grad():
            wanted = truth(torch.tensor([ids])).logits[0, -1]
        assert torch.abs(row[0] - wanted).max() <= BOUND


def test_padding_on_the_right_and_the_loss(tiny: Any, truth: Any) -> None:
    ids = torch.tensor([[*SHORT, 0, 0]])
    mask, labels = torch.tensor([[1, 1, 1, 0, 0]]), torch.tensor([[*SHORT, -100, -100]])
    ours = tiny(ids, attention_mask=mask, labels=labels)
    with torch.no_grad():
        wanted = truth(torch.tensor([SHORT]), labels=torch.tensor([SHORT]))
    assert torch.abs(ours.logits[0, :3] - wanted.logits[0]).max() <= BOUND
    assert torch.all(ours.logits[0, 3:] == 0)
    assert abs(float(ours.loss - wanted.loss)) <= BOUND


@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_of_a_padded_batch(tiny: Any, truth: Any, use_cache: bool) -> None:
    options: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False}
    ours = tiny.generate(**left_padded(SHORT, LONG), **options, use_cache=use_cache)
    for got, row in zip(ours, (SHORT, LONG), strict=True):
        wanted = truth.generate(torch.tensor([row]), **options)[0, len(row) :]
        assert got[-8:].tolist() == wanted.tolist()


def test_sampling_draws_what_transformers_draws(tiny: Any, truth: Any) -> None:
    drawn = []
    for model in (tiny, truth):
        torch.manual_seed(3)
        options: dict[str, Any] = {"max_new_tokens": 12, "do_sample": True, "temperature": 1.5}
        drawn.append(model.generate(torch.tensor([LONG]), **options).tolist())
    assert drawn[0] == drawn[1]


def test_beams(tiny: Any, truth: Any) -> None:
    options: dict[str, Any] = {"max_new_tokens": 8, "num_beams": 3, "do_sample": False}
    ours, wanted = (model.generate(torch.tensor([LONG]), **options) for model in (tiny, truth))
    assert ours.tolist() == wanted.tolist()


def test_a_cache_keeps_what_the_next_prompt_begins_with(tiny: Any) -> None:
    cache = LfmEdgeCache(tiny.lfm_edge)
    options: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False}
    first = tiny.generate(torch.tensor([LONG]), past_key_values=cache, **options)
    assert cache.get_seq_length() == first.shape[1] - 1  # the last one was never read
    other = torch.tensor([[*LONG[:5], 40, 41]])
    read: list[int] = []
    session = cache.sessions[0]
    prefill = session.prefill

    def counted(ids: Any) -> Any:
        read.append(len(ids))
        return prefill(ids)

    session.prefill = counted  # type: ignore[method-assign]
    again = tiny.generate(other, past_key_values=cache, **options)
    assert again.tolist() == tiny.generate(other, **options).tolist()
    if tiny.lfm_edge.bundle.manifest.graph.target == "onnx":
        assert read == [2, 1, 1, 1]
    cache.crop(-1)
    cache.crop(5)
    assert cache.sessions[0].ids == LONG[:5]


def test_only_what_is_new_may_follow_a_cache(tiny: Any) -> None:
    options: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False}
    cache = tiny(torch.tensor([LONG]), logits_to_keep=1).past_key_values
    mask = torch.ones(1, len(LONG) + 2, dtype=torch.long)
    new = tiny.generate(
        torch.tensor([[50, 51]]), attention_mask=mask, past_key_values=cache, **options
    )
    whole = tiny.generate(torch.tensor([[*LONG, 50, 51]]), **options)
    assert new[0, 2:].tolist() == whole[0, len(LONG) + 2 :].tolist()


def test_pipeline_and_generate_give_the_text_of_the_sdk(demo: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(demo.name_or_path)
    asked = pipeline("text-generation", model=demo, tokenizer=tokenizer)
    ours = "".join(demo.lfm_edge.generate("The Zen of", max_tokens=8, temperature=0))
    assert ours
    (given,) = asked("The Zen of", max_new_tokens=8, do_sample=False, return_full_text=False)
    assert given["generated_text"] == ours


def test_evaluation_harness_gives_the_numbers_of_a_straight_run(demo: Any) -> None:
    harness = HFLM(
        pretrained=demo, tokenizer=AutoTokenizer.from_pretrained(demo.name_or_path), batch_size=2
    )
    assert harness.max_length == demo.config.max_position_embeddings
    pairs = [("The Zen", " of Python"), ("def", " area(radius):\n    return")]
    requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    for pair, (got, greedy) in zip(pairs, harness.loglikelihood(requests), strict=True):
        context = harness.tok_encode(pair[0])
        ids = harness.tok_encode("".join(pair))
        session = demo.lfm_edge.session()
        rows = [torch.from_numpy(session.decode(token)) for token in ids[:-1]]
        scores = torch.log_softmax(torch.stack(rows), -1)[len(context) - 1 :]
        following = ids[len(context) :]
        wanted = sum(float(row[token]) for row, token in zip(scores, following, strict=True))
        assert got == pytest.approx(wanted, abs=1e-4)
        assert greedy == (scores.argmax(-1).tolist() == following)
    until = [Instance("generate_until", {}, ("The", {"until": ["\n"], "max_gen_toks": 5}), 0)]
    (text,) = harness.generate_until(until)
    assert text == "".join(demo.lfm_edge.generate("The", max_tokens=5, temperature=0, stop="\n"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_ids": [[1, 2, 3]], "attention_mask": [[1, 0, 1]]}, "padding between its tokens"),
        ({"input_ids": [[1, 2]], "attention_mask": [[0, 0]]}, "row 0 masks every token"),
        ({"input_ids": [[1, 2]], "attention_mask": [[1]]}, r"expected \[1, 2 or more\]"),
        ({"input_ids": [1, 2]}, r"got shape \[2\]"),
        ({"input_ids": [[1, 320]]}, "token id 320"),
        ({"input_ids": [[1] * 300]}, "capacity of 256"),
    ],
)
def test_what_it_cannot_read_is_refused(tiny: Any, arguments: dict[str, Any], message: str) -> None:
    given = {name: torch.tensor(value) for name, value in arguments.items()}
    with pytest.raises(lfm_edge.LfmError, match=message):
        tiny(**given)


def test_other_refusals(tiny: Any, tmp_path: Path) -> None:
    ids = torch.tensor([[1, 2]])
    with pytest.raises(lfm_edge.InvalidRequestError, match="holds 2 rows"):
        tiny(ids, past_key_values=LfmEdgeCache(tiny.lfm_edge, 2))
    with pytest.raises(lfm_edge.InvalidRequestError, match="logits_to_keep"):
        tiny(ids, logits_to_keep=torch.tensor([0]))
    with pytest.raises(lfm_edge.InvalidRequestError, match="save_pretrained"):
        tiny.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="stateful"):
        tiny.generate(ids, prompt_lookup_num_tokens=2, max_new_tokens=3)
    with pytest.raises(lfm_edge.InvalidRequestError, match="prefill_chunk_size"):
        tiny.generate(ids, prefill_chunk_size=2, max_new_tokens=3)
    with pytest.raises(lfm_edge.BundleError):
        LfmEdgeForCausalLM.from_pretrained(tmp_path)


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_without_torch_or_transformers_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    real = builtins.__import__

    def importing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.startswith("lfm_edge.hf")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(lfm_edge.MissingDependencyError, match=r"pip install 'lfm-edge\[hf\]'"):
        importlib.import_module("lfm_edge.hf")


def test_logits_are_those_of_one_run_for_each_token(demo: Any) -> None:
    ids = np.random.default_rng(0).integers(8, 4000, 24)
    session = demo.lfm_edge.session()
    wanted = np.stack([session.decode(int(token)) for token in ids])
    got = demo(torch.from_numpy(ids)[None]).logits[0].numpy()
    assert np.array_equal(got, wanted)
