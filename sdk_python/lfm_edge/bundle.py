"""The bundle: a folder with one graph, its tokenizer files and `manifest.json`.

The types below are the manifest's only definition: `docs/bundle.schema.json` is generated from them
(`make schema`), and every reader in any language is held to that schema.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from .bundle_folder import restore_replaced, stays_within, unlisted_of_graph
from .errors import BundleError, IntegrityError, UnsupportedBundleError
from .file_names import MANIFEST

__all__ = [
    "FORMAT_VERSION",
    "INPUT_ROLES",
    "MANIFEST",
    "MAX_CONTEXT",
    "Bundle",
    "FileEntry",
    "Function",
    "GoldenVectors",
    "Graph",
    "InputRole",
    "Manifest",
    "Model",
    "Quantization",
    "StateTensor",
    "WeightFormat",
    "file_entry",
    "is_bundle_path",
    "manifest_schema",
]

FORMAT_VERSION = "1.0"
MAX_CONTEXT = "max_context"
"""The key under which an ONNX graph's metadata says how many positions it has tables for."""
SMALL_FILE_BYTES = 64 << 20
_MAX_MANIFEST_BYTES = 16 << 20
_CHUNK_BYTES = 4 << 20

Count = Annotated[int, msgspec.Meta(ge=1)]
TokenId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}"
_RELATIVE_PATH = rf"^{_NAME}(/{_NAME}){{0,15}}$"

PlainName = Annotated[str, msgspec.Meta(pattern=f"^{_NAME}$")]
RelativePath = Annotated[str, msgspec.Meta(pattern=_RELATIVE_PATH)]
RecipeKey = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.*-]{1,255}$")]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class Model(msgspec.Struct, frozen=True):
    """The few numbers of the model that a runtime needs."""

    family: str
    name: str
    vocab_size: Count
    hidden_size: Count
    num_hidden_layers: Count
    max_context: Count
    """The most tokens that a session of this bundle may hold."""
    bos_token_id: TokenId | None
    eos_token_ids: list[TokenId]
    pad_token_id: TokenId | None


class StateTensor(msgspec.Struct, frozen=True):
    """One tensor of the state that the graph carries from call to call."""

    name: str
    kind: Literal["key", "value", "scale", "conv"]
    layer: Annotated[int, msgspec.Meta(ge=0)] | None
    """The layer it belongs to, or null for a tensor that stacks those of several."""
    dtype: Literal["float32", "float16", "int8"]
    shape: Annotated[list[Count | Literal["capacity"]], msgspec.Meta(min_length=1)]
    """Sizes in order; `"capacity"` marks the axis that grows with a session's capacity. A cache
    with a `window` may have a number there: it keeps so many of the last positions (`windows`)."""
    input: str | None
    """The graph's input that takes it, or null where the runtime keeps it by its name."""
    output: str | None
    columns: str | None = None
    """Of a conv state, the output of what the run's last tokens would leave in it."""
    window: Count | None = None
    """Positions that attention sees, the token's own among them, or null for all before it."""


class Function(msgspec.Struct, frozen=True):
    """One function of the graph: the ports of its tokens and logits, by their names.

    The ports of the state, the same for every function, are `StateTensor.input` and `output`.
    """

    name: str
    input_ids: str
    """Takes the tokens `[1, S]`."""
    logits: str
    """Gives the last token's logits, `vocab_size` values; or `[1, N, vocab]`, of `logits_at`."""
    attention_mask: str | None = None
    """Takes ones `[1, position + S]`: its length tells where the tokens go."""
    position: str | None = None
    """Takes the first token's place `[1]`, where there is no mask."""
    valid: str | None = None
    """Takes how many of `tokens` count `[1]`, from the first."""
    replayed: str | None = None
    """Takes how many of the first tokens stand in the cache already `[1]`: nothing is appended."""
    replayed_windows: str | None = None
    """As `replayed`, of sliding layers that keep the last positions alone."""
    conv_columns: str | None = None
    """Takes how many columns `StateTensor.columns` are to have `[1]`."""
    logits_at: str | None = None
    """Takes the tokens whose logits are wanted `[N]`: indices into the run, -1 the last."""
    tokens: Count | None = None
    """S, where it is fixed."""


InputRole = Literal[
    "attention_mask",
    "position",
    "valid",
    "replayed",
    "replayed_windows",
    "conv_columns",
    "logits_at",
]
INPUT_ROLES: tuple[InputRole, ...] = get_args(InputRole)
"""The roles of `Function` that a target's graphs may lack."""


class Graph(msgspec.Struct, frozen=True):
    """The graph and how to call it."""

    target: str
    file: PlainName
    """One of the bundle's files, or a folder that holds some of them."""
    functions: list[Function]
    state: list[StateTensor]


class WeightFormat(msgspec.Struct, frozen=True):
    """One way in which matrices are stored."""

    name: str
    bits: Count
    """Of one weight."""
    group_size: Annotated[int, msgspec.Meta(ge=0)]
    """Neighbours along the input axis that share a float16 scale; 0 for floats without scales."""


class Quantization(msgspec.Struct, frozen=True):
    """How the weights are stored."""

    method: str
    """That of the layers; a method has the name of the format that it makes."""
    head: str
    """The method of the token embedding and the LM head."""
    formats: list[WeightFormat]
    """Every format that a matrix of the graph has."""
    layout_version: Count | None = None
    """Of the packed layout, where the graph is one of our operators."""
    calibration_tokens: Count | None = None
    """How many tokens of text the integers of the layers were chosen by, where they were."""
    recipe: dict[RecipeKey, str] | None = None
    """The format of every matrix, by names in which `*` stands for any text; later ones count."""


class GoldenVectors(msgspec.Struct, frozen=True):
    """What an independent reference computes for 32 teacher-forced tokens.

    After token `ids[i]` the graph must give `top_logits[i][j]` at `top_ids[i][j]` (the 8 largest,
    in falling order) and `probe_logits[i][j]` at `probe_ids[j]` (56 fixed ones), each within
    `tolerance`. The argmax counts only where the margin of the first two exceeds twice `tolerance`.
    At most `outliers` positions may miss: rounding may send a token to another expert.
    """

    ids: list[TokenId]
    top_ids: list[list[TokenId]]
    top_logits: list[list[float]]
    probe_ids: list[TokenId]
    probe_logits: list[list[float]]
    tolerance: Annotated[float, msgspec.Meta(gt=0)]
    outliers: Annotated[int, msgspec.Meta(ge=0)] = 0


class FileEntry(msgspec.Struct, frozen=True):
    """Size in bytes and SHA-256 of one file of the bundle."""

    size: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Sha256


class Manifest(msgspec.Struct, frozen=True):
    """`manifest.json`, the table of contents of a bundle."""

    format_version: Annotated[str, msgspec.Meta(pattern=r"^[0-9]+\.[0-9]+$")]
    producer: str
    model: Model
    graph: Graph
    quantization: Quantization
    golden: GoldenVectors
    files: dict[RelativePath, FileEntry]
    """Every file but the manifest, by its path within the bundle's own folder."""


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `manifest.json`."""
    schema = msgspec.json.schema(Manifest)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": MANIFEST} | schema


def is_bundle_path(name: str) -> bool:
    """Whether a bundle's file may have this name: a path of plain names."""
    return re.fullmatch(_RELATIVE_PATH, name) is not None


def file_entry(path: Path, progress: Callable[[int], None] | None = None) -> FileEntry:
    """Size and hash of a file; `progress` receives the bytes read since its last call."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            if progress:
                progress(len(chunk))
    return FileEntry(size, digest.hexdigest())


class Bundle:
    """An opened bundle: its folder and its checked manifest.

    Opening checks the manifest, the size of every file, and the hash of files up to 64 MB;
    `check_hashes` reads the large ones too.

    Raises:
        BundleError: the folder or a file is missing, or the manifest is malformed.
        UnsupportedBundleError: the manifest's format is newer than this version reads.
        IntegrityError: a file's size or hash differs from the manifest.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        restore_replaced(self.folder)
        self.manifest, self.digest = _read_manifest(self.folder)
        """The manifest, and its SHA-256, which stands for the whole bundle."""
        self._check_files()

    @property
    def graph_path(self) -> Path:
        """The graph's file or folder."""
        return self.folder / self.manifest.graph.file

    def read_text(self, name: str) -> str | None:
        """The text of one of the bundle's files, or None where the bundle has no such file."""
        if name not in self.manifest.files:
            return None
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise BundleError(f"{self.folder / name}: not UTF-8 text ({error.reason})") from None

    def check_hashes(self, progress: Callable[[int], None] | None = None) -> None:
        """Hashes every file. `progress` receives the bytes read since its last call.

        Raises:
            IntegrityError: one differs, or the graph has a file that is not listed.
        """
        unlisted = unlisted_of_graph(self.folder, self.graph_path, self.manifest.files)
        if unlisted is not None:
            raise IntegrityError(
                f"{self.folder}: {unlisted} belongs to the graph, but is not listed in {MANIFEST}, "
                "so nothing tells whether it is whole; export the bundle again"
            )
        for name, expected in self.manifest.files.items():
            self._check_hash(name, expected, progress)

    def _check_files(self) -> None:
        for name, expected in self.manifest.files.items():
            path = self.folder / name
            if not stays_within(self.folder, path):
                raise BundleError(f"{path}: links to a place outside the bundle")
            if not path.is_file():
                raise BundleError(f"{self.folder}: {name} is listed in {MANIFEST} but missing")
            size = path.stat().st_size
            if size != expected.size:
                raise IntegrityError(
                    f"{path}: {size:,} bytes, but {MANIFEST} says {expected.size:,}; "
                    "copy or export the bundle again"
                )
            if size <= SMALL_FILE_BYTES:
                self._check_hash(name, expected, None)

    def _check_hash(
        self, name: str, expected: FileEntry, progress: Callable[[int], None] | None
    ) -> None:
        actual = file_entry(self.folder / name, progress).sha256
        if actual != expected.sha256:
            raise IntegrityError(
                f"{self.folder / name}: SHA-256 {actual[:12]}..., but {MANIFEST} says "
                f"{expected.sha256[:12]}...; the file was changed or damaged"
            )


def _read_manifest(folder: Path) -> tuple[Manifest, str]:
    path = folder / MANIFEST
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "no such folder"
        raise BundleError(f"{folder}: {found}; expected a bundle written by lfm-edge export")
    if not path.is_file():
        raise BundleError(f"{folder}: no {MANIFEST}, so this is not a (complete) bundle")
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise BundleError(f"{path}: larger than {_MAX_MANIFEST_BYTES >> 20} MB, not a manifest")
    data = path.read_bytes()
    try:
        _check_outline(path, data)
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BundleError(f"{path}: {error}") from None
    _check_graph_file(path, manifest)
    _check_names(path, manifest.graph)
    _check_golden(path, manifest)
    return manifest, hashlib.sha256(data).hexdigest()


class _Outline(msgspec.Struct):
    format_version: str
    files: dict[str, msgspec.Raw] = {}


def _check_outline(path: Path, data: bytes) -> None:
    """Reads the version first: a newer manifest may differ in everything else.

    File names come next, for an error that shows the name.
    """
    outline = msgspec.json.decode(data, type=_Outline)
    version = outline.format_version
    if not re.fullmatch(r"[0-9]{1,6}\.[0-9]{1,6}", version):
        raise BundleError(f"{path}: format_version {version!r}, expected one like {FORMAT_VERSION}")
    major, ours = (int(text.split(".")[0]) for text in (version, FORMAT_VERSION))
    if major != ours:
        raise UnsupportedBundleError(
            f"{path}: bundle format {version}, but this version of lfm-edge reads {ours}.x; "
            + ("update lfm-edge" if major > ours else "export the bundle again")
        )
    for name in outline.files:
        if not is_bundle_path(name):
            raise BundleError(
                f"{path}: {name!r} in files is not a path of plain names; a bundle's files lie in "
                "its own folder"
            )


def _check_graph_file(path: Path, manifest: Manifest) -> None:
    graph = manifest.graph.file
    if not any(name == graph or name.startswith(f"{graph}/") for name in manifest.files):
        raise BundleError(f"{path}: graph file {graph} is not listed in files")


def _check_names(path: Path, graph: Graph) -> None:
    """Refuses a name for two things: whoever reads it would silently take one for both."""
    state = graph.state
    named: dict[str, list[str | None]] = {
        "functions": [ports.name for ports in graph.functions],
        "state": [tensor.name for tensor in state],
    }
    for f in graph.functions:
        counts = (getattr(f, role) for role in INPUT_ROLES)
        named[f"inputs of {f.name}"] = [f.input_ids, *counts, *(t.input for t in state)]
        outputs = (name for t in state for name in (t.output, t.columns))
        named[f"outputs of {f.name}"] = [f.logits, *outputs]
    for what, names in named.items():
        for name, count in Counter(names).items():
            if name is not None and count > 1:
                raise BundleError(f"{path}: {what}: {name!r} stands for {count} of them")


def _check_golden(path: Path, manifest: Manifest) -> None:
    golden, vocab = manifest.golden, manifest.model.vocab_size
    rows, probes = len(golden.ids), len(golden.probe_ids)
    tops = len(golden.top_ids[0]) if golden.top_ids else 0
    shapes = [
        (len(golden.top_ids), {len(row) for row in golden.top_ids}, tops),
        (len(golden.top_logits), {len(row) for row in golden.top_logits}, tops),
        (len(golden.probe_logits), {len(row) for row in golden.probe_logits}, probes),
    ]
    if any(count != rows or widths != {width} for count, widths, width in shapes):
        raise BundleError(f"{path}: golden vectors do not fit together ({rows} ids)")
    if (
        rows == 0
        or tops == 0
        or any(i >= vocab for row in (golden.ids, golden.probe_ids, *golden.top_ids) for i in row)
    ):
        raise BundleError(f"{path}: golden vectors are empty or name a token outside {vocab} ids")
