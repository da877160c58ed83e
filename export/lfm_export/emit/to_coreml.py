"""The Core ML package: a stateful program with the functions `decode` and `prefill`.

Weights go to `weight.bin` as they come; the program is built when all are there, and refers to them
by place. Both functions share every weight. See docs/coreml.md.
"""

from __future__ import annotations

import json
import logging
import uuid
from pathlib import Path

import numpy as np
from lfm_edge.bundle import Graph
from numpy.typing import NDArray

from ..architecture import Architecture, Embedding, Layer, Mlp, Norm, SparseMoe
from ..weights import Consumer, Weights
from ._coreml_blobs import BlobFile

logging.getLogger("coremltools").setLevel(logging.ERROR)  # it warns that this is no Mac
import coremltools  # noqa: E402
from coremltools.converters.mil.mil import Builder, Program  # noqa: E402

from ._coreml_function import build_function, table_rows  # noqa: E402
from ._coreml_hook import weights_from  # noqa: E402
from ._coreml_moe import FORMS  # noqa: E402
from ._coreml_ops import Ops  # noqa: E402
from ._coreml_state import StateLayout  # noqa: E402
from ._quiet import quiet  # noqa: E402

__all__ = ["PREFILL_TOKENS", "CoreMLEmitter"]

PREFILL_TOKENS = 64
_DATE = "com.github.apple.coremltools.conversion_date"
_FUNCTIONS = {"decode": 1, "prefill": PREFILL_TOKENS}


class CoreMLEmitter(Consumer):
    """A consumer of the walk that writes `model.mlpackage`."""

    target = "coreml"
    file = "model.mlpackage"

    _layer: Layer

    def __init__(
        self, architecture: Architecture, context: int, blobs: BlobFile, moe: str, conv_state: str
    ) -> None:
        """`blobs` becomes the package's weight file; `moe` is one of `FORMS`."""
        self._layout = StateLayout(architecture, context, conv_state)
        self._blobs = blobs
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._moe = FORMS[moe](blobs)

    def embedding(self, part: Embedding, weights: Weights) -> None:
        """Stores the table and, where it is not tied, the head, in pieces."""
        for table in (part.tokens, *([part.head] if part.head else [])):
            first = 0
            for index, rows in enumerate(table_rows(table.rows)):
                piece = weights.matrix(table).rows(first, first + rows)
                self._blobs.add_matrix(f"{table.name}.{index}", piece)
                first += rows

    def operator(self, layer: Layer, weights: Weights) -> None:
        """Stores attention or convolution."""
        del layer
        self._store(weights)

    def mlp(self, layer: Layer, part: Mlp, weights: Weights) -> None:
        """Stores a dense feed-forward."""
        del layer, part
        self._store(weights)

    def router(self, layer: Layer, part: SparseMoe, weights: Weights) -> None:
        """Stores the router."""
        self._layer = layer
        del part
        self._store(weights)

    def expert(self, index: int, part: Mlp, weights: Weights) -> None:
        """Stores one expert."""
        self._moe.store(self._layer, index, part, weights)

    def end_of_experts(self) -> None:
        """Nothing is left to do: experts were stored as they came."""

    def final_norm(self, part: Norm, weights: Weights) -> None:
        """Stores the last norm."""
        del part
        self._store(weights)

    def save(self, folder: Path, producer: str) -> Graph:
        """Builds both functions, writes the package and says how it is called.

        Two exports are the same to the byte: what coremltools draws or dates is taken out.

        Raises:
            ExportError: the installed coremltools is not the one that this was written for.
        """
        Builder.name_count.clear()  # another program's, if it was left unfinished
        program = Program()
        for name, tokens in _FUNCTIONS.items():
            ops = Ops(self._blobs, self._vectors)
            program.add_function(name, build_function(ops, self._layout, self._moe, tokens))
        program.default_function_name = next(iter(_FUNCTIONS))
        program.export_as_multifunction = True
        package = folder / self.file
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
            model.short_description = f"Written by {producer}; see manifest.json beside the package"
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
        return Graph(self.target, self.file, list(_FUNCTIONS), self._layout.tensors())

    def _store(self, weights: Weights) -> None:
        self._vectors.update(weights.vectors)
        for name, matrix in weights.matrices.items():
            self._blobs.add_matrix(name, matrix)


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
