"""The Core ML package: a stateful program with the functions `decode` and `prefill`.

Weights go to `weight.bin` as they come; the program is built when all are there, and refers to them
by place. Both functions share every weight. See docs/coreml.md.
"""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from lfm_edge.bundle import Function, Graph
from numpy.typing import NDArray

from ...architecture import Embedding
from ...weights import Part, Weights
from ..quiet import quiet
from ..target import Job
from .blobs import BlobFile

logging.getLogger("coremltools").setLevel(logging.ERROR)  # it warns that this is no Mac
import coremltools  # noqa: E402
from coremltools.converters.mil.mil import Builder, Program  # noqa: E402

from .function import build_function, table_rows  # noqa: E402
from .hook import weights_from  # noqa: E402
from .moe import FORMS  # noqa: E402
from .pieces import Pieces  # noqa: E402
from .state import StateLayout  # noqa: E402

__all__ = ["PREFILL_TOKENS", "CoreMLStore", "open_store"]

PREFILL_TOKENS = 64
_FILE = "model.mlpackage"
_DATE = "com.github.apple.coremltools.conversion_date"
_FUNCTIONS = (
    Function("decode", "input_ids", "logits", position="position", tokens=1),
    Function(
        "prefill",
        "input_ids",
        "logits",
        position="position",
        valid="valid",
        tokens=PREFILL_TOKENS,
    ),
)


@contextlib.contextmanager
def open_store(job: Job) -> Iterator[CoreMLStore]:
    """What writes the package; its weight file is closed at the end of the block."""
    with BlobFile(job.folder / "weight.bin") as blobs:
        yield CoreMLStore(job, blobs)


class CoreMLStore:
    """Writes `model.mlpackage`; `blobs` becomes its weight file."""

    def __init__(self, job: Job, blobs: BlobFile) -> None:
        self._job, self._blobs = job, blobs
        self._layout = StateLayout(job.architecture, job.context, job.options["conv-state"])
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._moe = FORMS[job.options["moe"]](blobs)

    def put(self, part: Part, weights: Weights) -> None:
        """Stores one part: tables in pieces, experts in their form, the rest as it is."""
        self._vectors.update(weights.vectors)
        if isinstance(part.description, Embedding):
            for name, table in weights.matrices.items():
                first = 0
                for index, rows in enumerate(table_rows(table.shape[0])):
                    self._blobs.add_matrix(f"{name}.{index}", table.rows(first, first + rows))
                    first += rows
        elif part.expert is not None:
            self._moe.put(part, weights)
        else:
            for name, matrix in weights.matrices.items():
                self._blobs.add_matrix(name, matrix)

    def finish(self) -> Graph:
        """Builds both functions, writes the package and says how it is called.

        Two exports are the same to the byte: what coremltools draws or dates is taken out.

        Raises:
            ExportError: the installed coremltools is not the one that this was written for.
        """
        Builder.name_count.clear()  # another program's, if it was left unfinished
        program = Program()
        for function in _FUNCTIONS:
            pieces = Pieces(self._blobs, self._vectors)
            built = build_function(pieces, self._layout, self._moe, function)
            program.add_function(function.name, built)
        program.default_function_name = _FUNCTIONS[0].name
        program.export_as_multifunction = True
        package = self._job.folder / _FILE
        # Its progress bars have nothing to show: no pass of its own runs.
        with weights_from(self._blobs), quiet("stderr"):
            model = coremltools.convert(
                program,
                convert_to="mlprogram",
                minimum_deployment_target=coremltools.target.iOS18,
                compute_precision=coremltools.precision.FLOAT32,  # that is, as the program says
                pass_pipeline=coremltools.PassPipeline.EMPTY,
                skip_model_load=True,
            )
            model.short_description = (
                f"Written by {self._job.producer}; see manifest.json beside the package"
            )
            model.user_defined_metadata.pop(_DATE, None)
            model.save(str(package))
        data = package / "Data/com.apple.CoreML"
        specification = model.get_spec().SerializeToString(deterministic=True)
        (data / "model.mlmodel").write_bytes(specification)
        # coremltools leaves both to their owner alone.
        (data / "model.mlmodel").chmod(0o644)
        (data / "weights").chmod(0o755)
        _name_by_path(package / "Manifest.json")
        self._blobs.close()
        self._blobs.path.rename(data / "weights" / "weight.bin")
        return Graph(self._job.target, _FILE, list(_FUNCTIONS), self._layout.tensors())


def _name_by_path(path: Path) -> None:
    """Replaces the random identifiers of a package's manifest.

    It is written as coremltools does: that writes it again whenever it opens a package.
    """
    manifest = json.loads(path.read_text(encoding="utf-8"))
    items = manifest["itemInfoEntries"]
    names = {old: str(uuid.uuid5(uuid.NAMESPACE_URL, items[old]["path"])).upper() for old in items}
    manifest["itemInfoEntries"] = {names[old]: item for old, item in items.items()}
    manifest["rootModelIdentifier"] = names[manifest["rootModelIdentifier"]]
    path.write_text(json.dumps(manifest, indent=4, sort_keys=True) + "\n", encoding="utf-8")
