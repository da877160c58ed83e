"""One export from end to end: a checkpoint in, a bundle out."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from lfm_edge.bundle import FORMAT_VERSION, Bundle, Manifest, Model, Quantization
from lfm_ops import reference as ops
from lfm_ops.quantized import BLOCK_SIZE

from .architecture import Architecture, describe
from .checkpoint import Checkpoint
from .emit.external_data import ExternalData
from .emit.genai import write_genai_config
from .emit.to_onnx_portable import OnnxPortableEmitter
from .errors import ExportError
from .golden_text import golden_ids
from .quantize import Scheme
from .reference import GoldenReference
from .weights import walk
from .writer import bundle_folder, copy_files, describe_files, write_manifest

__all__ = ["ExportOptions", "Progress", "export_bundle"]

TARGETS = ("onnx-portable",)
PRODUCER = "lfm-edge"


@dataclass(frozen=True)
class ExportOptions:
    """What the user chose; `context` is the most that a session may hold."""

    target: str = "onnx-portable"
    quant: str = "q4"
    head: str | None = None
    context: int | None = None


class Progress(Protocol):
    """Hears how far a long piece of work is."""

    def stage(self, name: str, total: int, unit: str) -> None:
        """A stage begins: `total` weights or bytes are to come."""

    def advance(self, amount: int) -> None:
        """That many more are done."""


class Quiet:
    """A progress that nobody watches."""

    def stage(self, name: str, total: int, unit: str) -> None:
        """Ignores it."""

    def advance(self, amount: int) -> None:
        """Ignores it."""


def export_bundle(
    checkpoint: Checkpoint,
    out: Path,
    options: ExportOptions | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Writes `checkpoint` as a bundle at `out` and returns it, opened.

    Raises:
        ExportError: the options do not fit the model, or `out` cannot be written.
        ArchitectureError: the model's config is unknown or contradicts itself.
        CheckpointError: a tensor is missing, too many, misshapen or unreadable.
    """
    options, progress = options or ExportOptions(), progress or Quiet()
    if options.target not in TARGETS:
        raise ExportError(f"--target {options.target}: expected {' or '.join(TARGETS)}")
    scheme = Scheme.choose(options.quant, options.head)
    architecture = describe(checkpoint.config)
    checkpoint.check(architecture.tensors())
    context = _context(options.context, architecture)
    with bundle_folder(out) as folder:
        manifest = _write_graph(checkpoint, architecture, scheme, context, folder, progress)
        write_manifest(manifest, folder)
    return Bundle(out)


def _write_graph(
    checkpoint: Checkpoint,
    architecture: Architecture,
    scheme: Scheme,
    context: int,
    folder: Path,
    progress: Progress,
) -> Manifest:
    vocab = architecture.vocab_size
    ids = golden_ids(checkpoint.files.get("tokenizer.json"), vocab, architecture.bos_token_id)
    reference = GoldenReference(ids, vocab, ops.matmul_int8)
    progress.stage("quantize", architecture.num_parameters(), "weights")
    with ExternalData(folder / f"{OnnxPortableEmitter.file}.data") as data:
        emitter = OnnxPortableEmitter(architecture, context, data)
        walk(architecture, checkpoint, scheme, (emitter, reference), progress.advance)
    producer = f"{PRODUCER} {version(PRODUCER)}"
    graph = emitter.save(folder, producer)
    copy_files(checkpoint.files, folder)
    write_genai_config(architecture, checkpoint, graph, context, folder)
    progress.stage("hash", sum(path.stat().st_size for path in folder.iterdir()), "bytes")
    return Manifest(
        format_version=FORMAT_VERSION,
        producer=producer,
        model=_model(checkpoint.name, architecture, context),
        graph=graph,
        quantization=Quantization(scheme.linear, scheme.head, BLOCK_SIZE),
        golden=reference.golden(),
        files=describe_files(folder, progress.advance),
    )


def _model(name: str, architecture: Architecture, context: int) -> Model:
    return Model(
        family=architecture.family,
        name=name,
        vocab_size=architecture.vocab_size,
        hidden_size=architecture.hidden_size,
        num_hidden_layers=len(architecture.layers),
        max_context=context,
        bos_token_id=architecture.bos_token_id,
        eos_token_ids=list(architecture.eos_token_ids),
        pad_token_id=architecture.pad_token_id,
    )


def _context(asked: int | None, architecture: Architecture) -> int:
    if asked is None:
        return architecture.max_context
    if not 1 <= asked <= architecture.max_context:
        raise ExportError(f"--context {asked}: this model holds 1 to {architecture.max_context}")
    return asked
