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
TARGETS = ("onnx", "onnx-portable")
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


@pytest.mark.parametrize("target", TARGETS)
def test_f32_is_exact(
    demo_bundle: Callable[..., Path], held_out: list[NDArray[np.int64]], target: str
) -> None:
    truth = load_truth(DEMO_MODEL)
    model = lfm_edge.load(demo_bundle(target, "f32"))
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


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("quant", "head"), [("q8", None), ("q4", "q8"), ("q4", "q4")])
def test_rounding_of_activations_loses_next_to_nothing(
    demo_bundle: Callable[..., Path],
    held_out: list[NDArray[np.int64]],
    target: str,
    quant: str,
    head: str | None,
) -> None:
    truth = dequantized(DEMO_MODEL, quant, head)
    model = lfm_edge.load(demo_bundle(target, quant, head=head))
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
    folder, prompt, count = demo_bundle("onnx-portable", quant), held_out[0][:40], 48
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


@pytest.mark.parametrize("kv", ["f16", "int8"])
def test_a_smaller_cache_loses_next_to_nothing(
    demo_bundle: Callable[..., Path], held_out: list[NDArray[np.int64]], kv: str
) -> None:
    exact = lfm_edge.load(demo_bundle("onnx", "q4", kv="f32"))
    small = lfm_edge.load(demo_bundle("onnx", "q4", kv=kv))
    losses = [
        divergence(token_by_token(exact, ids), token_by_token(small, ids)) for ids in held_out
    ]
    assert np.concatenate(losses).mean() <= 5e-4


@pytest.mark.parametrize("quant", ["f32", "q8", "q4"])
def test_chunks_and_threads_do_not_change_a_bit(
    demo_bundle: Callable[..., Path], held_out: list[NDArray[np.int64]], quant: str
) -> None:
    folder, ids = demo_bundle("onnx", quant), held_out[0]
    one = lfm_edge.load(folder, threads=1).session(context=TOKENS)
    logits = np.stack([one.decode(int(token)) for token in ids])
    for threads, ends in ((1, [len(ids)]), (2, [1, 18, 19, 150, len(ids)]), (3, [7, 64, len(ids)])):
        session = lfm_edge.load(folder, threads=threads).session(context=TOKENS)
        chunks = np.split(ids, ends[:-1])
        got = np.stack([session.prefill(part) for part in chunks])
        assert (got == logits[np.array(ends) - 1]).all()
        for name, tensor in one.state.tensors.items():
            assert (session.state.tensors[name] == tensor).all(), name


def test_without_the_library_a_bundle_is_refused_in_one_line(
    demo_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Path:
        raise FileNotFoundError("liblfm_ops.so is nowhere; build it")

    monkeypatch.setattr("lfm_edge.onnx_runtime.library_path", missing)
    with pytest.raises(lfm_edge.BundleError, match=r"does not load: liblfm_ops\.so is nowhere"):
        lfm_edge.load(demo_bundle("onnx", "q4"))
