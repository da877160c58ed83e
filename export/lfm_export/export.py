"""One export from end to end: a checkpoint in, a bundle out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from lfm_edge.bundle import FORMAT_VERSION, Bundle, Graph, Manifest, Model, Quantization
from lfm_ops import reference as ops
from lfm_ops.quantized import BLOCK_SIZE

from .architecture import Architecture
from .checkpoint import Checkpoint
from .companions import Companions, read_companions
from .emit._coreml_blobs import BlobFile
from .emit._limits import check_onnx
from .emit._onnx import OnnxWalk, StateType
from .emit.external_data import ExternalData
from .emit.genai import write_genai_config
from .emit.to_onnx import OnnxEmitter
from .emit.to_onnx_portable import OnnxPortableEmitter
from .errors import ExportError
from .golden_text import golden_ids
from .loading import architecture_of
from .quantize import Scheme
from .reference import GoldenReference
from .weights import Consumer, walk
from .writer import bundle_folder, describe_files, folder_size, write_manifest

__all__ = ["ExportOptions", "Progress", "export_bundle"]

COREML = "coreml"
COREAI = "coreai"
TARGETS = ("onnx", "onnx-portable", COREML, COREAI)
MOE_FORMS = ("wide", "gather", "gatherq")
CONV_STATES = ("io", "state")
KV_TYPES: dict[ops.KvType, StateType] = {"f32": "float32", "f16": "float16", "int8": "int8"}
PRODUCER = "lfm-edge"

_FIXED_CONTEXT = 4096  # by default: Apple's formats allocate the whole cache at once
_SUM_DISTURBANCE = 1e-6  # what another order of sums does; int8 rounding amplifies it
_FLOAT16_ROUNDING = 2.0**-11
_FLOAT16_DISTURBANCE = 2 * _FLOAT16_ROUNDING  # a part rounds several times


@dataclass(frozen=True)
class ExportOptions:
    """What the user chose; `context` is the most that a session may hold."""

    target: str = "onnx"
    quant: str = "q4"
    head: str | None = None
    kv: ops.KvType | None = None
    context: int | None = None
    moe: str | None = None
    conv_state: str | None = None


class Progress(Protocol):
    """Hears how far a long piece of work is."""

    def stage(self, name: str, total: int, unit: str) -> None:
        """A stage begins: `total` weights or bytes are to come."""

    def advance(self, amount: int) -> None:
        """That many more are done."""

    def note(self, text: str) -> None:
        """Something of the checkpoint is passed over or changed; one line that says what."""


class Quiet:
    """A progress that nobody watches."""

    def stage(self, name: str, total: int, unit: str) -> None:
        """Ignores it."""

    def advance(self, amount: int) -> None:
        """Ignores it."""

    def note(self, text: str) -> None:
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
        CheckpointError: a tensor is missing, too many, misshapen or unreadable, or a file beside
            the weights is malformed.
    """
    options, progress = options or ExportOptions(), progress or Quiet()
    plan = _Plan.make(options, architecture_of(checkpoint, progress.note))
    companions = read_companions(checkpoint, plan.architecture, progress.note)
    with bundle_folder(out) as folder:
        write_manifest(_write_graph(checkpoint, companions, plan, folder, progress), folder)
        Bundle(folder)  # before it takes the place of one that opens
    return Bundle(out)


@dataclass(frozen=True)
class _Plan:
    """The options, checked against each other and against the model."""

    target: str
    architecture: Architecture
    scheme: Scheme
    context: int
    kv: ops.KvType
    moe: str
    conv_state: str

    @classmethod
    def make(cls, options: ExportOptions, architecture: Architecture) -> _Plan:
        if options.target not in TARGETS:
            raise ExportError(f"--target {options.target}: expected {' or '.join(TARGETS)}")
        scheme = Scheme.choose(options.quant, options.head)
        if options.target not in {COREML, COREAI}:
            check_onnx(architecture, options.target)
        context = _context(options, architecture)
        coreml = _coreml_options(options)
        if options.target == COREML:
            return cls(options.target, architecture, scheme, context, "f16", *coreml)
        if options.target == COREAI:
            with warnings.catch_warnings():
                # Of a torch that it takes for a newer one, when it is the very one, built for CPUs.
                warnings.filterwarnings("ignore", "coreai-torch has only been validated")
                # Imported here, as in `emitter`: only this target needs torch.
                from .emit.to_coreai import check_size  # noqa: PLC0415

            check_size(architecture, scheme)
        allowed = _kv_types(options.target)
        kv = options.kv or ("f16" if "f16" in allowed and scheme.linear != "f32" else "f32")
        if kv not in allowed:
            raise ExportError(
                f"--kv {kv}: with --target {options.target} expected {' or '.join(allowed)}"
            )
        return cls(options.target, architecture, scheme, context, kv, *coreml)

    @contextmanager
    def emitter(self, folder: Path) -> Iterator[Emitter]:
        """What writes the target's graph to `folder`."""
        if self.target == COREML:
            # Imported here: only this target needs coremltools.
            from .emit.to_coreml import CoreMLEmitter  # noqa: PLC0415

            with BlobFile(folder / "weight.bin") as blobs:
                yield CoreMLEmitter(
                    self.architecture, self.context, blobs, self.moe, self.conv_state
                )
            return
        if self.target == COREAI:
            from .emit.to_coreai import CoreAIEmitter  # noqa: PLC0415

            yield CoreAIEmitter(self.architecture, self.context, KV_TYPES[self.kv])
            return
        with ExternalData(folder / f"{OnnxWalk.file}.data") as data:
            if self.target == OnnxPortableEmitter.target:
                yield OnnxPortableEmitter(self.architecture, self.context, data)
            else:
                yield OnnxEmitter(self.architecture, self.context, data, KV_TYPES[self.kv])

    def reference(self, ids: list[int]) -> GoldenReference:
        """What computes the golden vectors as the target's kernels would."""
        vocab = self.architecture.vocab_size
        if self.target == COREML:
            rounding = (_FLOAT16_DISTURBANCE, _FLOAT16_ROUNDING)
            return GoldenReference(ids, vocab, ops.matmul_float32, self.kv, *rounding)
        if self.target == COREAI:
            return GoldenReference(ids, vocab, ops.matmul_float32, self.kv, _SUM_DISTURBANCE)
        return GoldenReference(ids, vocab, ops.matmul_int8, self.kv, _SUM_DISTURBANCE)


class Emitter(Consumer, Protocol):
    """A consumer of the walk that writes a graph."""

    def save(self, folder: Path, producer: str) -> Graph:
        """Writes the graph when all weights have come, and says how it is called."""


def _write_graph(
    checkpoint: Checkpoint, companions: Companions, plan: _Plan, folder: Path, progress: Progress
) -> Manifest:
    architecture, vocab = plan.architecture, plan.architecture.vocab_size
    ids = golden_ids(companions.tokenizer, vocab, architecture.bos_token_id)
    reference = plan.reference(ids)
    producer = f"{PRODUCER} {version(PRODUCER)}"
    with plan.emitter(folder) as emitter:
        progress.stage("quantize", architecture.num_parameters(), "weights")
        walk(architecture, checkpoint, plan.scheme, (emitter, reference), progress.advance)
        graph = emitter.save(folder, producer)
    companions.write(folder)
    if plan.target == OnnxPortableEmitter.target:
        write_genai_config(architecture, companions, graph, plan.context, folder, progress.note)
    progress.stage("hash", folder_size(folder), "bytes")
    return Manifest(
        format_version=FORMAT_VERSION,
        producer=producer,
        model=_model(checkpoint.name, architecture, companions, plan.context),
        graph=graph,
        quantization=Quantization(plan.scheme.linear, plan.scheme.head, BLOCK_SIZE),
        golden=reference.golden(),
        files=describe_files(folder, progress.advance),
    )


def _model(name: str, architecture: Architecture, companions: Companions, context: int) -> Model:
    return Model(
        family=architecture.family,
        name=name,
        vocab_size=architecture.vocab_size,
        hidden_size=architecture.hidden_size,
        num_hidden_layers=len(architecture.layers),
        max_context=context,
        bos_token_id=architecture.bos_token_id,
        eos_token_ids=list(companions.eos_token_ids),
        pad_token_id=companions.pad_token_id,
    )


def _context(options: ExportOptions, architecture: Architecture) -> int:
    asked, most = options.context, architecture.max_context
    if asked is None:
        return min(most, _FIXED_CONTEXT) if options.target in {COREML, COREAI} else most
    if not 1 <= asked <= most:
        raise ExportError(f"--context {asked}: this model holds 1 to {most}")
    return asked


def _kv_types(target: str) -> list[ops.KvType]:
    """What a target's cache may be."""
    if target == OnnxPortableEmitter.target:
        return ["f32"]
    return ["f32", "f16"] if target == COREAI else list(KV_TYPES)


def _coreml_options(options: ExportOptions) -> tuple[str, str]:
    """The MoE form and the conv state, once every option goes with the target."""
    coreml = {"--moe": (options.moe, MOE_FORMS), "--conv-state": (options.conv_state, CONV_STATES)}
    if options.target == COREML:
        if options.kv is not None:
            raise ExportError(f"--kv {options.kv}: with --target {COREML} the cache is float16")
        if options.quant == "f32":
            raise ExportError(f"--quant f32: with --target {COREML} expected q8 or q4")
    for name, (value, allowed) in coreml.items():
        if value is not None and options.target != COREML:
            raise ExportError(f"{name} {value}: only for --target {COREML}")
        if value is not None and value not in allowed:
            raise ExportError(f"{name} {value}: expected {' or '.join(allowed)}")
    return options.moe or MOE_FORMS[0], options.conv_state or CONV_STATES[0]
