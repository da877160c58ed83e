"""`model.safetensors` with the weights as MLX packs them, and `config.json`.

MLX's affine groups give a weight as `scale * q + bias` with unsigned `q`: our value `v` is
`q - 8`, `q - 32` or `q - 128`, so the bias is `-8 * scale`, `-32 * scale` or `-128 * scale`, exact
in float16. Integers follow one another bit by bit, the lowest column in the lowest bits. Source:
mlx-lm, `models/lfm2.py`, `lfm2_moe.py`.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from lfm_edge.bundle import Graph
from lfm_ops.formats import format_named
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

from ...architecture import Architecture, Linear, Vector, tensors_of
from ...errors import ExportError
from ...weights import Part, Weights, methods
from ..matrices import pack
from ..placed_file import Place, PlacedFile
from ..target import Job
from .config import config_of

__all__ = ["MLX_FILE", "MlxStore", "open_store"]

MLX_FILE = "model.safetensors"
_CONFIG = "config.json"
_WEIGHT = ".weight"
_DTYPES = {"F32": 4, "U32": 4, "F16": 2}  # wide ones first in the file: so all are aligned
_EXPERT = re.compile(r"(.+\.feed_forward)\.experts\.(\d+)\.(w[123])\.weight", re.ASCII)
_FEED_FORWARD = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}


@contextlib.contextmanager
def open_store(job: Job) -> Iterator[MlxStore]:
    """What writes the folder; its weight file is closed at the end of the block."""
    layout = _Layout(job)
    with PlacedFile(job.folder / MLX_FILE, *layout.header()) as file:
        yield MlxStore(job, layout, file)


class MlxStore:
    """Writes `model.safetensors` and `config.json`."""

    def __init__(self, job: Job, layout: _Layout, file: PlacedFile) -> None:
        self._job, self._layout, self._file = job, layout, file

    def put(self, part: Part, weights: Weights) -> None:
        """Stores one part; an expert goes to its place in the layer's stacks."""
        del part
        for name, matrix in weights.matrices.items():
            module = self._layout.modules[name]
            for suffix, values in self._tensors(name, matrix).items():
                self._file.put(module.name + suffix, values, module.expert or 0)
        for name, vector in weights.vectors.items():
            stored = self._layout.vectors[name]
            self._file.put(stored.name, vector.astype(_numpy(stored.dtype)))

    def _tensors(self, name: str, matrix: QuantizedTensor) -> dict[str, NDArray[Any]]:
        """The tensors of a matrix, by what follows its module's name."""
        if matrix.scales is None:
            return {_WEIGHT: matrix.values}
        scales = matrix.scales.astype(_numpy(self._layout.modules[name].scales))
        with np.errstate(over="ignore"):
            biases = scales * scales.dtype.type(-(2 ** (matrix.format.bits - 1)))
        if not np.isfinite(biases).all():
            raise ExportError(
                f"--target {self._job.target}: {name} holds weights so large that MLX's float16 "
                "biases cannot; take --quant f32"
            )
        return {_WEIGHT: _packed(matrix), ".scales": scales, ".biases": biases}

    def finish(self) -> Graph:
        """The weights are whole; mlx-lm knows how to call the model."""
        self._file.close()
        config = config_of(self._job, self._layout.formats())
        text = json.dumps(config, indent=2) + "\n"
        (self._job.folder / _CONFIG).write_text(text, encoding="utf-8")
        return Graph(self._job.target, MLX_FILE, [], [])


@dataclass(frozen=True)
class _Module:
    """Of mlx-lm's model: a linear layer, or the stack that an `expert` is one of."""

    name: str
    format: str
    shape: tuple[int, int]
    scales: str
    """The type of its scales and biases."""
    expert: int | None = None
    experts: int = 1

    def tensors(self) -> Iterator[_Stored]:
        """What the file holds of it."""
        rows, columns = self.shape
        stack = () if self.expert is None else (self.experts,)
        if self.format == "f32":
            yield _Stored(self.name + _WEIGHT, "F32", (*stack, rows, columns), self.experts)
            return
        format = format_named(self.format)
        words = columns * format.bits // 32
        groups = (*stack, rows, columns // format.group_size)
        yield _Stored(self.name + _WEIGHT, "U32", (*stack, rows, words), self.experts)
        yield _Stored(self.name + ".scales", self.scales, groups, self.experts)
        yield _Stored(self.name + ".biases", self.scales, groups, self.experts)


@dataclass(frozen=True)
class _Stored:
    """One of the file's tensors; a stack comes in `pieces`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    pieces: int = 1

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * _DTYPES[self.dtype]


class _Layout:
    """Which tensors of the Hub the file holds, how and where.

    Attributes:
        modules: of each matrix, by its name on the Hub.
        vectors: the small tensors, likewise.
    """

    def __init__(self, job: Job) -> None:
        architecture, method = job.architecture, methods(job.architecture, job.scheme)
        half = job.options["activations"] == "f16"
        self.modules: dict[str, _Module] = {}
        self.vectors: dict[str, _Stored] = {}
        experts = _num_experts(architecture)
        for tensor in tensors_of(architecture):
            if isinstance(tensor, Vector):
                self.vectors[tensor.name] = _vector(tensor, half)
            else:
                # What the table gives has the type of its scales, and so has the stream.
                exact = not half and tensor is architecture.embedding.tokens
                scales = "F32" if exact else "F16"
                module = _module(tensor, method[tensor.name], scales, bool(experts))
                stacked = module.expert is not None
                self.modules[tensor.name] = replace(module, experts=experts) if stacked else module

    def formats(self) -> dict[str, str]:
        """Of each module."""
        return {module.name: module.format for module in self.modules.values()}

    def header(self) -> tuple[bytes, dict[str, Place], int]:
        """All before the weights, where each of them lies, and where they end."""
        stacks = {module.name: module for module in self.modules.values()}
        stored = [*self.vectors.values(), *(t for m in stacks.values() for t in m.tensors())]
        stored.sort(key=lambda tensor: -_DTYPES[tensor.dtype])
        entries: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
        end = 0
        for tensor in stored:
            entries[tensor.name] = {
                "dtype": tensor.dtype,
                "shape": tensor.shape,
                "data_offsets": [end, end + tensor.nbytes],
            }
            end += tensor.nbytes
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        header = len(text).to_bytes(8, "little") + text
        places = {
            tensor.name: Place(
                len(header) + entries[tensor.name]["data_offsets"][0], tensor.nbytes, tensor.pieces
            )
            for tensor in stored
        }
        return header, places, len(header) + end


def _num_experts(architecture: Architecture) -> int:
    """Of every layer that has some; 0 where none has."""
    counts = (len(getattr(layer.feed_forward, "experts", ())) for layer in architecture.layers)
    return max(counts, default=0)


def _module(linear: Linear, format: str, scales: str, moe: bool) -> _Module:
    expert = _EXPERT.fullmatch(linear.name)
    if expert:
        name = f"{expert[1]}.switch_mlp.{_FEED_FORWARD[expert[3]]}"
        return _Module(name, format, linear.shape, scales, int(expert[2]))
    prefix, _, last = linear.name.removesuffix(_WEIGHT).rpartition(".")
    # mlx-lm has other names for the dense layers of a mixture of experts.
    last = _FEED_FORWARD.get(last, last) if moe else last
    return _Module(f"{prefix}.{last}", format, linear.shape, scales)


def _vector(vector: Vector, half: bool) -> _Stored:
    """Router and its bias stay float32; convolution taps lie `[hidden, kernel, 1]`."""
    router = vector.name.endswith((".gate.weight", ".expert_bias"))
    shape = vector.shape
    if len(shape) == 3:
        shape = (shape[0], shape[2], shape[1])
    return _Stored(vector.name, "F16" if half and not router else "F32", shape)


def _packed(matrix: QuantizedTensor) -> NDArray[np.uint8]:
    """The integers as bytes `[rows, columns * bits / 8]`; of 6 bits four are three bytes."""
    if matrix.format.bits != 6:
        return pack(matrix)
    unsigned = (matrix.values + np.int8(32)).view(np.uint8)
    a, b, c, d = (unsigned[:, first::4] for first in range(4))
    three = [a | b << 6, b >> 2 | c << 4, c >> 4 | d << 2]
    return np.stack(three, axis=-1).reshape(len(unsigned), -1)


def _numpy(dtype: str) -> Any:
    return {"F32": np.float32, "F16": np.float16}[dtype]
