"""An evaluation's figures beside transformers' own, whole or after a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_edge.bundle import Bundle
from lfm_edge.errors import InvalidRequestError, LfmError
from lfm_edge.progress import Quiet
from lfm_export.architecture import Attention, Mlp, ShortConv, describe
from lfm_export.checkpoint import open_checkpoint
from lfm_export.companions import read_companions
from lfm_export.evaluate import EvaluateOptions, EvaluateResult, evaluate_sequences
from lfm_export.evaluate.divergence import Distribution, Divergence
from lfm_export.evaluate.stored import StoredWeights
from lfm_export.quantize import METHODS
from lfm_export.walk import Sequences, TextReader
from numpy.typing import NDArray

from tests.support import (
    DEMO_MODEL,
    dequantized,
    export,
    load_truth,
    logits_of,
    random_model,
    saved,
    tiny_dense,
    tiny_lfm3,
    tiny_moe,
)

FAMILIES: dict[str, Callable[[], Any]] = {
    "dense": tiny_dense,
    "moe": tiny_moe,
    "untied": lambda: tiny_dense(tie_word_embeddings=False),
    "biased": lambda: tiny_moe(conv_bias=True),
    "lfm3": lambda: tiny_lfm3(attention_bias=True),
}


def sequences(count: int = 3, length: int = 21) -> Sequences:
    rng = np.random.default_rng(5)
    return Sequences(tuple(rng.integers(0, 320, length - i) for i in range(count)))


def evaluate(bundle: Bundle, source: Path, text: Sequences, **options: Any) -> EvaluateResult:
    with open_checkpoint(str(source)) as checkpoint:
        return evaluate_sequences(
            bundle, checkpoint, text, EvaluateOptions(Path(), window=64, threads=1, **options)
        )


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    exact = logits.astype(np.float64)
    return np.asarray(exact - np.log(np.exp(exact).sum(-1, keepdims=True)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("target", "quant"), [("onnx", "q4"), ("onnx-portable", "q8")])
def test_figures_are_those_of_transformers(
    tmp_path: Path, family: str, target: str, quant: str
) -> None:
    source = saved(random_model(FAMILIES[family]()), tmp_path / "source")
    bundle = export(source, tmp_path / "bundle", target=target, quant=quant, kv="f32")
    text = sequences()
    got = evaluate(bundle, source, text)
    rounded, truth = dequantized(source, quant), load_truth(source)
    losses, divergences, same = [], [], []
    for ids in text.ids:
        p, q = (log_softmax(logits_of(model, ids))[:-1] for model in (truth, rounded))
        losses += [-p[np.arange(len(p)), ids[1:]], -q[np.arange(len(q)), ids[1:]]]
        divergences.append((np.exp(p) * (p - q)).sum(-1))
        same.append(p.argmax(-1) == q.argmax(-1))
    assert got.integers is not None
    assert got.runtime is not None
    assert got.kernels is not None
    assert got.kernels.kl_mean is not None
    assert got.source_perplexity == pytest.approx(np.exp(np.concatenate(losses[::2]).mean()), 1e-5)
    kl = np.concatenate(divergences)
    assert got.integers.perplexity == pytest.approx(
        np.exp(np.concatenate(losses[1::2]).mean()), 1e-5
    )
    assert got.integers.kl_mean == pytest.approx(kl.mean(), rel=1e-3)
    assert got.integers.kl_p99 == pytest.approx(np.quantile(kl, 0.99), rel=1e-3)
    assert got.integers.top1 == pytest.approx(np.concatenate(same).mean())
    # What runs differs by its int8 activations: by less than 4 bits lose, and not by nothing.
    assert got.kl_mean == got.runtime.kl_mean
    assert 0 < got.kernels.kl_mean < 10 * kl.mean()
    assert quant == "q8" or got.kl_mean == pytest.approx(kl.mean(), rel=0.5)


def test_float_weights_lose_nothing(tmp_path: Path) -> None:
    source = saved(random_model(tiny_moe()), tmp_path / "source")
    bundle = export(source, tmp_path / "bundle", quant="f32")
    got = evaluate(bundle, source, sequences())
    assert got.integers is not None
    assert got.integers.kl_mean == 0
    assert got.top1 == 1
    assert got.kl_mean is not None
    assert got.kl_mean < 1e-8


class KilledError(Exception):
    pass


class KilledAfter(Quiet):
    def __init__(self, amounts: int) -> None:
        self.left, self.weights = amounts, 0

    def advance(self, amount: int) -> None:
        if not self.left:
            raise KilledError
        self.left -= 1
        self.weights += amount


@pytest.mark.parametrize("amounts", [0, 1, 6, 20, 30])
def test_goes_on_after_a_kill_to_the_same_figures(tmp_path: Path, amounts: int) -> None:
    source = saved(random_model(tiny_moe()), tmp_path / "source")
    bundle = export(source, tmp_path / "bundle")
    whole = evaluate(bundle, source, sequences())
    options = EvaluateOptions(Path(), window=64, threads=1, state=tmp_path / "state")
    with open_checkpoint(str(source)) as checkpoint:
        with pytest.raises(KilledError):
            evaluate_sequences(bundle, checkpoint, sequences(), options, KilledAfter(amounts))
        rest = KilledAfter(1000)
        assert evaluate_sequences(bundle, checkpoint, sequences(), options, rest) == whole
        again = KilledAfter(1000)
        assert evaluate_sequences(bundle, checkpoint, sequences(), options, again) == whole
    assert again.weights == sequences().tokens  # which are counted, not scored again


def test_another_text_begins_anew(tmp_path: Path) -> None:
    source = saved(random_model(tiny_dense()), tmp_path / "source")
    bundle = export(source, tmp_path / "bundle")
    evaluate(bundle, source, sequences(), state=tmp_path / "state")
    (tmp_path / "state" / "notes.txt").write_text("mine")
    other = evaluate(bundle, source, sequences(2), state=tmp_path / "state")
    assert other == evaluate(bundle, source, sequences(2))
    assert (tmp_path / "state" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("target", ["onnx", "onnx-portable"])
@pytest.mark.parametrize("quant", ["q4", "q8", "f32"])
def test_weights_are_read_back_as_they_were_stored(tmp_path: Path, target: str, quant: str) -> None:
    source = saved(random_model(tiny_moe(vocab_size=330)), tmp_path / "source")
    bundle = export(source, tmp_path / "bundle", target=target, quant=quant)
    compared = 0
    with open_checkpoint(str(source)) as checkpoint:
        architecture = describe(checkpoint.config)
        stored = StoredWeights(bundle, architecture)
        for layer in architecture.layers:
            ffn = layer.feed_forward
            parts: list[Attention | ShortConv | Mlp] = [layer.operator]
            parts += [ffn] if isinstance(ffn, Mlp) else ffn.experts
            for part in parts:
                for name, got in stored.part(part).matrices.items():
                    wanted = METHODS[quant](checkpoint.read(name))
                    assert np.array_equal(got.dequantize(), wanted.dequantize()), name
                    compared += 1
        table = architecture.embedding.tokens
        head = METHODS["q8" if quant == "q4" else quant](checkpoint.read(table.name))
        rows = stored.rows(table, 290, 330)
        assert np.array_equal(rows.dequantize(), head.dequantize()[290:330])
    assert compared > 30


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(2, 40), st.integers(1, 17))
def test_divergence_by_slices_is_the_plain_sum(seed: int, rows: int, vocab: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = (rng.normal(0, 4, (2, rows, vocab))).astype(np.float32)
    targets = rng.integers(0, vocab, rows)
    one, other = Distribution(targets), Distribution(targets)
    divergence = Divergence(one, other)
    for start in range(0, vocab, step):
        one.add(p[:, start : start + step], start)
        other.add(q[:, start : start + step], start)
        divergence.add(p[:, start : start + step], q[:, start : start + step])
    for row in range(rows):
        a, b = log_softmax(p[row]), log_softmax(q[row])
        kl = sum(np.exp(a[i]) * (a[i] - b[i]) for i in range(vocab))
        assert divergence.kl[row] == pytest.approx(kl, abs=1e-9)
        assert one.losses[row] == pytest.approx(-a[targets[row]])
        assert divergence.same_argmax[row] == (p[row].argmax() == q[row].argmax())


@given(
    st.lists(st.lists(st.integers(3, 99), max_size=40), max_size=4),
    st.integers(8, 20),
    st.none() | st.integers(2, 60),
    st.lists(st.integers(0, 2), max_size=2),
)
def test_sequences_hold_the_text_in_order(
    documents: list[list[int]], window: int, most: int | None, prefix: list[int]
) -> None:
    cut = Sequences.cut([[*prefix, *ids] for ids in documents], window, prefix, most)
    assert all(2 <= len(ids) <= window for ids in cut.ids)
    assert all(ids[: len(prefix)].tolist() == prefix for ids in cut.ids)
    got = [int(i) for ids in cut.ids for i in ids[len(prefix) :]]
    wanted = [i for ids in documents for i in ids][:most]
    if prefix:
        assert got == wanted
    else:  # a single token at the end of a document has nothing before it
        assert len(wanted) - len(documents) <= len(got) <= len(wanted)


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "lfm_edge", "eval", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_the_command_writes_its_figures(demo_bundle: Callable[..., Path], tmp_path: Path) -> None:
    bundle, text, out = demo_bundle("onnx", "q4"), tmp_path / "text.txt", tmp_path / "out.json"
    text.write_text(
        "def read(path):\n    with open(path) as file:\n        return file.read()\n" * 9
    )
    done = command(bundle, "--against", DEMO_MODEL, "--text", text, "--json", out, "--tokens", 99)
    assert done.returncode == 0, done.stderr
    got = msgspec.json.decode(out.read_bytes(), type=EvaluateResult)
    assert 1 < (got.perplexity or 0) < 100
    assert 1e-4 < (got.kl_mean or 0) < (got.kl_p99 or 0)
    assert 0.5 < (got.top1 or 0) <= 1
    chats = tmp_path / "chats.jsonl"
    chats.write_text('{"messages": [{"role": "user", "content": "Add two numbers."}]}\n')
    done = command(bundle, "--text", chats, "--json", out)
    assert done.returncode == 0, done.stderr
    got = msgspec.json.decode(out.read_bytes(), type=EvaluateResult)
    assert got.perplexity is not None
    assert got.kl_mean is None


HALF_A_PAIR = rb'{"messages": [{"role": "user", "content": "\ud800"}]}'


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.txt", None, "no such file"),
        ("empty.txt", b" \n", "is empty"),
        ("bytes.txt", b"\xff\xfe", "not UTF-8"),
        ("chats.jsonl", b"{", "line 1 is no JSON"),
        ("chats.jsonl", b'\n{"text": "a"}', "line 2 is no chat"),
        ("chats.jsonl", b'{"messages": [3]}', "line 1"),
        ("chats.jsonl", HALF_A_PAIR, "line 1: the text is not valid Unicode"),
    ],
)
def test_a_wrong_text_is_refused_in_one_line(
    demo_bundle: Callable[..., Path], tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    from lfm_export.evaluate import evaluate_bundle  # noqa: PLC0415

    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LfmError, match=says) as error:
        evaluate_bundle(Bundle(demo_bundle("onnx", "q4")), None, EvaluateOptions(tmp_path / name))
    assert "\n" not in str(error.value)


def test_a_checkpoint_reads_chats_as_its_bundle_does(
    demo_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    with open_checkpoint(str(DEMO_MODEL)) as checkpoint:
        architecture = describe(checkpoint.config)
        companions = read_companions(checkpoint, architecture, lambda _: None)
        before = TextReader.of_checkpoint("it", companions, architecture.vocab_size)
    file = tmp_path / "chats.jsonl"
    separators = "one\u2028two\x85three"  # which Python takes for ends of lines, JSON does not
    chats = [{"messages": [{"role": "user", "content": text}]} for text in (separators, "four")]
    lines = (json.dumps(chat, ensure_ascii=False) for chat in chats)
    file.write_text("\r\n".join(lines), encoding="utf-8")
    ids = before.documents(file, "--text")
    assert ids == TextReader.of_bundle(Bundle(demo_bundle("onnx", "q4"))).documents(file, "--text")
    assert len(ids) == 2
    file.write_bytes(HALF_A_PAIR)
    with pytest.raises(InvalidRequestError, match="line 1: the text is not valid Unicode"):
        before.documents(file, "--text")


def test_a_source_of_another_model_is_refused(
    demo_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    source = saved(random_model(tiny_moe()), tmp_path / "source")
    with pytest.raises(LfmError, match="vocab_size of the source is 320"):
        evaluate(Bundle(demo_bundle("onnx", "q4")), source, sequences())


def test_a_refused_evaluation_leaves_nothing_behind(tmp_path: Path) -> None:
    source = saved(random_model(tiny_dense()), tmp_path / "source")
    other = saved(random_model(tiny_dense(intermediate_size=96)), tmp_path / "other")
    bundle = export(other, tmp_path / "bundle")
    kept = tmp_path / "kept"
    kept.mkdir()
    for state in (tmp_path / "new" / "state", kept):
        with pytest.raises(LfmError, match="no export of this source"):
            evaluate(bundle, source, sequences(), state=state)
    assert not (tmp_path / "new").exists()
    assert list(kept.iterdir()) == []


def test_a_refused_evaluation_spares_the_state_of_another(tmp_path: Path) -> None:
    source = saved(random_model(tiny_dense()), tmp_path / "source")
    bundle, state = export(source, tmp_path / "bundle"), tmp_path / "state"
    evaluate(bundle, source, sequences(), state=state)
    before = {file: file.read_bytes() for file in state.iterdir()}
    (bundle.folder / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(LfmError, match=r"model\.onnx"):
        evaluate(bundle, source, sequences(2), state=state)
    assert {file: file.read_bytes() for file in state.iterdir()} == before
