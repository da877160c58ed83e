"""Log probabilities are those of the model, whatever drew the token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lfm_edge
import numpy as np
import pytest
from lfm_edge import EventStream, Generation, InvalidRequestError
from lfm_edge.logprobs import logprobs as of_logits
from numpy.typing import NDArray

from tests.sdk.toy import BOS, EOS, PAD, THINK, ToyModel

NEVER = {PAD: -1e4, BOS: -1e4, EOS: -1e4}


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    values: NDArray[np.float64] = wide - wide.max() - np.log(np.exp(wide - wide.max()).sum())
    return values


@pytest.fixture
def endless(make_model: Callable[..., lfm_edge.Model]) -> lfm_edge.Model:
    return make_model(NEVER)


def test_they_are_the_log_softmax_of_the_logits() -> None:
    logits = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    truth = log_softmax(logits)
    chosen, top = of_logits(logits, 5, 20)
    order = np.argsort(-truth)[:20]
    assert chosen == pytest.approx(truth[5], abs=1e-6)
    assert [token for token, _ in top] == order.tolist()
    np.testing.assert_allclose([value for _, value in top], truth[order], atol=1e-6)
    assert of_logits(logits, 5) == (chosen, [])
    assert len(of_logits(logits[:3], 0, 20)[1]) == 3


def test_of_equal_ones_the_smaller_ids_come_first() -> None:
    logits = np.zeros(50, np.float32)
    logits[[9, 30]] = 1, -np.inf
    assert [token for token, _ in of_logits(logits, 0, 4)[1]] == [9, 0, 1, 2]
    assert of_logits(logits, 30, 50)[1][-1] == (30, -np.inf)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 1.5, "seed": 3, "top_k": 2, "frequency_penalty": 1, "logprobs": 0},
        {"banned": [7, 8, 9], "logit_bias": {40: 50}},
        {"regex": "[a-z]{40}"},
    ],
)
def test_every_token_of_an_answer_has_them_before_any_option(
    make_model: Callable[..., lfm_edge.Model], options: dict[str, Any]
) -> None:
    bias = {PAD: -1e4, BOS: -1e4}
    model, toy = make_model(bias), ToyModel(bias)
    options = {"temperature": 0, "logprobs": 3, "max_tokens": 12} | options
    answer = model.generate("the café", **options)
    list(answer)
    assert len(answer.logprobs) == len(answer.ids)
    text = [BOS, *model.tokenizer.encode("the café")]
    for token, found in zip(answer.ids, answer.logprobs, strict=True):
        truth = log_softmax(toy.logits(text))
        assert (found.token, found.bytes) == (token, model.tokenizer.token_bytes(token))
        assert found.logprob == pytest.approx(truth[token], abs=1e-3)
        assert [top.logprob for top in found.top] == pytest.approx(
            sorted(truth, reverse=True)[: options["logprobs"]], abs=1e-3
        )
        for top in found.top:
            assert top.bytes == model.tokenizer.token_bytes(top.token)
            assert top.logprob == pytest.approx(truth[top.token], abs=1e-3)
            assert not top.top
        text.append(token)


def test_the_token_that_ends_an_answer_has_them_too(
    make_model: Callable[..., lfm_edge.Model],
) -> None:
    ended = make_model({EOS: 1e4}).generate("a", logprobs=1)
    list(ended)
    assert [(p.token, p.logprob) for p in ended.logprobs] == [(EOS, 0)]
    assert ended.logprobs[0].top[0].token == EOS


def test_events_have_them_and_forced_tokens_as_well(
    make_model: Callable[..., lfm_edge.Model],
) -> None:
    model = make_model({THINK: 1e3})
    said = [{"role": "user", "content": "a"}]
    answer = model.events(said, logprobs=1, thinking_budget=2, max_tokens=6, temperature=0)
    assert isinstance(answer, EventStream)
    list(answer)
    assert [found.token for found in answer.logprobs] == answer.ids
    unlikely = [found for found in answer.logprobs if found.token != THINK]
    assert unlikely  # the budget closed the reasoning
    assert all(found.logprob < -900 and found.top[0].token == THINK for found in unlikely)


def test_nothing_is_computed_unless_asked_for(
    endless: lfm_edge.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError(arguments)

    monkeypatch.setattr("lfm_edge.answer.logprobs", fail)
    answer = endless.generate("a", max_tokens=3)
    assert isinstance(answer, Generation)
    list(answer)
    assert answer.logprobs == []


def test_a_negative_number_is_refused(endless: lfm_edge.Model) -> None:
    with pytest.raises(InvalidRequestError, match="logprobs: got -1, expected"):
        endless.generate("a", logprobs=-1)
