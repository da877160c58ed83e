"""Every operation of the evaluator, in a program that coremltools saved, against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import coremltools
import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import Function, types
from hypothesis import given
from hypothesis import strategies as st
from lfm_edge.coreml.evaluator import Evaluator, Mode
from lfm_edge.coreml.operations import OPERATIONS
from lfm_edge.coreml.package import Package
from lfm_edge.coreml.weights import Blockwise
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812

from tests.sdk.coreml_programs import save

Array = NDArray[Any]

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(2, 3, 8)).astype(np.float32)
Y = RANDOM.normal(size=(2, 3, 8)).astype(np.float32)
I = RANDOM.integers(-20, 20, (2, 6)).astype(np.int32)  # noqa: E741
PICKED = np.array([[3, 0, 3], [1, 2, 3]], np.int32)
TABLE = RANDOM.normal(size=(4, 5, 8)).astype(np.float32)
BIAS = RANDOM.normal(size=64).astype(np.float32)
Q4 = RANDOM.integers(-8, 8, (64, 8)).astype(np.int8)
Q8 = RANDOM.integers(-128, 128, (2, 16, 8)).astype(np.int8)
S4 = RANDOM.uniform(0.01, 0.1, (64, 2)).astype(np.float16)
S8 = RANDOM.uniform(0.001, 0.01, (2, 16, 1)).astype(np.float16)
TAPS = RANDOM.normal(size=(3, 1, 4)).astype(np.float32)


def q4() -> Any:
    return mb.constexpr_blockwise_shift_scale(data=Q4.astype(types.np_int4_dtype), scale=S4)


def q8() -> Any:
    return mb.constexpr_blockwise_shift_scale(data=Q8, scale=S8)


W4 = torch.from_numpy(Q4.astype(np.float32) * np.repeat(S4.astype(np.float32), 4, 1))
W8 = torch.from_numpy(Q8.astype(np.float32) * np.repeat(S8.astype(np.float32), 8, 2))

Build = Callable[[Any, Any, Any, Any], Any]
Truth = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], Any]

# What is built of x, y (float32), i and picked (int32), and what torch says to it.
CASES: dict[str, tuple[Build, Truth]] = {
    "add": (lambda x, y, *_: mb.add(x=x, y=y), lambda x, y, *_: x + y),
    "sub": (lambda x, y, *_: mb.sub(x=x, y=y), lambda x, y, *_: x - y),
    "mul": (lambda x, y, *_: mb.mul(x=x, y=y), lambda x, y, *_: x * y),
    "real_div": (lambda x, y, *_: mb.real_div(x=x, y=y), lambda x, y, *_: x / y),
    "floor_div": (
        lambda x, y, i, _: mb.floor_div(x=i, y=np.int32(7)),
        lambda x, y, i, _: i // 7,
    ),
    "minimum": (lambda x, y, *_: mb.minimum(x=x, y=y), lambda x, y, *_: torch.minimum(x, y)),
    "maximum": (lambda x, y, *_: mb.maximum(x=x, y=y), lambda x, y, *_: torch.maximum(x, y)),
    "less": (lambda x, y, *_: as_int(mb.less(x=x, y=y)), lambda x, y, *_: x < y),
    "less_equal": (
        lambda x, y, i, _: as_int(mb.less_equal(x=i, y=np.int32(3))),
        lambda x, y, i, _: i <= 3,
    ),
    "greater_equal": (
        lambda x, y, i, _: as_int(mb.greater_equal(x=i, y=np.int32(3))),
        lambda x, y, i, _: i >= 3,
    ),
    "logical_and": (
        lambda x, y, *_: as_int(
            mb.logical_and(x=mb.less(x=x, y=y), y=mb.less(x=x, y=np.float32(0)))
        ),
        lambda x, y, *_: (x < y) & (x < 0),
    ),
    "floor": (lambda x, *_: mb.floor(x=x), lambda x, *_: x.floor()),
    "square": (lambda x, *_: mb.square(x=x), lambda x, *_: x**2),
    "sigmoid": (lambda x, *_: mb.sigmoid(x=x), lambda x, *_: x.sigmoid()),
    "silu": (lambda x, *_: mb.silu(x=x), lambda x, *_: F.silu(x)),
    "identity": (lambda x, *_: mb.identity(x=x), lambda x, *_: x),
    "rsqrt": (
        lambda x, *_: mb.rsqrt(x=mb.square(x=x), epsilon=np.float32(0.5)),
        lambda x, *_: (x**2 + 0.5).rsqrt(),
    ),
    "cast to int": (
        lambda x, *_: mb.cast(x=mb.mul(x=x, y=np.float32(9)), dtype="int32"),
        lambda x, *_: (x * 9).trunc().int(),
    ),
    "reduce_mean": (
        lambda x, *_: mb.reduce_mean(x=x, axes=[-1], keep_dims=True),
        lambda x, *_: x.mean(-1, keepdim=True),
    ),
    "reduce_sum": (
        lambda x, *_: mb.reduce_sum(x=x, axes=[0, 2], keep_dims=False),
        lambda x, *_: x.sum((0, 2)),
    ),
    "softmax": (lambda x, *_: mb.softmax(x=x, axis=1), lambda x, *_: x.softmax(1)),
    "topk": (
        lambda x, *_: mb.topk(x=x, k=3, axis=-1, ascending=False),
        lambda x, *_: tuple(x.topk(3)),
    ),
    "topk of the least": (
        lambda x, *_: mb.topk(x=x, k=2, axis=1, ascending=True),
        lambda x, *_: tuple(x.topk(2, dim=1, largest=False)),
    ),
    "one_hot": (
        lambda x, y, i, p: mb.one_hot(
            indices=p, one_hot_vector_size=4, on_value=2.0, off_value=-1.0
        ),
        lambda x, y, i, p: F.one_hot(p.long(), 4) * 3.0 - 1,
    ),
    "linear": (
        lambda x, *_: mb.linear(x=x, weight=TABLE[0], bias=BIAS[:5]),
        lambda x, *_: F.linear(x, torch.from_numpy(TABLE[0]), torch.from_numpy(BIAS[:5])),
    ),
    "linear of int4": (
        lambda x, *_: mb.linear(x=half(x), weight=q4(), bias=BIAS.astype(np.float16)),
        lambda x, *_: F.linear(x, W4, torch.from_numpy(BIAS.astype(np.float16)).float()),
    ),
    "matmul": (
        lambda x, y, *_: mb.matmul(x=x, y=y, transpose_x=True, transpose_y=False),
        lambda x, y, *_: x.mT @ y,
    ),
    "matmul of int8, one for all": (
        lambda x, *_: mb.matmul(x=half(first(x)), y=q8(), transpose_y=True),
        lambda x, *_: x[:1] @ W8.mT,
    ),
    "matmul of int8, each its own": (
        lambda x, *_: mb.matmul(x=half(x), y=q8(), transpose_y=True),
        lambda x, *_: x @ W8.mT,
    ),
    "matmul of int8, not turned": (
        lambda x, y, *_: mb.matmul(
            x=half(mb.concat(values=[x, y], axis=-1)), y=q8(), transpose_y=False
        ),
        lambda x, y, *_: torch.cat([x, y], -1) @ W8,
    ),
    "conv": (
        lambda x, *_: mb.conv(x=x, weight=TAPS, groups=3, pad_type="valid", strides=[1]),
        lambda x, *_: F.conv1d(x, torch.from_numpy(TAPS), groups=3),
    ),
    "conv with bias": (
        lambda x, *_: mb.conv(
            x=x, weight=TAPS, bias=BIAS[:3], groups=3, pad_type="valid", strides=[1]
        ),
        lambda x, *_: F.conv1d(x, torch.from_numpy(TAPS), torch.from_numpy(BIAS[:3]), groups=3),
    ),
    "gather": (
        lambda x, y, i, p: mb.gather(x=TABLE, indices=p, axis=0),
        lambda x, y, i, p: torch.from_numpy(TABLE)[p.long()],
    ),
    "gather of int4": (
        lambda x, y, i, p: mb.gather(x=q4(), indices=p, axis=0),
        lambda x, y, i, p: W4[p.long()],
    ),
    "gather on another axis": (
        lambda x, y, i, p: mb.gather(x=TABLE, indices=p, axis=1),
        lambda x, y, i, p: torch.from_numpy(TABLE)[:, p.long()],
    ),
    "gather_along_axis": (
        lambda x, y, i, p: mb.gather_along_axis(x=i, indices=p, axis=-1),
        lambda x, y, i, p: i.gather(1, p.long()),
    ),
    "select": (
        lambda x, y, *_: mb.select(cond=mb.less(x=x, y=np.float32(0)), a=x, b=y),
        lambda x, y, *_: torch.where(x < 0, x, y),
    ),
    "split": (
        lambda x, *_: mb.split(x=x, num_splits=2, axis=-1),
        lambda x, *_: x.split(4, -1),
    ),
    "split by sizes": (
        lambda x, *_: mb.split(x=x, split_sizes=[5, 1, 2], axis=2),
        lambda x, *_: x.split([5, 1, 2], 2),
    ),
    "concat": (
        lambda x, y, *_: mb.concat(values=[x, y], axis=1),
        lambda x, y, *_: torch.cat([x, y], 1),
    ),
    "transpose": (
        lambda x, *_: mb.transpose(x=x, perm=[2, 0, 1]),
        lambda x, *_: x.permute(2, 0, 1),
    ),
    "reshape": (
        lambda x, *_: mb.reshape(x=x, shape=[4, -1]),
        lambda x, *_: x.reshape(4, -1),
    ),
    "expand_dims": (
        lambda x, *_: mb.expand_dims(x=x, axes=[0, -1]),
        lambda x, *_: x[None, ..., None],
    ),
    "slice_by_index": (
        lambda x, *_: mb.slice_by_index(x=x, begin=[1, 0, 2], end=[2, 3, 7]),
        lambda x, *_: x[1:2, :, 2:7],
    ),
    "slice_update": (
        lambda x, y, *_: mb.slice_update(x=x, update=first(y), begin=[1, 0, 0], end=[2, 3, 8]),
        lambda x, y, *_: torch.stack([x[0], y[0]]),
    ),
    "slice_by_size": (
        lambda x, *_: mb.slice_by_size(x=x, begin=[0, 1, 3], size=[2, 2, 4]),
        lambda x, *_: x[:, 1:3, 3:7],
    ),
}


def half(x: Any) -> Any:
    return mb.cast(x=x, dtype="fp16")


def first(x: Any) -> Any:
    return mb.slice_by_index(x=x, begin=[0, 0, 0], end=[1, 3, 8])


def as_int(x: Any) -> Any:
    return mb.cast(x=x, dtype="int32")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """A function for each case."""
    functions = {}
    for name, (build, _) in CASES.items():
        inputs = {
            "x": mb.TensorSpec(X.shape, types.fp32),
            "y": mb.TensorSpec(Y.shape, types.fp32),
            "i": mb.TensorSpec(I.shape, types.int32),
            "picked": mb.TensorSpec(PICKED.shape, types.int32),
        }
        with Function(inputs, opset_version=coremltools.target.iOS18) as function:
            built = build(*(function.inputs[name] for name in inputs))
            function.set_outputs(list(built) if isinstance(built, list | tuple) else [built])
        functions[identifier(name)] = function
    return Package(save(tmp_path_factory.mktemp("operations"), functions))


def identifier(name: str) -> str:
    return name.replace(" ", "_").replace(",", "")


@pytest.mark.parametrize("mode", ["exact", "fp16"])
@pytest.mark.parametrize("name", CASES)
def test_an_operation_computes_what_torch_computes(package: Package, name: str, mode: Mode) -> None:
    inputs = {"x": X, "y": Y, "i": I, "picked": PICKED}
    results = list(Evaluator(package, mode).run(identifier(name), inputs, {}).values())
    truth = CASES[name][1](*map(torch.from_numpy, inputs.values()))
    truths = truth if isinstance(truth, tuple) else (truth,)
    assert len(results) == len(truths)
    for result, expected in zip(results, truths, strict=True):
        close = {"exact": 2e-6, "fp16": 2e-3}[mode]
        np.testing.assert_allclose(result, expected.numpy(), rtol=close, atol=close)
        assert result.dtype != np.float64


def test_every_operation_is_among_them(package: Package) -> None:
    used = {op.kind for function in package.functions.values() for op in function.operations}
    assert set(OPERATIONS) <= used


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([-24, -14, -13, 0, 7, 8, 15]),
    st.sampled_from([(4, 8), (3, 2, 12), (1, 32)]),
    st.booleans(),
)
def test_weights_are_rounded_as_numpy_rounds(
    seed: int, exponent: int, shape: tuple[int, ...], rounded: bool
) -> None:
    """Scales from the least float16 to the greatest: with and without its normal range."""
    random = np.random.default_rng(seed)
    data = random.integers(-128, 128, shape).astype(np.int8)
    magnitude = 2.0**exponent * random.uniform(0.5, 2, (*shape[:-1], 2))
    scale = (magnitude * random.choice([-1, 0, 1, 1], magnitude.shape)).astype(np.float16)
    if exponent in {-13, 0, 7}:
        scale = np.where(scale == 0, np.float16(1), scale)
    with np.errstate(over="ignore"):
        truth = data * np.repeat(scale.astype(np.float32), shape[-1] // 2, -1)
        truth = truth.astype(np.float16).astype(np.float32) if rounded else truth
        weights = Blockwise(data, scale, rounded)
        np.testing.assert_array_equal(weights[0 : shape[0]], truth)
        np.testing.assert_array_equal(weights[shape[0] - 1 : shape[0]], truth[-1:])
