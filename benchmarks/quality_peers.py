"""What others make of a checkpoint: files of llama.cpp's programs and of GenAI's builder."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from lfm_export.checkpoint import open_checkpoint
from lfm_export.emit.gguf.store import GGUF_FILE
from lfm_export.export import ExportOptions, export_bundle
from numpy.typing import NDArray

from benchmarks.exports import genai_builder

__all__ = ["GenAiLogits", "LlamaCpp", "PeerError", "export_genai"]

_CHUNK = 512  # tokens, as our calibration's


class PeerError(Exception):
    """A peer that cannot take part; the message says why."""


class LlamaCpp:
    """llama.cpp's own quantization of one checkpoint."""

    def __init__(self, programs: Path | None, model: Path, calibration: Path, work: Path) -> None:
        """Finds the programs only when they are needed.

        Args:
            programs: the folder of llama-quantize and llama-imatrix; None for those on PATH.
            model: the checkpoint's folder.
            calibration: the text that an importance matrix is made on.
            work: a folder for files.
        """
        self._programs, self._model = programs, model
        self._calibration, self._work = calibration, work

    def quantize(self, kind: str, *, by_importance: bool = False) -> Path:
        """A GGUF file of a kind such as Q4_K_M.

        Raises:
            PeerError: a program is missing, or fails.
        """
        program = self._program("llama-quantize")
        out = self._work / f"{kind}{'-imatrix' if by_importance else ''}.gguf"
        options = ["--imatrix", str(self._importance)] if by_importance else []
        _run([program, *options, str(self._source), str(out), kind])
        return out

    @cached_property
    def _source(self) -> Path:
        """The checkpoint in float32."""
        out = self._work / "gguf"
        with open_checkpoint(str(self._model)) as checkpoint:
            export_bundle(checkpoint, out, ExportOptions(target="gguf", quant="f32"))
        return out / GGUF_FILE

    @cached_property
    def _importance(self) -> Path:
        program, out = self._program("llama-imatrix"), self._work / "imatrix.gguf"
        files = ["-m", str(self._source), "-f", str(self._calibration), "-o", str(out)]
        _run([program, *files, "-c", str(_CHUNK), "--no-ppl"])
        return out

    def _program(self, name: str) -> str:
        found = shutil.which(name, path=None if self._programs is None else str(self._programs))
        if found is None:
            place = "on PATH" if self._programs is None else f"in {self._programs}"
            raise PeerError(f"no {name} {place}; compile llama.cpp and name it by --llama-cpp")
        return found


def export_genai(model: Path, work: Path) -> Path:
    """The folder that GenAI's builder makes: int4 for the CPU, all else at its default.

    Raises:
        PeerError: GenAI is not installed, or cannot take the model.
    """
    if importlib.util.find_spec("onnxruntime_genai") is None:
        raise PeerError("onnxruntime-genai is not installed; pip install 'lfm-edge[test]'")
    out = work / "genai"
    _run(genai_builder(model, str(out), work / "genai-cache"))
    return out


class GenAiLogits:
    """Such a folder, run by GenAI."""

    def __init__(self, folder: Path, capacity: int) -> None:
        import onnxruntime_genai  # noqa: PLC0415 - a peer, which may be missing

        self._new = onnxruntime_genai.Generator
        self._model = onnxruntime_genai.Model(str(folder))
        self._params = onnxruntime_genai.GeneratorParams(self._model)
        self._params.set_search_options(max_length=capacity)

    def logits(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """`[tokens, vocab]` of a sequence, read from an empty state."""
        generator = self._new(self._model, self._params)
        generator.append_tokens(ids.astype(np.int32))
        logits: NDArray[np.float32] = generator.get_output("logits")[0]
        return logits


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", check=False
    )
    if done.returncode:
        said = done.stdout.strip().splitlines()
        last = said[-1] if said else "without a word"
        raise PeerError(f"{' '.join(command[:3])}: failed with code {done.returncode}: {last}")
