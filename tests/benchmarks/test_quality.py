"""The comparison of quality: what is read alike, what is skipped, and what the bars say."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lfm_export.evaluate import Figures
from lfm_export.evaluate.runtime import RuntimeLogits
from lfm_export.export import ExportOptions
from lfm_export.walk import Sequences
from numpy.typing import NDArray

from benchmarks import quality, quality_text
from benchmarks.quality_peers import LlamaCpp, PeerError, export_genai
from benchmarks.quality_reading import Reading, Row, figures_against
from benchmarks.quality_text import RECORD, calibration_text, corpus_of, held_out
from tests.support import DEMO_MODEL, export, random_model, saved, tiny_moe
from tools.train_demo_model.corpus import DEMO, OTHER

Q4 = ExportOptions(quant="q4", head="q4")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(random_model(tiny_moe()), tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def reading(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Reading:
    rng = np.random.default_rng(3)
    ids = tuple(rng.integers(0, 320, length) for length in (40, 23))
    return Reading(model, Sequences(ids), tmp_path_factory.mktemp("work"))


def row(kl: float, weight_bytes: int = 1000) -> Row:
    return Row(2_000_000, weight_bytes, Figures(10.0, kl, 2 * kl, 0.9), None)


def test_a_gguf_file_reads_like_a_bundle_with_the_same_integers(
    model: Path, reading: Reading, tmp_path: Path
) -> None:
    bundle = export(model, tmp_path / "gguf", target="gguf", quant="q4", head="q4")
    file = bundle.folder / "model.gguf"
    ours, theirs = reading.ours(Q4), reading.gguf(file)
    assert ours.weights_alone is not None
    assert ours.weights_alone > 1e-3
    assert theirs.kl == pytest.approx(ours.weights_alone, rel=1e-4)
    assert theirs.weight_bytes == ours.weight_bytes
    assert theirs.file_bytes == file.stat().st_size > theirs.weight_bytes


def test_a_graph_that_others_run_is_held_to_the_same_truth(
    model: Path, reading: Reading, tmp_path: Path
) -> None:
    bundle = export(model, tmp_path / "bundle", quant="q4", head="q4")
    ours, theirs = reading.ours(Q4), reading.graph(bundle.folder, RuntimeLogits(bundle, 64, None))
    for name in ("perplexity", "kl_mean", "kl_p99", "top1"):
        got, wanted = getattr(theirs.figures, name), getattr(ours.figures, name)
        assert got == pytest.approx(wanted, rel=1e-3), name
    assert theirs[:2] == ours[:2]


class Fixed:
    """Gives the same logits, whatever it reads."""

    def __init__(self, logits: NDArray[np.float32]) -> None:
        self._logits = logits

    def logits(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._logits[: len(ids)]


def test_figures_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    exact, other = rng.normal(size=(2, 9, 5)).astype(np.float32)
    texts = Sequences((rng.integers(0, 5, 9), rng.integers(0, 5, 4)))
    got = figures_against(Fixed(exact), Fixed(other), texts)
    losses, divergences, same = [], [], []
    for ids in texts.ids:
        for position, following in enumerate(ids[1:]):
            p, q = (np.exp(x[position]) / np.exp(x[position]).sum() for x in (exact, other))
            losses.append(-np.log(q[following]))
            divergences.append(sum(p * np.log(p / q)))
            same.append(p.argmax() == q.argmax())
    assert got.perplexity == pytest.approx(np.exp(np.mean(losses)), rel=1e-5)
    assert got.kl_mean == pytest.approx(np.mean(divergences), rel=1e-4)
    assert got.top1 == np.mean(same)


def test_a_bundle_is_made_as_large_as_a_peer(reading: Reading) -> None:
    q4, q8 = (reading.ours(ExportOptions(quant=name, head="q8")) for name in ("q4", "q8"))
    peer = row(1.0, (q4.weight_bytes + 2 * q8.weight_bytes) // 3)
    bits = quality.bits_as_large(peer, q4, q8)
    assert bits == pytest.approx(4.5 + 4 * 2 / 3, rel=1e-3)
    ours = reading.ours(ExportOptions(quant="auto", bits=bits))
    assert q4.weight_bytes < ours.weight_bytes <= peer.weight_bytes


def programs(folder: Path, **bodies: str) -> Path:
    for name, body in bodies.items():
        program = folder / name.replace("_", "-")
        program.write_text(f'#!/bin/sh\necho "{program.name} $*" >> "{folder}/log"\n{body}\n')
        program.chmod(0o755)
    return folder


def test_llama_cpps_programs_get_our_float32_and_our_text(model: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("calibrate on this")
    folder = programs(
        tmp_path,
        llama_quantize='if [ "$1" = --imatrix ]; then shift 2; fi; cp "$1" "$2"',
        llama_imatrix='cp "$4" "$6"',
    )
    llama = LlamaCpp(folder, model, text, tmp_path)
    plain, weighed = llama.quantize("Q4_0"), llama.quantize("Q4_K_M", by_importance=True)
    assert plain != weighed
    source = (tmp_path / "gguf" / "model.gguf").read_bytes()
    assert plain.read_bytes() == weighed.read_bytes() == source
    assert (tmp_path / "imatrix.gguf").read_text() == "calibrate on this"
    first, second, third = (tmp_path / "log").read_text().splitlines()
    assert first.endswith(f"{plain} Q4_0")
    assert second.startswith("llama-imatrix -m ")
    assert third.startswith(f"llama-quantize --imatrix {tmp_path}/imatrix.gguf ")
    assert third.endswith(f"{weighed} Q4_K_M")


def test_a_peer_that_cannot_take_part_says_why(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PeerError, match=r"no llama-quantize in .*; compile llama"):
        LlamaCpp(tmp_path, model, tmp_path, tmp_path).quantize("Q4_0")
    folder = programs(tmp_path, llama_quantize="echo so; echo not so >&2; exit 3")
    with pytest.raises(PeerError, match="failed with code 3: not so"):
        LlamaCpp(folder, model, tmp_path, tmp_path).quantize("Q4_0")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PeerError, match="onnxruntime-genai is not installed"):
        export_genai(model, tmp_path)


def test_the_bars_are_those_of_the_best() -> None:
    rows = {
        "q4": row(0.1),
        "q4, calibrated": row(0.04),
        quality.AUTO: row(0.02),
        quality.Q4_0: row(0.05),
        quality.GENAI: row(0.2),
    }
    first, second, third, last = (quality.verdict(bar, rows) for bar in quality.BARS)
    assert (
        first
        == "0.20 (bar 0.33: held): auto, 4.5 bits, calibrated (2.00e-02) against q4 (1.00e-01)"
    )
    assert second.startswith("0.40 (bar 0.33: missed): auto")
    assert second.endswith("against llama.cpp Q4_0 (5.00e-02)")
    assert third.startswith("not measured (bar 0.7)")
    assert last.startswith("0.50 (bar 0.75: held): auto")


def test_the_table_names_who_was_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def skipped() -> Row:
        raise PeerError("no such program")

    def makers(*_: Any) -> dict[str, Callable[[], Row]]:
        return {"q4": lambda: row(0.0125, 5_000_000), quality.Q4_0: skipped}

    monkeypatch.setattr(quality, "makers", makers)
    monkeypatch.setattr(quality, "Reading", lambda *_: None)
    monkeypatch.setattr(quality, "calibration_text", lambda *_: "text")
    monkeypatch.setattr(sys, "argv", ["quality.py", "--tokens", "2"])
    quality.main()
    head, q4, peer, *bars = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["demo_model", "MB", "bits"]
    assert q4.split() == ["q4", "2.00", "4.17", "10.000", "1.25e-02", "2.50e-02", "90.00%"]
    assert peer.split(maxsplit=2)[2] == "skipped: no such program"
    assert len(bars) == len(quality.BARS)


def test_each_model_has_its_own_text(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text('{"settings": {"corpus": "other"}}')
    assert corpus_of(tmp_path) == OTHER
    assert corpus_of(DEMO_MODEL) == DEMO
    ids = held_out(DEMO_MODEL, 5).ids
    assert [len(some) for some in ids] == [5] * len(DEMO.held_out)


def test_calibration_reads_the_middles_of_training_files(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["short", *(f"{index}" * 5000 + "-" * 1800 + "end" * 1666 for index in range(10))]
    documents = [(str(index), text) for index, text in enumerate(texts)]
    monkeypatch.setattr(quality_text, "training_documents", lambda _: documents)
    pieces = calibration_text(DEMO, 3).split("\n")
    assert [len(piece) for piece in pieces] == [1800] * 3
    assert all(piece.count("-") >= 1798 for piece in pieces)
