"""What each MIL operation computes, in NumPy; the names and meanings of arguments are MIL's.

Source: Apple's MIL op reference (opset iOS 18). Floats are computed in float32, whatever their
type in the program; the evaluator rounds the results.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .weights import Weights, blocks, whole

__all__ = ["OPERATIONS", "Registered"]

Array = NDArray[Any]
Result = Array | tuple[Array, ...]


class Registered(NamedTuple):
    """An operation that the evaluator knows."""

    compute: Callable[..., Result]
    arguments: Mapping[str, inspect.Parameter]
    by_rows: bool
    """Its arguments may be weights that are not in memory."""


OPERATIONS: dict[str, Registered] = {}


def _operation(
    kind: str, by_rows: bool = False
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    def register(compute: Callable[..., Result]) -> Callable[..., Result]:
        arguments = inspect.signature(compute).parameters
        OPERATIONS[kind] = Registered(compute, arguments, by_rows)
        return compute

    return register


def _wide(given: Weights) -> Array:
    """float16 as float32, anything else as it is."""
    array = whole(given)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _binary(kind: str, function: Callable[[Array, Array], Array]) -> None:
    @_operation(kind)
    def compute(*, x: Array, y: Array) -> Array:
        return function(_wide(x), _wide(y))


def _unary(kind: str, function: Callable[[Array], Array]) -> None:
    @_operation(kind)
    def compute(*, x: Array) -> Array:
        return function(_wide(x))


def _sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x))
    return result


for _kind, _function in {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "real_div": np.divide,
    "floor_div": np.floor_divide,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater_equal": np.greater_equal,
    "logical_and": np.logical_and,
}.items():
    _binary(_kind, _function)

_unary("floor", np.floor)
_unary("square", np.square)
_unary("sigmoid", _sigmoid)
_unary("silu", lambda x: x * _sigmoid(x))
_unary("identity", lambda x: x)


@_operation("rsqrt")
def _rsqrt(*, x: Array, epsilon: Array) -> Array:
    result: Array = 1 / np.sqrt(_wide(x) + _wide(epsilon))
    return result


@_operation("cast")
def _cast(*, x: Array, dtype: str) -> Array:
    del dtype  # the evaluator gives every result the type that the program declares
    return x


def _reduction(kind: str, function: Callable[..., Array]) -> None:
    @_operation(kind)
    def compute(*, x: Array, axes: Array, keep_dims: Array) -> Array:
        return function(_wide(x), axis=tuple(axes.tolist()), keepdims=bool(keep_dims))


_reduction("reduce_mean", np.mean)
_reduction("reduce_sum", np.sum)


@_operation("softmax")
def _softmax(*, x: Array, axis: Array) -> Array:
    wide = _wide(x)
    powers = np.exp(wide - wide.max(axis=int(axis), keepdims=True))
    result: Array = powers / powers.sum(axis=int(axis), keepdims=True)
    return result


@_operation("topk")
def _topk(
    *,
    x: Array,
    k: Array,
    axis: Array,
    ascending: Array,
    sort: Array,
    return_indices: Array,
    output_indices_dtype: str,
) -> Result:
    del sort, return_indices, output_indices_dtype  # sorted and returned in any case
    order = np.argsort(x if ascending else -_wide(x), axis=int(axis), kind="stable")
    best = np.take(order, np.arange(int(k)), axis=int(axis))
    return np.take_along_axis(x, best, int(axis)), best


@_operation("one_hot")
def _one_hot(
    *, indices: Array, one_hot_vector_size: Array, axis: Array, on_value: Array, off_value: Array
) -> Array:
    if int(axis) != -1:
        raise ValueError("only along the last axis")
    hit = indices[..., None] == np.arange(int(one_hot_vector_size))
    return np.where(hit, on_value, off_value)


@_operation("linear", by_rows=True)
def _linear(*, x: Weights, weight: Weights, bias: Weights) -> Array:
    wide = _wide(x)
    result = np.empty((*x.shape[:-1], weight.shape[0]), np.float32)
    for start, block in blocks(weight):
        result[..., start : start + len(block)] = wide @ _wide(block).T
    return result + _wide(bias)


@_operation("matmul", by_rows=True)
def _matmul(*, x: Weights, y: Weights, transpose_x: Array, transpose_y: Array) -> Array:
    wide = _turned(_wide(x), transpose_x)
    if isinstance(y, np.ndarray) or not len(y.shape) == wide.ndim == 3:
        return wide @ _turned(_wide(y), transpose_y)
    # A stack of experts that is not in memory: one of them at a time.
    lefts = np.broadcast_to(wide, (y.shape[0], *wide.shape[1:]))
    products = [left @ _turned(_wide(y[i : i + 1])[0], transpose_y) for i, left in enumerate(lefts)]
    return np.stack(products)


def _turned(matrices: Array, is_turned: Array) -> Array:
    return matrices.swapaxes(-1, -2) if is_turned else matrices


@_operation("conv")
def _conv(
    *,
    x: Array,
    weight: Array,
    groups: Array,
    pad_type: str,
    strides: Array,
    pad: Array,
    dilations: Array,
    bias: Array | None = None,
) -> Array:
    del pad  # without a meaning unless pad_type is custom
    channels, per_group, kernel = weight.shape
    unit = (strides == 1).all() and (dilations == 1).all()
    if int(groups) != channels or per_group != 1 or pad_type != "valid" or not unit:
        raise ValueError("only a depthwise convolution without padding, stride and dilation")
    wide, taps = _wide(x), _wide(weight)[:, 0]
    length = x.shape[-1] - kernel + 1
    result = np.zeros((*x.shape[:-1], length), np.float32)
    for k in range(kernel):
        result += wide[..., k : k + length] * taps[:, k, None]
    return result if bias is None else result + _wide(bias)[:, None]


@_operation("gather", by_rows=True)
def _gather(
    *,
    x: Weights,
    indices: Weights,
    axis: Array,
    batch_dims: Array,
    validate_indices: Array,
) -> Array:
    del validate_indices  # they are checked in any case
    if int(batch_dims):
        raise ValueError("batch_dims is not 0")
    places, size = whole(indices), x.shape[int(axis)]
    if places.min() < 0 or places.max() >= size:
        raise IndexError(f"indices from {places.min()} to {places.max()} on an axis of {size}")
    if isinstance(x, np.ndarray) or int(axis):
        return np.take(whole(x), places, axis=int(axis))
    # Only the rows that are asked for leave the file.
    rows = [x[i : i + 1] for i in places.reshape(-1).tolist()]
    return np.concatenate(rows).reshape(*places.shape, *x.shape[1:])


@_operation("gather_along_axis")
def _gather_along_axis(*, x: Array, indices: Array, axis: Array, validate_indices: Array) -> Array:
    del validate_indices
    return np.take_along_axis(x, indices, int(axis))


@_operation("select")
def _select(*, cond: Array, a: Array, b: Array) -> Array:
    return np.where(cond, a, b)


@_operation("split")
def _split(
    *, x: Array, axis: Array, num_splits: Array | None = None, split_sizes: Array | None = None
) -> Result:
    if split_sizes is not None:
        return tuple(np.split(x, np.cumsum(split_sizes)[:-1], axis=int(axis)))
    if num_splits is None:
        raise ValueError("neither num_splits nor split_sizes")
    return tuple(np.split(x, int(num_splits), axis=int(axis)))


@_operation("concat")
def _concat(*, values: tuple[Array, ...], axis: Array, interleave: Array) -> Array:
    if interleave:
        raise ValueError("interleave is not false")
    return np.concatenate(values, axis=int(axis))


@_operation("transpose")
def _transpose(*, x: Array, perm: Array) -> Array:
    return x.transpose(perm.tolist())


@_operation("reshape")
def _reshape(*, x: Array, shape: Array) -> Array:
    return x.reshape(shape.tolist())


@_operation("expand_dims")
def _expand_dims(*, x: Array, axes: Array) -> Array:
    return np.expand_dims(x, tuple(axes.tolist()))


@_operation("slice_by_index")
def _slice_by_index(*, x: Array, begin: Array, end: Array) -> Array:
    return x[_region(x, begin, end)]


@_operation("slice_update")
def _slice_update(*, x: Array, update: Array, begin: Array, end: Array) -> Array:
    region = _region(x, begin, end)
    if x[region].shape != update.shape:
        raise ValueError(f"update {list(update.shape)} for a slice {list(x[region].shape)}")
    result = x.copy()
    result[region] = update
    return result


@_operation("slice_by_size")
def _slice_by_size(*, x: Array, begin: Array, size: Array) -> Array:
    return x[_region(x, begin, begin + size)]


def _region(x: Array, begin: Array, end: Array) -> tuple[slice, ...]:
    """From `begin` to `end` on every axis; to go beyond one is a mistake."""
    bounds = list(zip(begin.tolist(), end.tolist(), x.shape, strict=True))
    if not all(0 <= first <= last <= size for first, last, size in bounds):
        raise IndexError(f"from {begin.tolist()} to {end.tolist()} of {list(x.shape)}")
    return tuple(slice(first, last) for first, last, _ in bounds)
