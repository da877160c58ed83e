"""How whatever was made of a model reads a text, beside the model itself."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import onnx_ir as ir
from lfm_edge.bundle import Bundle
from lfm_export.checkpoint import open_checkpoint
from lfm_export.checkpoint.gguf_file import GgufFile
from lfm_export.evaluate import EvaluateOptions, Figures, evaluate_sequences
from lfm_export.evaluate.divergence import Distribution, Divergence
from lfm_export.evaluate.result import Scores, figures_of
from lfm_export.evaluate.runtime import RuntimeLogits
from lfm_export.export import ExportOptions, export_bundle
from lfm_export.walk import Sequences
from numpy.typing import NDArray

__all__ = [
    "Logits",
    "Reading",
    "Row",
    "figures_against",
]

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


class Reading:
    """A model, and the text that it and all others read."""

    def __init__(self, model: Path, sequences: Sequences, work: Path) -> None:
        """`work` is a folder for exports."""
        self._model, self._sequences, self._work = model, sequences, work
        self.longest = max(map(len, sequences.ids))
        truth = self._export(model, ExportOptions(quant="f32"), "truth")
        self._truth = RuntimeLogits(truth, self.longest, None)

    def ours(self, options: ExportOptions) -> Row:
        """A bundle of ours, as it runs."""
        bundle = self._export(self._model, options, "ours")
        as_it_runs, alone = self._evaluate(bundle)
        return Row(*_sizes(bundle.folder), as_it_runs, alone.kl_mean)

    def gguf(self, file: Path) -> Row:
        """A GGUF file's weights in exact arithmetic: read back, and run in float32."""
        bundle = self._export(file, ExportOptions(quant="f32"), "dequantized")
        figures = self._figures(RuntimeLogits(bundle, self.longest, None))
        stored = GgufFile(file)
        weights = sum(tensor.nbytes for tensor in stored.tensors.values())
        stored.close()
        return Row(file.stat().st_size, weights, figures, figures.kl_mean)

    def graph(self, folder: Path, reader: Logits) -> Row:
        """A folder of somebody else's graph, as it runs."""
        return Row(*_sizes(folder), self._figures(reader), None)

    def _figures(self, reader: Logits) -> Figures:
        return figures_against(self._truth, reader, self._sequences)

    def _export(self, source: Path, options: ExportOptions, name: str) -> Bundle:
        with open_checkpoint(str(source)) as checkpoint:
            return export_bundle(checkpoint, self._work / name, options)

    def _evaluate(self, bundle: Bundle) -> tuple[Figures, Figures]:
        """As it runs, and its weights alone."""
        options = EvaluateOptions(Path(), window=self.longest)
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
