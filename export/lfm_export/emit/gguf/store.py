"""The file: its header first, then every tensor at its place as the weights come."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from lfm_edge.bundle import Graph

from ...architecture import Architecture, Linear, Router, SparseMoe, Vector, tensors_of
from ...gguf.blocks import GGUF_TYPES, row_bytes, to_blocks
from ...gguf.names import StoredName, gguf_name
from ...quantize import Scheme
from ...weights import Part, Weights, methods
from ..placed_file import Place, PlacedFile
from ..target import Job
from .keys import add_keys, name_of

__all__ = ["GGUF_FILE", "GgufStore", "open_store"]

GGUF_FILE = "model.gguf"
_ALIGNMENT = 32


@contextlib.contextmanager
def open_store(job: Job) -> Iterator[GgufStore]:
    """What writes the file; it is closed at the end of the block."""
    path = job.folder / GGUF_FILE
    with PlacedFile(path, *_header(job, path)) as file:
        yield GgufStore(job, file)


class GgufStore:
    """Writes `model.gguf`."""

    def __init__(self, job: Job, file: PlacedFile) -> None:
        self._job, self._file = job, file

    def put(self, part: Part, weights: Weights) -> None:
        """Stores one part; an expert goes to its place in the layer's stacks."""
        for name, matrix in weights.matrices.items():
            stored = gguf_name(name)
            self._file.put(stored.name, to_blocks(matrix), stored.expert or 0)
        for name, values in weights.vectors.items():
            self._file.put(gguf_name(name).name, values)
        router = part.description
        if isinstance(router, Router) and router.bias is None:
            self._file.put(_bias_of(router).name, np.zeros(router.num_experts, np.float32))

    def finish(self) -> Graph:
        """The file is whole; llama.cpp knows how to call it."""
        self._file.close()
        return Graph(self._job.target, GGUF_FILE, [], [])


def _bias_of(router: Router) -> StoredName:
    """llama.cpp wants a bias of every router; zeros are none."""
    return gguf_name(router.weight.name.replace("gate.weight", "expert_bias"))


def _header(job: Job, path: Path) -> tuple[bytes, dict[str, Place], int]:
    """All before the weights, where each of them lies, and where they end."""
    writer = GGUFWriter(path, name_of(job.architecture))
    add_keys(writer, job)
    tensors = list(_tensors(job.architecture, job.scheme))
    for tensor in tensors:
        # The writer takes the shape of bytes for a type with blocks.
        blocks = tensor.format != "f32"
        shape = (*tensor.shape[:-1], tensor.row_bytes) if blocks else tensor.shape
        dtype: Any = np.dtype(np.uint8 if blocks else np.float32)
        kind = GGMLQuantizationType[GGUF_TYPES[tensor.format]]
        writer.add_tensor_info(tensor.name, shape, dtype, tensor.nbytes, kind)
    with contextlib.closing(writer):
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
    header = path.read_bytes()
    header += bytes(-len(header) % _ALIGNMENT)
    places, end = {}, len(header)
    for tensor in tensors:
        places[tensor.name] = Place(end, tensor.nbytes, tensor.pieces)
        end += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
    return header, places, end


@dataclass(frozen=True)
class _Tensor:
    """One of the file's tensors; a stack comes in `pieces`, one for each expert."""

    name: str
    shape: tuple[int, ...]
    format: str = "f32"
    pieces: int = 1

    @property
    def row_bytes(self) -> int:
        return row_bytes(self.format, self.shape[-1])

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape[:-1]) * self.row_bytes


def _tensors(architecture: Architecture, scheme: Scheme) -> Iterator[_Tensor]:
    """What the file holds, in order."""
    method = methods(architecture, scheme)
    stacks: dict[str, list[Linear]] = {}
    for tensor in tensors_of(architecture):
        stored = gguf_name(tensor.name)
        if isinstance(tensor, Vector):
            shape = tensor.shape
            yield _Tensor(stored.name, shape if len(shape) < 3 else (shape[0], shape[2]))
        elif stored.expert is None:
            yield _Tensor(stored.name, tensor.shape, method[tensor.name])
        else:
            stacks.setdefault(stored.name, []).append(tensor)
    for name, experts in stacks.items():
        shape = (len(experts), *experts[0].shape)
        yield _Tensor(name, shape, method[experts[0].name], len(experts))
    for layer in architecture.layers:
        feed_forward = layer.feed_forward
        if isinstance(feed_forward, SparseMoe) and feed_forward.router.bias is None:
            router = feed_forward.router
            yield _Tensor(_bias_of(router).name, (router.num_experts,))
