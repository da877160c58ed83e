"""The gated short convolution against its reference, in a session."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lfm_ops import reference as ops
from lfm_ops.layout import pack

from tests.ops.nodes import Array, Node, error, gaussian, random_weight

HIDDEN = 96


class Conv:
    """The operator, its weights and what the reference makes of the same input."""

    def __init__(
        self,
        format: str,
        tokens: int,
        kernel: int = 3,
        biased: bool = False,
        kept_columns: int | None = None,
        **more: Any,
    ) -> None:
        self.x = gaussian(tokens, 1, tokens, HIDDEN)
        self.past = gaussian(1, 1, HIDDEN, kernel - 1)
        in_proj = random_weight(0, 3 * HIDDEN, HIDDEN, format)
        out_proj = random_weight(1, HIDDEN, HIDDEN, format)
        taps = gaussian(2, HIDDEN, 1, kernel)
        biases: list[Array | None] = [None] * 3
        if biased:
            biases = [gaussian(3, 3 * HIDDEN), gaussian(4, HIDDEN), gaussian(5, HIDDEN)]
        operands = (
            self.x[0],
            *(in_proj, biases[0], taps, biases[1], out_proj, biases[2]),
            self.past[0],
            ops.matmul_int8,
        )
        self.node = Node(
            "GatedShortConv",
            {
                "x": self.x,
                "in_proj": pack(in_proj),
                "in_bias": biases[0],
                "taps": taps,
                "conv_bias": biases[1],
                "out_proj": pack(out_proj),
                "out_bias": biases[2],
                "past": self.past,
                "kept_columns": None if kept_columns is None else np.array([kept_columns]),
            },
            [
                ("y", np.float32),
                ("present", np.float32),
                *([] if kept_columns is None else [("columns", np.float32)]),
            ],
            hidden_size=HIDDEN,
            kernel_size=kernel,
            in_proj_format=format,
            out_proj_format=format,
            **more,
        )
        self.want, self.want_state, self.want_columns = (
            *ops.gated_short_conv(*operands),
            ops.gated_short_conv(*operands, kept_columns)[1],
        )


@pytest.mark.parametrize("format", ["f32", "q8", "q4"])
@pytest.mark.parametrize("tokens", [1, 2, 5, 70])
@pytest.mark.parametrize(("kernel", "biased"), [(3, False), (3, True), (7, True), (2, False)])
def test_gated_short_conv(format: str, tokens: int, kernel: int, biased: bool) -> None:
    conv = Conv(format, tokens, kernel, biased)
    y, present = conv.node()
    assert error(y[0], conv.want) <= (1e-5 if format == "f32" else 5e-3)
    assert error(present[0], conv.want_state) <= 1e-5


@pytest.mark.parametrize("format", ["f32", "q4"])
@pytest.mark.parametrize("tokens", [1, 2, 9])
def test_in_place_equals_apart(format: str, tokens: int) -> None:
    conv = Conv(format, tokens)
    apart = conv.node()
    for got, want in zip(conv.node.in_place({"present": "past"}), apart, strict=True):
        assert (got == want).all()


@pytest.mark.parametrize("format", ["f32", "q4"])
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("chunks", [[1] * 40, [3, 1, 33, 3], [32, 8]], ids=str)
def test_chunks_and_threads_change_no_bit(format: str, threads: int, chunks: list[int]) -> None:
    want = Conv(format, 40, kernel=4).node()
    conv = Conv(format, 40, kernel=4, threads=threads)
    state, parts = conv.past, []
    for x in np.split(conv.x, np.cumsum(chunks)[:-1], axis=1):
        y, state = conv.node(x=x, past=state)
        parts.append(y)
    assert (np.concatenate(parts, axis=1) == want[0]).all()
    assert (state == want[1]).all()


@pytest.mark.parametrize("format", ["f32", "q4"])
@pytest.mark.parametrize(
    ("tokens", "kernel", "kept"), [(1, 3, 3), (5, 3, 4), (9, 7, 15), (6, 2, 0)]
)
def test_columns_are_the_last_inputs(format: str, tokens: int, kernel: int, kept: int) -> None:
    conv = Conv(format, tokens, kernel, kept_columns=kept)
    y, present, columns = conv.node()
    assert columns.shape == (1, HIDDEN, kept)
    assert np.abs(columns[0] - conv.want_columns).max(initial=0) <= 1e-5
    same = Conv(format, tokens, kernel).node()
    assert (y == same[0]).all()
    assert (present == same[1]).all()


@pytest.mark.parametrize("format", ["f32", "q4"])
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("kernel", [2, 3, 7])
def test_any_state_is_picked_from_the_columns(format: str, threads: int, kernel: int) -> None:
    """To the bit that of a run which ends there, bound in place or apart."""
    tokens, state = 11, kernel - 1
    conv = Conv(format, tokens, kernel, kept_columns=tokens + state, threads=threads)
    columns = conv.node()[2]
    assert (columns[..., :state] == conv.past).all()
    for end in range(1, tokens + 1):
        present = conv.node(x=conv.x[:, :end], kept_columns=np.array([0]))[1]
        assert (columns[..., end : end + state] == present).all()
    assert (conv.node.in_place({"present": "past"})[2] == columns).all()


def test_without_tokens_the_columns_are_those_of_the_past() -> None:
    conv = Conv("q4", 2, kept_columns=1)
    columns = conv.node(x=conv.x[:, :0])[2]
    assert (columns == conv.past[..., 1:]).all()
