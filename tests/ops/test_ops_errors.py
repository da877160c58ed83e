"""Malformed graphs and inputs: an error that names op, tensor, got and wanted; never a crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.ops.nodes import Node, random_weight
from tests.ops.test_ops_attention import Attention, Shape
from tests.ops.test_ops_conv import Conv
from tests.ops.test_ops_norm import add_rms_norm
from tests.ops.test_ops_weights import gated_mlp, linear, sparse_moe

X = np.zeros((1, 2, 64), np.float32)
WEIGHT = random_weight(0, 64, 64, "q4")


def embedding() -> Node:
    return Node(
        "QuantizedEmbedding",
        {"ids": np.array([[1]]), "weight": np.zeros(2 * 2 * 576, np.uint8)},
        [("y", np.float32)],
        rows=64,
        columns=64,
        format="q4",
    )


def moe() -> Node:
    return sparse_moe("q4", X, 4, 2, True, True)[0]


def refusal(action: Callable[[], Any]) -> str:
    """What an action that must fail says."""
    try:
        action()
    except Exception as error:  # onnxruntime has no common class of them
        return str(error)
    pytest.fail("nothing was refused")


def cut(name: str) -> Callable[[Node], dict[str, Any]]:
    """Takes the last element of an input away."""
    return lambda node: {name: np.ascontiguousarray(node.feeds[name][..., :-1])}


def kept(slots: int) -> Callable[[Node], dict[str, Any]]:
    """A cache of so many positions."""
    return lambda node: {
        name: np.ascontiguousarray(np.resize(value, (1, 2, slots, 32)))
        for name, value in node.feeds.items()
        if name in {"past_key", "past_value"}
    }


INPUTS = [
    (lambda: add_rms_norm(X, X), cut("x"), ["AddRmsNorm 'node'", "x", "[1, 2, 63]", "64]"]),
    (lambda: add_rms_norm(X, X), cut("branch"), ["branch", "[1, 2, 63]", "[1, 2, 64]"]),
    (lambda: add_rms_norm(X, X), cut("weight"), ["weight", "[63]", "[64]"]),
    (lambda: linear(WEIGHT, X), cut("x"), ["QuantizedLinear 'node'", "x", "[1, 2, 63]", "64]"]),
    (
        lambda: linear(WEIGHT, X, np.zeros(64, np.float32)),
        cut("bias"),
        ["QuantizedLinear", "bias", "[63]", "[64]"],
    ),
    (embedding, cut("weight"), ["QuantizedEmbedding", "weight", "[2303]", "[2304]"]),
    (embedding, lambda _: {"ids": np.array([[64]])}, ["ids", "64", "0 to 63"]),
    (embedding, lambda _: {"ids": np.array([[-1]])}, ["ids", "-1", "0 to 63"]),
    (lambda: gated_mlp(64, 64, "q4", X), cut("gate_up"), ["GatedMlp", "gate_up", "4607", "4608"]),
    (lambda: gated_mlp(64, 64, "q4", X), cut("down"), ["GatedMlp", "down", "[2303]", "[2304]"]),
    (moe, cut("router"), ["SparseMoe", "router", "[4, 63]", "[4, 64]"]),
    (moe, cut("expert_bias"), ["SparseMoe", "expert_bias", "[3]", "[4]"]),
    (moe, cut("gate_up"), ["SparseMoe", "gate_up", "[4, 36863]", "[4, 36864]"]),
    (moe, cut("down"), ["SparseMoe", "down", "[4, 18431]", "[4, 18432]"]),
    (lambda: Conv("q4", 2).node, cut("x"), ["GatedShortConv", "x", "[1, 2, 95]", "[1, ?, 96]"]),
    (lambda: Conv("q4", 2).node, cut("taps"), ["taps", "[96, 1, 2]", "[96, 1, 3]"]),
    (lambda: Conv("q4", 2).node, cut("past"), ["past", "[1, 96, 1]", "[1, 96, 2]"]),
    (lambda: Conv("q4", 2).node, cut("in_proj"), ["in_proj", "15551", "15552"]),
    (lambda: Conv("q4", 2, biased=True).node, cut("conv_bias"), ["conv_bias", "[95]", "[96]"]),
    (lambda: Attention("f32", 2, 3).node, cut("qkv"), ["CachedAttention", "qkv", "383", "384"]),
    (lambda: Attention("f32", 2, 3).node, cut("q_norm"), ["q_norm", "[31]", "[32]"]),
    (lambda: Attention("f32", 2, 3).node, cut("cos"), ["cos", "[8, 15]", "[?, 16]"]),
    (lambda: Attention("f32", 2, 3).node, cut("sin"), ["sin", "[8, 15]", "[8, 16]"]),
    (
        lambda: Attention("f32", 2, 3).node,
        lambda _: {"attention_mask": np.ones((1, 1), np.int64)},
        ["attention_mask", "[1, 1]", "2 to 8"],
    ),
    (
        lambda: Attention("f32", 2, 3).node,
        lambda _: {"attention_mask": np.ones((1, 9), np.int64)},
        ["attention_mask", "[1, 9]", "2 to 8"],
    ),
    (lambda: Attention("f16", 2, 3).node, cut("past_key"), ["past_key", "31", "[1, 2, ?, 32]"]),
    (
        lambda: Attention("int8", 2, 3).node,
        lambda node: {"past_value": node.feeds["past_value"][:, :, :7].copy()},
        ["past_value", "[1, 2, 7, 32]", "[1, 2, 8, 32]"],
    ),
    (lambda: Attention("int8", 2, 3).node, cut("past_key_scale"), ["past_key_scale", "7", "8"]),
    *(
        (
            lambda: Attention("f16", 70, 200, Shape(window=60)).node,
            kept(slots),
            ["CachedAttention", "past_key", f"[1, 2, {slots}, 32]", "at least 270", "at least 129"],
        )
        for slots in (0, 64, 128, 150)
    ),
    (
        lambda: Attention("f16", 70, 200).node,
        kept(192),
        ["attention_mask", "[1, 270]", "70 to 192"],
    ),
    (
        lambda: Attention("f16", 2, 3, replayed=1).node,
        lambda _: {"replayed": np.array([3])},
        ["CachedAttention", "replayed", "got 3", "0 to 2, the tokens of qkv"],
    ),
    (
        lambda: Attention("int8", 2, 3, replayed=1).node,
        lambda _: {"replayed": np.array([-1])},
        ["replayed", "got -1", "0 to 2"],
    ),
    (
        lambda: Attention("f32", 2, 3, replayed=1).node,
        lambda _: {"replayed": np.array([1, 1])},
        ["replayed", "[2]", "[1]"],
    ),
    (
        lambda: Conv("q4", 2, kept_columns=1).node,
        lambda _: {"kept_columns": np.array([5])},
        ["GatedShortConv", "kept_columns", "got 5", "0 to 4"],
    ),
    (
        lambda: Conv("q4", 2, kept_columns=1).node,
        lambda _: {"kept_columns": np.array([-(2**63)])},
        ["kept_columns", "0 to 4"],
    ),
]


@pytest.mark.parametrize(
    ("make", "change", "words"), INPUTS, ids=lambda x: str(x)[:40] if isinstance(x, list) else ""
)
def test_inputs(
    make: Callable[[], Node], change: Callable[[Node], dict[str, Any]], words: list[str]
) -> None:
    node = make()
    message = refusal(lambda: node(**change(node)))
    for word in words:
        assert word in message
    node()  # and the session lives on


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sparse_moe("q4", X, 4, 5, True, True), ["num_experts_per_tok", "5", "1 to 4"]),
        (lambda: sparse_moe("q4", X, 4, 0, True, True), ["num_experts_per_tok", "0", "1 to 4"]),
        (lambda: Attention("f32", 1, 1, num_kv_heads=3), ["num_heads", "8", "multiple"]),
        (lambda: Attention("f32", 1, 1, head_dim=24, rotary_dim=8), ["head_dim", "24", "16"]),
        (lambda: Attention("f32", 1, 1, rotary_dim=34), ["rotary_dim", "34", "0 to 32"]),
        (lambda: Attention("f32", 1, 1, rotary_dim=3), ["rotary_dim", "3", "even"]),
        (lambda: Attention("f32", 1, 1, window=-1), ["window", "-1"]),
        (lambda: Attention("f32", 1, 1, scale=float("nan")), ["scale", "nan", "finite"]),
        (lambda: Conv("q4", 1, kernel=17), ["kernel_size", "17", "2 to 16"]),
    ],
)
def test_attributes(make: Callable[[], Any], words: list[str]) -> None:
    message = refusal(make)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "q5"}, ["format", '"q5"', "f32, q8, q6, q4"]),
        ({"format": ""}, ["format", '""', "f32, q8, q6, q4"]),
        ({"rows": -1}, ["rows", "-1"]),
        ({"rows": 2**62}, ["rows"]),
        ({"columns": 65}, ["columns", "65", "multiple of 32", "format is q4"]),
        ({"columns": 0}, ["columns", "0"]),
        ({"format": None}, ["format", "missing"]),
        ({"format": 4}, ["format", "wrong type"]),
    ],
    ids=str,
)
def test_weight_attributes(changes: dict[str, Any], words: list[str]) -> None:
    attributes = {"rows": 64, "columns": 64, "format": "q4", **changes}
    inputs: dict[str, Any] = {"x": X, "weight": np.zeros(2304, np.uint8)}
    message = refusal(lambda: Node("QuantizedLinear", inputs, [("y", np.float32)], **attributes))
    for word in ["QuantizedLinear", *words]:
        assert word in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gate_up_format": "q3"}, ["gate_up_format", "q3"]),
        ({"down_format": "Q8"}, ["down_format", "Q8"]),
        ({"hidden_size": 48}, ["hidden_size", "48", "gate_up_format is q4"]),
        ({"intermediate_size": 48}, ["intermediate_size", "48", "down_format is q8"]),
        ({"hidden_size": 48, "gate_up_format": "f32"}, []),
    ],
    ids=str,
)
def test_formats_of_a_feed_forward(changes: dict[str, Any], words: list[str]) -> None:
    attributes: dict[str, Any] = {
        **{"hidden_size": 64, "intermediate_size": 64},
        **{"gate_up_format": "q4", "down_format": "q8"},
        **changes,
    }
    inputs: dict[str, Any] = {
        "x": X,
        "gate_up": np.zeros(1, np.uint8),
        "down": np.zeros(1, np.uint8),
    }

    def make() -> Node:
        return Node("GatedMlp", inputs, [("y", np.float32)], **attributes)

    if not words:
        make()
        return
    message = refusal(make)
    for word in ["GatedMlp", *words]:
        assert word in message


def test_no_tokens_are_no_error() -> None:
    assert linear(WEIGHT, X)(x=X[:, :0])[0].shape == (1, 0, 64)
    conv, attention = Conv("q4", 2), Attention("f32", 2, 3)
    y, present = conv.node(x=conv.x[:, :0])
    assert y.shape == (1, 0, 96)
    assert (present == conv.past).all()
    out, *_ = attention.node(qkv=attention.qkv[:, :0])
    assert out.shape == (1, 0, 256)
