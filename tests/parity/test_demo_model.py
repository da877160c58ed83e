"""The shipped model: exact in float32, next to nothing lost to rounding, the same in a peer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lfm_edge
import numpy as np
import onnxruntime_genai as genai
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tests.support import DEMO_MODEL, dequantized, load_truth, logits_of
from tools.train_demo_model.corpus import held_out_text

BOUND = 2e-4
TOKENS, FILES = 256, 6


@pytest.fixture(scope="module")
def held_out() -> list[NDArray[np.int64]]:
    """The beginnings of some held-out files."""
    tokenizer = Tokenizer.from_file(str(DEMO_MODEL / "tokenizer.json"))
    texts = [text for _, text in held_out_text()]
    chosen = texts[:: max(1, len(texts) // FILES)][:FILES]
    return [np.array(tokenizer.encode(text).ids[:TOKENS], np.int64) for text in chosen]


def token_by_token(model: lfm_edge.Model, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    session = model.session(context=len(ids))
    return np.stack([session.decode(int(token)) for token in ids])


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(-1, keepdims=True))


def divergence(truth: NDArray[np.float32], logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Kullback-Leibler divergence of each position, in nats."""
    p, q = log_softmax(truth), log_softmax(logits)
    result: NDArray[np.float64] = (np.exp(p) * (p - q)).sum(-1)
    return result


def test_f32_is_exact(demo_bundle: Callable[..., Path], held_out: list[NDArray[np.int64]]) -> None:
    truth = load_truth(DEMO_MODEL)
    model = lfm_edge.load(demo_bundle("f32"))
    for ids in held_out:
        expected = logits_of(truth, ids)
        logits = token_by_token(model, ids)
        assert np.abs(logits - expected).max() <= BOUND
        best = np.sort(expected)[:, -2:]
        decided = best[:, 1] - best[:, 0] > 2 * BOUND
        assert (logits.argmax(-1) == expected.argmax(-1))[decided].all()
        session = model.session(context=TOKENS)
        ends = np.cumsum([100, 1, 77, len(ids) - 178])
        chunks = [session.prefill(part) for part in np.split(ids, ends[:-1])]
        assert np.abs(np.stack(chunks) - expected[ends - 1]).max() <= BOUND


@pytest.mark.parametrize(("quant", "head"), [("q8", None), ("q4", "q8"), ("q4", "q4")])
def test_rounding_of_activations_loses_next_to_nothing(
    demo_bundle: Callable[..., Path],
    held_out: list[NDArray[np.int64]],
    quant: str,
    head: str | None,
) -> None:
    truth = dequantized(DEMO_MODEL, quant, head)
    model = lfm_edge.load(demo_bundle(quant, head))
    losses = [divergence(logits_of(truth, ids), token_by_token(model, ids)) for ids in held_out]
    assert np.concatenate(losses).mean() <= 5e-4


def test_divergence_notices_a_careless_quantization(held_out: list[NDArray[np.int64]]) -> None:
    """The control of the test above: rounding the weights themselves to 4 bits is no small loss."""
    truth, rounded = load_truth(DEMO_MODEL), dequantized(DEMO_MODEL, "q4", "q4")
    losses = [divergence(logits_of(truth, ids), logits_of(rounded, ids)) for ids in held_out]
    assert np.concatenate(losses).mean() > 5e-3


@pytest.mark.parametrize("quant", ["f32", "q8", "q4"])
def test_onnxruntime_genai_yields_the_same_tokens(
    demo_bundle: Callable[..., Path], held_out: list[NDArray[np.int64]], quant: str
) -> None:
    folder, prompt, count = demo_bundle(quant), held_out[0][:40], 48
    peer = genai.Model(str(folder))
    parameters = genai.GeneratorParams(peer)
    parameters.set_search_options(max_length=256, do_sample=False, repetition_penalty=1.0)
    generator = genai.Generator(peer, parameters)
    generator.append_tokens(prompt.astype(np.int32)[None])
    session = lfm_edge.load(folder).session(context=256)
    logits = session.prefill(prompt)
    for _ in range(count):
        generator.generate_next_token()
        token = int(logits.argmax())
        assert int(generator.get_next_tokens()[0]) == token
        logits = session.decode(token)
