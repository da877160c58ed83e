"""A model's weights as they stream by: read, quantized once, stored, and gone.

They come in parts, in the order in which `decoder.py` meets them. While one is stored and used, the
next are read and quantized. Nothing here holds the model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from lfm_ops.formats import format_named
from lfm_ops.quantized import QuantizedTensor, stack_rows
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from .architecture import (
    Architecture,
    Attention,
    Embedding,
    Layer,
    Linear,
    Mlp,
    Norm,
    Router,
    ShortConv,
    Vector,
    tensors_of,
)
from .checkpoint import Checkpoint
from .quantize import (
    METHODS,
    Scheme,
    UnfitWeightError,
    check_fit,
    check_integers,
    check_width,
)

__all__ = ["Calibrated", "Part", "WeightStream", "Weights", "check_widths", "methods"]

Array = NDArray[np.float32]

_ROWS_BYTES = 64 << 20  # float32 bytes of a large tensor that are in memory at once
_AHEAD = 3  # parts that are read while one is being used


class Calibrated(Protocol):
    """Who has matrices that are quantized already."""

    def matrix(self, linear: Linear) -> QuantizedTensor | None:
        """One of them, or None where it has not been; raises ExportError where it was lost."""
        ...


@dataclass(frozen=True)
class Part:
    """What is read, quantized and stored at once, with the norms before and within it."""

    description: Embedding | Attention | ShortConv | Mlp | Router | Norm
    layer: Layer | None = None
    """The layer it belongs to; none for the embedding and the norm at the end."""
    expert: int | None = None
    """Its place among the layer's experts, where it is one."""
    linears: tuple[tuple[Linear, str], ...] = ()
    """Matrices, each with the method of its quantization."""
    vectors: tuple[Vector, ...] = ()


@dataclass(frozen=True)
class Weights:
    """The tensors of one part, by name."""

    matrices: Mapping[str, QuantizedTensor]
    vectors: Mapping[str, Array]

    @property
    def size(self) -> int:
        """The number of weights."""
        matrices = sum(matrix.values.size for matrix in self.matrices.values())
        return matrices + sum(vector.size for vector in self.vectors.values())

    def matrix(self, linear: Linear) -> QuantizedTensor:
        """A linear layer's weight, quantized."""
        return self.matrices[linear.name]


def check_widths(architecture: Architecture, scheme: Scheme) -> None:
    """Holds every matrix to what its method takes.

    Raises:
        ExportError: names the first whose width it does not take.
    """
    for part in _parts(architecture, scheme):
        for linear, method in part.linears:
            check_width(method, linear.name, linear.columns)


def methods(architecture: Architecture, scheme: Scheme) -> dict[str, str]:
    """Each matrix's method, by its name."""
    return {
        linear.name: method
        for part in _parts(architecture, scheme)
        for linear, method in part.linears
    }


class WeightStream:
    """All weights of a model, once, in order; to be used in a `with` block.

    Who asks for a tensor moves the stream on to its part; every part that comes is handed to
    `store`, and only the last one can be asked for.
    """

    def __init__(
        self,
        architecture: Architecture,
        checkpoint: Checkpoint,
        scheme: Scheme,
        store: Callable[[Part, Weights], None],
        progress: Callable[[int], None],
        calibration: Calibrated | None = None,
    ) -> None:
        """`progress` receives the number of weights that have come since its last call.

        What `calibration` has is taken from there instead of being quantized.
        """
        self._store, self._progress = store, progress
        self._parts = _read_ahead(_parts(architecture, scheme), checkpoint, calibration)
        self._current = Weights({}, {})
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        # One thread for NumPy's products: two quantize beside them, and sums keep their order.
        self._cleanup.enter_context(threadpool_limits(1, "blas"))
        self._cleanup.callback(self._parts.close)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def matrix(self, linear: Linear) -> QuantizedTensor:
        """A linear layer's weight, quantized.

        Raises:
            CheckpointError: a tensor cannot be read, or holds no finite numbers.
            LookupError: it went by, or is not of this model.
        """
        while linear.name not in self._current.matrices:
            self._advance(linear.name)
        return self._current.matrices[linear.name]

    def vector(self, vector: Vector) -> Array:
        """A small tensor in float32. Raises what `matrix` raises."""
        while vector.name not in self._current.vectors:
            self._advance(vector.name)
        return self._current.vectors[vector.name]

    def optional(self, vector: Vector | None) -> Array | None:
        """The same for one that the model may not have."""
        return None if vector is None else self.vector(vector)

    def _advance(self, wanted: str) -> None:
        part, self._current = next(self._parts, (None, self._current))
        if part is None:
            raise LookupError(f"{wanted} is not among the weights that are still to come")
        self._store(part, self._current)
        self._progress(self._current.size)


def _parts(architecture: Architecture, scheme: Scheme) -> Iterator[Part]:
    yield _part(architecture.embedding, scheme, scheme.head)
    for layer in architecture.layers:
        before, behind = _halves(layer)
        yield _part(layer.operator, scheme, scheme.linear, layer, with_it=before)
        if isinstance(layer.feed_forward, Mlp):
            yield _part(layer.feed_forward, scheme, scheme.linear, layer, with_it=behind)
            continue
        yield _part(layer.feed_forward.router, scheme, scheme.linear, layer, with_it=behind)
        for index, expert in enumerate(layer.feed_forward.experts):
            yield _part(expert, scheme, scheme.linear, layer, index)
    yield _part(architecture.final_norm, scheme, scheme.linear)


def _halves(layer: Layer) -> tuple[list[object], list[object]]:
    """What comes with a layer's operator, and what with its feed-forward: norms.

    The fields of a layer stand in the order in which they are used.
    """
    names = [field.name for field in fields(layer)]
    cut = names.index("ffn_norm")
    own = {"operator", "feed_forward"}
    before, behind = (
        [getattr(layer, name) for name in half if name not in own]
        for half in (names[:cut], names[cut:])
    )
    return before, behind


def _part(
    description: Embedding | Attention | ShortConv | Mlp | Router | Norm,
    scheme: Scheme,
    usual: str,
    layer: Layer | None = None,
    expert: int | None = None,
    with_it: Sequence[object] = (),
) -> Part:
    tensors = list(tensors_of((description, *with_it)))
    return Part(
        description,
        layer,
        expert,
        linears=tuple(
            (tensor, scheme.others.get(tensor.name, usual))
            for tensor in tensors
            if isinstance(tensor, Linear)
        ),
        vectors=tuple(tensor for tensor in tensors if isinstance(tensor, Vector)),
    )


def _read_ahead(
    parts: Iterator[Part], checkpoint: Checkpoint, calibration: Calibrated | None
) -> Generator[tuple[Part, Weights], None, None]:
    """Yields each part with its weights; two threads work on the parts to come."""
    pending: deque[tuple[Part, Future[Weights]]] = deque()
    pool = ThreadPoolExecutor(max_workers=2)
    try:
        for part in parts:
            pending.append((part, pool.submit(_read, part, checkpoint, calibration)))
            if len(pending) > _AHEAD:
                ready, future = pending.popleft()
                yield ready, future.result()
        while pending:
            ready, future = pending.popleft()
            yield ready, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(part: Part, checkpoint: Checkpoint, calibration: Calibrated | None) -> Weights:
    matrices = {}
    for linear, method in part.linears:
        found = None if calibration is None else calibration.matrix(linear)
        matrices[linear.name] = found or _quantize(linear, method, checkpoint)
    return Weights(
        matrices,
        {vector.name: _vector(vector, checkpoint) for vector in part.vectors},
    )


def _vector(vector: Vector, checkpoint: Checkpoint) -> Array:
    values = checkpoint.read(vector.name)
    try:
        check_fit(values)
    except UnfitWeightError as error:
        raise checkpoint.unfit(vector.name, error.row, error.value) from None
    return values


def _quantize(linear: Linear, method: str, checkpoint: Checkpoint) -> QuantizedTensor:
    """A few rows at a time, so that a large tensor is whole only as integers."""
    rows = max(1, _ROWS_BYTES // (4 * linear.columns))
    stored = checkpoint.stored_format(linear.name) if method != "f32" else None
    parts = []
    for start in range(0, linear.rows, rows):
        stop = min(start + rows, linear.rows)
        try:
            if stored is None:
                parts.append(METHODS[method](checkpoint.read(linear.name, start, stop)))
            else:
                parts.append(_kept(checkpoint.read_integers(linear.name, start, stop), method))
        except UnfitWeightError as error:
            raise checkpoint.unfit(linear.name, start + error.row, error.value) from None
    return parts[0] if len(parts) == 1 else stack_rows(parts)


def _kept(weight: QuantizedTensor, method: str) -> QuantizedTensor:
    """Integers as they are stored: those of 4 bits are as good as 8 with the same scales."""
    check_integers(weight)
    format = format_named(method)
    assert weight.format.bits <= format.bits, method
    return QuantizedTensor(format, weight.values, weight.scales)
