"""A trained model's held-out text, and how whoever reads it differs from the model itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import onnx_ir as ir
from lfm_edge.bundle import Bundle
from lfm_edge.tokenizer import Tokenizer
from lfm_export.checkpoint import open_checkpoint
from lfm_export.checkpoint.gguf_file import GgufFile
from lfm_export.evaluate import EvaluateOptions, Figures, evaluate_sequences
from lfm_export.evaluate.divergence import Distribution, Divergence
from lfm_export.evaluate.result import Scores, figures_of
from lfm_export.evaluate.runtime import RuntimeLogits
from lfm_export.export import ExportOptions, export_bundle
from lfm_export.walk import Sequences
from numpy.typing import NDArray

from tools.train_demo_model.corpus import CORPORA, Corpus, held_out_text, training_documents

__all__ = ["Logits", "Reading", "Row", "calibration_text", "corpus_of", "figures_against"]

_PIECE = 1800  # characters, some 512 tokens
_ROPE_TABLES = ("cos_cache", "sin_cache")  # as long as the context; both exporters name them so


class Logits(Protocol):
    """Whatever reads a sequence from an empty state."""

    def logits(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """`[tokens, vocab]`."""


class Row(NamedTuple):
    """What one reader needs and how it reads.

    Attributes:
        file_bytes: graph and data; of a GGUF file also the tokenizer.
        weight_bytes: the weights alone, as they are stored, scales included.
        figures: from the model in float32.
        weights_alone: KL in exact arithmetic, where it was read so.
    """

    file_bytes: int
    weight_bytes: int
    figures: Figures
    weights_alone: float | None

    @property
    def kl(self) -> float:
        """The mean divergence."""
        assert self.figures.kl_mean is not None
        return self.figures.kl_mean


def corpus_of(model: Path) -> Corpus:
    """The text that a model was trained on, by its training record."""
    record = json.loads((model / "TRAINING.json").read_text(encoding="utf-8"))
    return CORPORA[record["settings"].get("corpus", "demo")]


def calibration_text(corpus: Corpus, pieces: int) -> str:
    """The middles of training files, evenly spread over all of them; none of them is held out."""
    documents = [text for _, text in training_documents(corpus) if len(text) >= _PIECE]
    chosen = np.linspace(0, len(documents) - 1, pieces).astype(int)
    middles = [(documents[i], (len(documents[i]) - _PIECE) // 2) for i in chosen]
    return "\n".join(text[start : start + _PIECE] for text, start in middles)


class Reading:
    """The beginning of every held-out file, for all the same tokens."""

    def __init__(self, model: Path, tokens: int, work: Path) -> None:
        """`tokens` of each file; `work` is a folder for exports."""
        self._model, self._work, self.tokens = model, work, tokens
        exact = self._export(model, ExportOptions(quant="f32"), "truth")
        self._truth = RuntimeLogits(exact, tokens, None)
        encode = Tokenizer(exact).encode
        texts = held_out_text(corpus_of(model))
        self._sequences = Sequences(tuple(np.array(encode(t)[:tokens], np.int64) for _, t in texts))

    def ours(self, options: ExportOptions) -> Row:
        """A bundle of ours, as it runs."""
        bundle = self._export(self._model, options, "ours")
        as_it_runs, alone = self._evaluate(bundle)
        return Row(*_sizes(bundle.folder), as_it_runs, alone.kl_mean)

    def gguf(self, file: Path) -> Row:
        """A GGUF file's weights in exact arithmetic."""
        _, alone = self._evaluate(self._export(file, ExportOptions(quant="f32"), "dequantized"))
        stored = GgufFile(file)
        weights = sum(tensor.nbytes for tensor in stored.tensors.values())
        stored.close()
        return Row(file.stat().st_size, weights, alone, alone.kl_mean)

    def graph(self, folder: Path, reader: Logits) -> Row:
        """A folder of somebody else's graph, as it runs."""
        return Row(*_sizes(folder), figures_against(self._truth, reader, self._sequences), None)

    def _export(self, source: Path, options: ExportOptions, name: str) -> Bundle:
        with open_checkpoint(str(source)) as checkpoint:
            return export_bundle(checkpoint, self._work / name, options)

    def _evaluate(self, bundle: Bundle) -> tuple[Figures, Figures]:
        """As it runs, and its weights alone."""
        options = EvaluateOptions(Path(), window=self.tokens)
        with open_checkpoint(str(self._model)) as checkpoint:
            got = evaluate_sequences(bundle, checkpoint, self._sequences, options)
        assert got.runtime is not None
        assert got.integers is not None
        return got.runtime, got.integers


def figures_against(truth: Logits, other: Logits, sequences: Sequences) -> Figures:
    """How `other` reads the sequences, compared with `truth`."""
    scores = []
    for ids in sequences.ids:
        exact, got = truth.logits(ids)[:-1], other.logits(ids)[:-1]
        p, q = Distribution(ids[1:]), Distribution(ids[1:])
        both = Divergence(p, q)
        p.add(exact, 0)
        q.add(got, 0)
        both.add(exact, got)
        scores.append(np.stack([q.losses, both.kl, both.same_argmax]))
    return figures_of(Scores(*np.concatenate(scores, axis=1)))


def _sizes(folder: Path) -> tuple[int, int]:
    """Bytes of an ONNX graph with all its data, and of the weights alone."""
    graph = folder / "model.onnx"
    initializers = ir.load(graph).graph.initializers
    weights = sum(
        value.const_value.nbytes
        for name, value in initializers.items()
        if value.const_value is not None and name not in _ROPE_TABLES
    )
    return graph.stat().st_size + (folder / "model.onnx.data").stat().st_size, weights
