"""One export from end to end: a checkpoint in, a bundle out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from lfm_edge.bundle import FORMAT_VERSION, Bundle, Manifest, Model, Quantization, WeightFormat
from lfm_edge.progress import Progress, Quiet

from .architecture import Architecture
from .auto import AUTO, Budget, choose_formats, fewest_bits
from .calibrate import OWN, Calibration, calibrate, calibration_text, kept_text, own_text
from .checkpoint import Checkpoint
from .cluster import Cluster
from .companions import Companions, read_companions
from .device import add_device_file
from .emit import TARGETS, Job, Target
from .errors import ExportError, WorkersLostError
from .golden_text import golden_ids
from .kept import keep_integers
from .loading import architecture_of
from .notes import Note, short
from .quantize import Scheme
from .recipe import formats_of, linears_of, read_recipe, recipe_of, scheme_of
from .reference import golden_vectors
from .walk import (
    BEFORE,
    Sequences,
    TextReader,
    WalkFolder,
    check_state_folder,
    checkpoint_identity,
)
from .weights import WeightStream, check_widths
from .workers import Threads, Workers
from .writer import bundle_folder, describe_files, folder_size, write_manifest

__all__ = ["ExportOptions", "export_bundle"]

PRODUCER = "lfm-edge"


@dataclass(frozen=True)
class ExportOptions:
    """What the user chose."""

    target: str = next(iter(TARGETS))
    quant: str | None = None
    """The method of the layers, q4 where nothing else says it; or `auto`."""
    head: str | None = None
    """The method of the embedding and the LM head, if not the usual one of `quant`."""
    context: int | None = None
    """The most tokens that a session may hold, if not the target's usual number."""
    own: Mapping[str, str] = field(default_factory=dict)
    """Options of the target's own, by name."""
    calibrate: Path | None = None
    """A text, or chats, by which the integers are chosen; `OWN`: what the model writes itself."""
    bits: float | None = None
    """With `auto`: of a weight of the layers."""
    size: str | None = None
    """With `auto`, instead of `bits`: of all weights, such as 4.8GB."""
    recipe: Path | None = None
    """A file that says the format of every matrix, instead of `quant` and `head`."""
    state: Path | None = None
    """Keeps the calibration for further exports; by default it is removed once `out` is whole."""
    ray: str | None = None
    """The address of a Ray cluster whose workers share the calibration."""


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
    if options.target not in TARGETS:
        raise ExportError(f"--target {options.target}: expected {' or '.join(TARGETS)}")
    target = TARGETS[options.target]
    note = short(progress.note)
    architecture = architecture_of(checkpoint, note)
    budget = _budget(options)
    scheme = _scheme(options, architecture, checkpoint)
    scheme = keep_integers(scheme, architecture, checkpoint, note)
    own = target.choose(options.own, architecture, scheme)
    context = _context(options.context, target, architecture)
    check_widths(architecture, scheme)
    companions = read_companions(checkpoint, architecture, note)
    text = _calibration_text(options, checkpoint, architecture, scheme, companions, note)
    with (
        bundle_folder(out) as folder,
        _state_folder(options, folder, note) as state,
        _workers(options, note) as workers,
    ):
        if options.calibrate == OWN:
            text = _own_text(checkpoint, architecture, options, folder, state, progress)
        if budget is not None:
            formats = choose_formats(
                checkpoint, architecture, budget, text, state / BEFORE, progress
            )
            scheme = scheme_of(formats, architecture)
            target.check(architecture, scheme)
        for name, held in target.holds_as.items():
            if any(format.name == name for format in scheme.formats):
                note(f"--target {target.name} holds {name} as {held}: the same, but more bytes")
        job = Job(
            options.target,
            architecture,
            scheme,
            context,
            own,
            companions,
            folder,
            checkpoint.name,
            f"{PRODUCER} {version(PRODUCER)}",
            note,
        )
        with _calibration(text, checkpoint, job, state, progress, workers) as calibration:
            write_manifest(_write(checkpoint, target, job, calibration, progress), folder)
        bundle = Bundle(folder)  # before it takes the place of one that opens
        if target.on_devices:
            add_device_file(bundle, note)
    return Bundle(out.resolve() if ".." in out.parts else out)  # x/../y may lack x


def _budget(options: ExportOptions) -> Budget | None:
    if options.quant == AUTO:
        return Budget(options.bits, options.size)
    for name, given in (("bits", options.bits), ("size", options.size)):
        if given is not None:
            raise ExportError(f"--{name} {given}: goes with --quant {AUTO}")
    return None


def _scheme(options: ExportOptions, architecture: Architecture, checkpoint: Checkpoint) -> Scheme:
    """What was asked for; of `auto`, what it begins with."""
    if options.recipe is not None:
        for name, given in (("quant", options.quant), ("head", options.head)):
            if given is not None:
                raise ExportError(f"--{name} {given}: --recipe says the format of every matrix")
        recipe = read_recipe(options.recipe)
        formats = formats_of(recipe, architecture, f"--recipe {options.recipe}")
        return scheme_of(formats, architecture)
    if options.quant != AUTO:
        quant = "q4" if options.quant is None else options.quant
        return Scheme.choose(quant, options.head)
    if options.head is not None:
        raise ExportError(f"--head {options.head}: --quant {AUTO} chooses the head's format, too")
    for linear in linears_of(architecture):
        if checkpoint.stored_format(linear.name) is not None:
            raise ExportError(
                f"--quant {AUTO}: {linear.name} is integers already, which are kept as they are; "
                "take a checkpoint of floats"
            )
    return scheme_of(fewest_bits(architecture), architecture)


def _context(asked: int | None, target: Target, architecture: Architecture) -> int:
    most = architecture.max_context
    if asked is None:
        return min(most, target.usual_context or most)
    if not 1 <= asked <= most:
        raise ExportError(f"--context {asked}: this model holds 1 to {most}")
    return asked


def _calibration_text(
    options: ExportOptions,
    checkpoint: Checkpoint,
    architecture: Architecture,
    scheme: Scheme,
    companions: Companions,
    note: Note,
) -> Sequences | None:
    """What the model reads to be calibrated, found wrong before anything is written."""
    if options.calibrate is None:
        for name, given in (("state", options.state), ("ray", options.ray)):
            if given is not None:
                raise ExportError(f"--{name} {given}: goes with --calibrate TEXT")
        return None
    if not any(format.group_size for format in scheme.formats):
        raise ExportError("--calibrate: --quant f32 rounds nothing; take q8, q6, q4 or q4_64")
    if options.calibrate == OWN:
        return None  # it is written later
    reader = TextReader.of_checkpoint(checkpoint.name, companions, architecture.vocab_size)
    return calibration_text(options.calibrate, reader, architecture.max_context, note)


def _own_text(
    checkpoint: Checkpoint,
    architecture: Architecture,
    options: ExportOptions,
    folder: Path,
    state: Path,
    progress: Progress,
) -> Sequences:
    """What the model writes, as a bundle of the same formats, not calibrated yet."""
    identity = checkpoint_identity(checkpoint, architecture)
    found = kept_text(state, identity)
    if found is not None:
        return found
    plain = ExportOptions(
        quant=None if options.quant == AUTO else options.quant,
        head=options.head,
        recipe=options.recipe,
    )
    with TemporaryDirectory(dir=folder) as place:
        bundle = export_bundle(checkpoint, Path(place) / "bundle", plain, _WithoutNotes(progress))
        return own_text(bundle, architecture.bos_token_id, state, identity, progress)


class _WithoutNotes:
    """Leaves out what the export around it says as well."""

    def __init__(self, progress: Progress) -> None:
        self.stage, self.advance = progress.stage, progress.advance

    def note(self, text: str) -> None:
        """Ignores it."""


@contextmanager
def _state_folder(options: ExportOptions, folder: Path, note: Note) -> Iterator[Path]:
    """What a killed export found is there for the next one; a whole bundle needs none beside it.

    What one found that the disk or the cluster stopped is there, too; nothing of a refused one.
    """
    beside = folder.with_suffix(".calibration")  # .OUT.calibration, of .OUT.partial-N
    state, used = options.state or beside, options.calibrate or options.quant == AUTO
    if used:
        check_state_folder(state)
    try:
        yield state
    except Exception as error:
        if used and state == beside:
            goes_on = isinstance(error, (OSError, WorkersLostError))
            if goes_on and WalkFolder.holds_results(beside):
                note(f"{beside}: keeps what was calibrated, for the same export to go on with")
            else:
                WalkFolder.remove(beside)
        raise
    WalkFolder.remove(beside)


@contextmanager
def _workers(options: ExportOptions, note: Note) -> Iterator[Workers]:
    """Who shares the calibration, found unreachable before any work is done."""
    if options.ray is None:
        yield Threads()
        return
    with Cluster.open(options.ray, 1, note) as cluster:
        yield cluster


@contextmanager
def _calibration(
    text: Sequences | None,
    checkpoint: Checkpoint,
    job: Job,
    state: Path,
    progress: Progress,
    workers: Workers,
) -> Iterator[Calibration | None]:
    """The calibrated matrices, where there is a text."""
    if text is None:
        yield None
        return
    with calibrate(
        checkpoint, job.architecture, job.scheme, text, state, progress, workers
    ) as calibration:
        yield calibration


def _write(
    checkpoint: Checkpoint,
    target: Target,
    job: Job,
    calibration: Calibration | None,
    progress: Progress,
) -> Manifest:
    architecture, scheme = job.architecture, job.scheme
    tokenizer = job.companions.tokenizer
    ids = golden_ids(tokenizer, architecture.vocab_size, architecture.bos_token_id)
    with target.open(job) as store:
        progress.stage("quantize", architecture.num_parameters(), "weights")
        with WeightStream(
            architecture, checkpoint, scheme, store.put, progress.advance, calibration
        ) as weights:
            golden = golden_vectors(architecture, weights, ids, target.numerics(job.options))
        graph = store.finish()
    job.companions.write(job.folder)
    progress.stage("hash", folder_size(job.folder), "bytes")
    return Manifest(
        format_version=FORMAT_VERSION,
        producer=job.producer,
        model=_model(checkpoint.name, job),
        graph=graph,
        quantization=_quantization(job, target, calibration),
        golden=golden,
        files=describe_files(job.folder, progress.advance),
    )


def _quantization(job: Job, target: Target, calibration: Calibration | None) -> Quantization:
    scheme = job.scheme
    return Quantization(
        method=scheme.linear,
        head=scheme.head,
        formats=[WeightFormat(f.name, f.bits, f.group_size) for f in scheme.formats],
        layout_version=target.layout_version,
        calibration_tokens=None if calibration is None else calibration.tokens,
        recipe=recipe_of(scheme, job.architecture),
    )


def _model(name: str, job: Job) -> Model:
    architecture, companions = job.architecture, job.companions
    return Model(
        family=architecture.family,
        name=name,
        vocab_size=architecture.vocab_size,
        hidden_size=architecture.hidden_size,
        num_hidden_layers=len(architecture.layers),
        max_context=job.context,
        bos_token_id=architecture.bos_token_id,
        eos_token_ids=list(companions.eos_token_ids),
        pad_token_id=companions.pad_token_id,
    )
