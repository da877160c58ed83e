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
from .emit._onnx import OnnxWalk, StateType
from .emit.external_data import ExternalData
from .emit.genai import write_genai_config
from .emit.to_onnx import OnnxEmitter
from .emit.to_onnx_portable import OnnxPortableEmitter
from .errors import ExportError
from .golden_text import golden_ids
from .quantize import Scheme
from .reference import GoldenReference
from .weights import walk
from .writer import bundle_folder, copy_files, describe_files, folder_size, write_manifest

__all__ = ["ExportOptions", "Progress", "export_bundle"]

TARGETS = ("onnx", "onnx-portable")
KV_TYPES: dict[ops.KvType, StateType] = {"f32": "float32", "f16": "float16", "int8": "int8"}
PRODUCER = "lfm-edge"


@dataclass(frozen=True)
class ExportOptions:
    """What the user chose; `context` is the most that a session may hold."""

    target: str = "onnx"
    quant: str = "q4"
    head: str | None = None
    kv: ops.KvType | None = None
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
    plan = _Plan.make(options, describe(checkpoint.config))
    checkpoint.check(plan.architecture.tensors())
    with bundle_folder(out) as folder:
        write_manifest(_write_graph(checkpoint, plan, folder, progress), folder)
    return Bundle(out)


@dataclass(frozen=True)
class _Plan:
    """The options, checked against each other and against the model."""

    target: str
    architecture: Architecture
    scheme: Scheme
    context: int
    kv: ops.KvType

    @classmethod
    def make(cls, options: ExportOptions, architecture: Architecture) -> _Plan:
        if options.target not in TARGETS:
            raise ExportError(f"--target {options.target}: expected {' or '.join(TARGETS)}")
        scheme = Scheme.choose(options.quant, options.head)
        portable = options.target == OnnxPortableEmitter.target
        kv = options.kv or ("f32" if portable or scheme.linear == "f32" else "f16")
        allowed = ["f32"] if portable else list(KV_TYPES)
        if kv not in allowed:
            raise ExportError(
                f"--kv {kv}: with --target {options.target} expected {' or '.join(allowed)}"
            )
        return cls(
            options.target, architecture, scheme, _context(options.context, architecture), kv
        )

    def emitter(self, data: ExternalData) -> OnnxWalk:
        """What writes the target's graph."""
        if self.target == OnnxPortableEmitter.target:
            return OnnxPortableEmitter(self.architecture, self.context, data)
        return OnnxEmitter(self.architecture, self.context, data, KV_TYPES[self.kv])


def _write_graph(checkpoint: Checkpoint, plan: _Plan, folder: Path, progress: Progress) -> Manifest:
    architecture, vocab = plan.architecture, plan.architecture.vocab_size
    ids = golden_ids(checkpoint.files.get("tokenizer.json"), vocab, architecture.bos_token_id)
    reference = GoldenReference(ids, vocab, ops.matmul_int8, plan.kv)
    progress.stage("quantize", architecture.num_parameters(), "weights")
    with ExternalData(folder / f"{OnnxWalk.file}.data") as data:
        emitter = plan.emitter(data)
        walk(architecture, checkpoint, plan.scheme, (emitter, reference), progress.advance)
    producer = f"{PRODUCER} {version(PRODUCER)}"
    graph = emitter.save(folder, producer)
    copy_files(checkpoint.files, folder)
    if plan.target == OnnxPortableEmitter.target:
        write_genai_config(architecture, checkpoint, graph, plan.context, folder)
    progress.stage("hash", folder_size(folder), "bytes")
    return Manifest(
        format_version=FORMAT_VERSION,
        producer=producer,
        model=_model(checkpoint.name, architecture, plan.context),
        graph=graph,
        quantization=Quantization(plan.scheme.linear, plan.scheme.head, BLOCK_SIZE),
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
