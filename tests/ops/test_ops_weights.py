"""The operators of packed weights against their references, in a session."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from lfm_ops import reference as ops
from lfm_ops.layout import pack
from lfm_ops.quantized import QuantizedTensor

from tests.ops.nodes import Array, Node, error, gaussian, pack_mlp, random_mlp, random_weight

FORMATS = ["f32", "q8", "q6", "q4", "q4_64"]
PRODUCT_BOUND = 1e-5  # of float weights, or of the same integers with the same scales
CHUNKS = [[40], [1] * 40, [3, 1, 33, 3], [32, 8]]


def chain_bound(format: str) -> float:
    """Behind a product, rounding to int8 may fall the other way for a few values.

    One of them weighs the less the more inputs there are, so these are not too few.
    """
    return 1e-5 if format == "f32" else 2e-2


def linear(weight: QuantizedTensor, x: Array, bias: Array | None = None, **more: Any) -> Node:
    rows, columns = weight.shape
    return Node(
        "QuantizedLinear",
        {"x": x, "weight": pack(weight), "bias": bias},
        [("y", np.float32)],
        constants=["weight"],
        rows=rows,
        columns=columns,
        format=weight.format.name,
        **more,
    )


def gated_mlp(
    hidden: int, inner: int, format: str, x: Array, down_format: str | None = None, **more: Any
) -> Node:
    gate_up, down = pack_mlp(random_mlp(1, hidden, inner, format, down_format))
    return Node(
        "GatedMlp",
        {"x": x, "gate_up": gate_up, "down": down},
        [("y", np.float32)],
        hidden_size=hidden,
        intermediate_size=inner,
        gate_up_format=format,
        down_format=down_format or format,
        **more,
    )


def sparse_moe(
    format: str,
    x: Array,
    experts: int,
    top_k: int,
    biased: bool,
    norm: bool,
    inner: int = 512,
    down_format: str | None = None,
    **more: Any,
) -> tuple[Node, Array]:
    """The operator and what the reference makes of the same input."""
    hidden = x.shape[-1]
    mlps = [random_mlp(e, hidden, inner, format, down_format) for e in range(experts)]
    router = gaussian(1, experts, hidden) / np.float32(np.sqrt(hidden))
    bias = gaussian(2, experts) if biased else None
    packed = [pack_mlp(mlp) for mlp in mlps]
    node = Node(
        "SparseMoe",
        {
            "x": x,
            "router": router,
            "expert_bias": bias,
            "gate_up": np.stack([gate_up for gate_up, _ in packed]),
            "down": np.stack([down for _, down in packed]),
        },
        [("y", np.float32)],
        hidden_size=hidden,
        intermediate_size=inner,
        num_experts=experts,
        num_experts_per_tok=top_k,
        norm_topk_prob=int(norm),
        routed_scaling_factor=1.7,
        gate_up_format=format,
        down_format=down_format or format,
        **more,
    )
    rows = x.reshape(-1, hidden)
    choice = ops.route(rows, router, bias, top_k, norm, 1.7)
    return node, ops.sparse_moe(rows, *choice, mlps, ops.matmul_int8).reshape(x.shape)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("tokens", [1, 2, 31, 200])
@pytest.mark.parametrize("rows", [96, 77])
def test_quantized_linear(format: str, tokens: int, rows: int) -> None:
    weight, x = random_weight(tokens, rows, 192, format), gaussian(tokens, 1, tokens, 192)
    bias = gaussian(rows, rows)
    want = ops.matmul_int8(x[0], weight)
    assert error(linear(weight, x)()[0][0], want) <= PRODUCT_BOUND
    assert error(linear(weight, x, bias)()[0][0], want + bias) <= PRODUCT_BOUND


@pytest.mark.parametrize("format", FORMATS)
def test_quantized_linear_takes_any_number_of_dimensions(format: str) -> None:
    weight, x = random_weight(0, 64, 64, format), gaussian(0, 2, 3, 5, 64)
    got = linear(weight, x)()[0]
    assert got.shape == (2, 3, 5, 64)
    assert (got.reshape(-1, 64) == linear(weight, x.reshape(-1, 64))()[0]).all()


@pytest.mark.parametrize("format", FORMATS)
def test_quantized_embedding_gives_the_very_weights(format: str) -> None:
    table = random_weight(5, 70, 192, format)
    ids = np.array([[0, 69, 33, 33, 31, 32, 64]])
    node = Node(
        "QuantizedEmbedding",
        {"ids": ids, "weight": pack(table)},
        [("y", np.float32)],
        rows=70,
        columns=192,
        format=format,
    )
    assert (node()[0] == table.dequantize()[ids]).all()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("tokens", [1, 5, 150])
def test_gated_mlp(format: str, tokens: int) -> None:
    x = gaussian(tokens, 1, tokens, 128)
    want = ops.gated_mlp(x[0], *random_mlp(1, 128, 256, format), ops.matmul_int8)
    assert error(gated_mlp(128, 256, format, x)()[0][0], want) <= chain_bound(format)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("tokens", [1, 7, 90])
@pytest.mark.parametrize(
    ("experts", "top_k", "biased", "norm"),
    [(8, 3, True, True), (8, 8, False, True), (1, 1, True, False), (32, 4, True, False)],
)
def test_sparse_moe(
    format: str, tokens: int, experts: int, top_k: int, biased: bool, norm: bool
) -> None:
    x = gaussian(tokens, 1, tokens, 128)
    node, want = sparse_moe(format, x, experts, top_k, biased, norm)
    assert error(node()[0], want) <= chain_bound(format)


MIXED = [("q4", "q8"), ("q6", "q4"), ("q4_64", "q4"), ("q8", "q4"), ("q4", "f32"), ("f32", "q8")]


@pytest.mark.parametrize(("gate_up", "down"), MIXED)
@pytest.mark.parametrize("tokens", [1, 40])
def test_each_matrix_has_a_format_of_its_own(gate_up: str, down: str, tokens: int) -> None:
    x = gaussian(tokens, 1, tokens, 128)
    want = ops.gated_mlp(x[0], *random_mlp(1, 128, 256, gate_up, down), ops.matmul_int8)
    got = gated_mlp(128, 256, gate_up, x, down)()[0][0]
    assert error(got, want) <= chain_bound(down)
    node, want = sparse_moe(gate_up, x, 8, 3, True, True, down_format=down)
    assert error(node()[0], want) <= chain_bound(down)


@pytest.mark.parametrize("tokens", [1, 40])
@pytest.mark.parametrize("hidden", [1, 33, 100])
def test_float_weights_are_of_any_width(tokens: int, hidden: int) -> None:
    x, inner = gaussian(tokens, 1, tokens, hidden), 45
    weight = random_weight(3, 50, hidden, "f32")
    assert error(linear(weight, x)()[0][0], ops.matmul_int8(x[0], weight)) <= PRODUCT_BOUND
    want = ops.gated_mlp(x[0], *random_mlp(1, hidden, inner, "f32"))
    assert error(gated_mlp(hidden, inner, "f32", x)()[0][0], want) <= PRODUCT_BOUND
    node, want = sparse_moe("f32", x, 8, 3, True, True, inner)
    assert error(node()[0], want) <= PRODUCT_BOUND


@pytest.mark.parametrize("format", FORMATS)
def test_zeros_stay_zeros(format: str) -> None:
    x = np.zeros((1, 4, 64), np.float32)
    assert (linear(random_weight(0, 64, 64, format), x)()[0] == 0).all()
    assert (gated_mlp(64, 64, format, x)()[0] == 0).all()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
def test_chunks_and_threads_change_no_bit(format: str, threads: int, chunks: list[int]) -> None:
    x = gaussian(0, 1, sum(chunks), 128)
    parts = np.split(x, np.cumsum(chunks)[:-1], axis=1)
    for node in (
        linear(random_weight(0, 80, 128, format), x, threads=threads),
        gated_mlp(128, 64, format, x, threads=threads),
        sparse_moe(format, x, 8, 3, True, True, threads=threads)[0],
    ):
        whole = node()[0]
        assert (np.concatenate([node(x=part)[0] for part in parts], axis=1) == whole).all()
        assert (node()[0] == whole).all()


def test_one_session_serves_several_threads() -> None:
    inputs = [gaussian(seed, 1, 1 + 40 * (seed % 2), 96) for seed in range(8)]
    for node in (
        linear(random_weight(0, 80, 96, "q4"), inputs[0]),
        sparse_moe("q4", inputs[0], 8, 3, True, True)[0],
    ):
        want = [node(x=x)[0] for x in inputs]
        with ThreadPoolExecutor(4) as threads:
            got = list(threads.map(lambda i, n=node: n(x=inputs[i % 8])[0], range(200)))
        assert all((y == want[i % 8]).all() for i, y in enumerate(got))
