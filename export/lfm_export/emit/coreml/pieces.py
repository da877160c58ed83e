"""Small pieces of a Core ML function: constants, stored matrices, a norm, a linear layer.

Used between the making of a function and its outputs, where coremltools' builder adds operations
to it. A value (`Var`) is coremltools' own; arithmetic is float16 unless a comment says otherwise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import types
from numpy.typing import DTypeLike, NDArray

from ...architecture import Linear, Norm, Vector
from .blobs import BlobFile, BlobType

__all__ = ["MAX_ROWS", "Pieces", "Var"]

Var = Any

MAX_ROWS = 16384  # outputs of one product: more do not fit the Neural Engine
_INLINE_VALUES = 10  # a constant of fewer values lies in the graph itself


class Pieces:
    """One function's operations on weights that lie in `blobs` and small tensors in `vectors`."""

    def __init__(self, blobs: BlobFile, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        self._blobs, self._vectors = blobs, vectors
        self._constants: dict[str, Var] = {}

    def constant(self, name: str, values: NDArray[Any]) -> Var:
        """A constant of known values, stored once for all functions under `name`."""
        if name not in self._constants:
            constant = mb.const(val=values, name=_identifier(name))
            if values.size >= _INLINE_VALUES:
                constant.op.weight_id = name
            self._constants[name] = constant
        return self._constants[name]

    def vector(self, vector: Vector) -> Var:
        """A small tensor, in float32."""
        return self.constant(vector.name, self._vectors[vector.name])

    def half(self, x: Var) -> Var:
        """Rounded to float16."""
        return mb.cast(x=x, dtype="fp16")

    def single(self, x: Var) -> Var:
        """As float32."""
        return mb.cast(x=x, dtype="fp32")

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a stored matrix or stack, as its integers lie in the file."""
        return self._blobs.blobs[name].shape

    def is_packed(self, name: str) -> bool:
        """Whether its bytes hold two integers each, for plain arithmetic to unpack."""
        return self._blobs.blobs[name].dtype == "uint8"

    def whole(self, name: str) -> Var:
        """A stored matrix or a stack of them, as float16 of its shape."""
        key = f"{name}/whole"
        if key not in self._constants:
            self._constants[key] = mb.constexpr_blockwise_shift_scale(
                data=self._stored(name),
                scale=self._stored(f"{name}.scales"),
                name=_identifier(key),
            )
        return self._constants[key]

    def picked(self, name: str, indices: Var) -> Var:
        """The rows of a matrix, or the matrices of a stack, at `indices`, as float16.

        Integers are picked and then multiplied by their scales, so that no others are.
        """
        if self._blobs.blobs[name].dtype == "int4":
            return mb.gather(x=self.whole(name), indices=indices, axis=0)
        data, scales = (
            mb.gather(x=self._stored(stored), indices=indices, axis=0)
            for stored in (name, f"{name}.scales")
        )
        return self._dequantize(data, scales)

    def linear(self, x: Var, part: Linear) -> Var:
        """`x W^T + bias` over the last axis."""
        out = self.product(x, self.whole(part.name))
        return out if part.bias is None else mb.add(x=out, y=self.half(self.vector(part.bias)))

    def product(self, x: Var, weight: Var) -> Var:
        """`x W^T` over the last axis. coremltools would store zeros for every product's bias."""
        dtype = np.dtype(types.nptype_from_builtin(x.dtype))
        zeros = np.zeros(weight.shape[0], dtype)
        bias = self.constant(f"zeros.{dtype.name}.{len(zeros)}", zeros)
        return mb.linear(x=x, weight=weight, bias=bias)

    def norm(self, x: Var, part: Norm) -> Var:
        """The RMS norm of float32 values over the last axis."""
        mean = mb.reduce_mean(x=mb.square(x=x), axes=[-1], keep_dims=True)
        normed = mb.mul(x=x, y=mb.rsqrt(x=mean, epsilon=np.float32(part.eps)))
        return mb.mul(x=normed, y=self.vector(part.weight))

    def silu_product(self, gate: Var, up: Var) -> Var:
        """`silu(gate) * up`."""
        return mb.mul(x=mb.silu(x=gate), y=up)

    def pieces(self, x: Var, sizes: Sequence[int], axis: int) -> list[Var]:
        """Cuts an axis into pieces of these sizes."""
        return [x] if len(sizes) == 1 else mb.split(x=x, split_sizes=list(sizes), axis=axis)

    def joined(self, parts: Sequence[Var], axis: int) -> Var:
        """Puts pieces together along an axis."""
        return parts[0] if len(parts) == 1 else mb.concat(values=list(parts), axis=axis)

    def _dequantize(self, data: Var, scales: Var) -> Var:
        """Integers `[..., columns]`, or nibbles `[..., columns / 2]`, times their scales."""
        *outer, groups = scales.shape
        columns = data.shape[-1]
        x = self.half(data)
        if data.dtype == types.uint8:
            high = mb.floor(x=mb.mul(x=x, y=np.float16(1 / 16)))
            low = mb.sub(x=x, y=mb.mul(x=high, y=np.float16(16)))
            nibbles = mb.concat(
                values=[mb.expand_dims(x=half, axes=[-1]) for half in (low, high)], axis=-1
            )
            x = mb.sub(x=nibbles, y=np.float16(8))
            columns *= 2
        x = mb.reshape(x=x, shape=[*outer, groups, columns // groups])
        x = mb.mul(x=x, y=mb.expand_dims(x=scales, axes=[-1]))
        return mb.reshape(x=x, shape=[*outer, columns])

    def _stored(self, name: str) -> Var:
        """A constant in the weight file. The program itself holds one zero instead of its values.

        Only the few that lie in the graph are read back.
        """
        blob = self._blobs.blobs[name]
        if math.prod(blob.shape) < _INLINE_VALUES:
            return self.constant(name, self._blobs.read(name))
        zero = np.zeros((), _numpy_type(blob.dtype))
        return self.constant(name, np.broadcast_to(zero, blob.shape))


def _numpy_type(dtype: BlobType) -> DTypeLike:
    int4: DTypeLike = types.np_int4_dtype
    return int4 if dtype == "int4" else np.dtype(dtype)


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)
