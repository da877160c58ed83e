"""Attention over a cache against its reference, in a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
from lfm_ops import reference as ops
from lfm_ops.reference import KvType

from tests.ops.nodes import Array, Node, error, gaussian

KINDS = ["f32", "f16", "int8"]
STORED = {"f32": np.float32, "f16": np.float16, "int8": np.int8}
IN_PLACE = {
    "present_key": "past_key",
    "present_value": "past_value",
    "present_key_scale": "past_key_scale",
    "present_value_scale": "past_value_scale",
}
UNUSED = 77  # what lies in the cache where nothing was remembered


@dataclass
class Shape:
    """Heads and what they see."""

    heads: int = 8
    kv_heads: int = 2
    dim: int = 32
    rotary: int = 32
    window: int = 0


class Attention:
    """The operator, a cache that holds `past` positions, and the reference's answer."""

    def __init__(
        self,
        kv: str,
        tokens: int,
        past: int,
        shape: Shape | None = None,
        replayed: int | None = None,
        **more: Any,
    ) -> None:
        s = self.shape = shape or Shape()
        self.kv, self.total = kv, past + tokens - (replayed or 0)
        self.replayed = replayed or 0
        self.capacity = self.total + 3
        self.qkv = gaussian(0, 1, tokens, (s.heads + 2 * s.kv_heads) * s.dim)
        norms = [np.float32(1) + gaussian(seed, s.dim) / np.float32(8) for seed in (1, 2)]
        kind = cast("KvType", kv)
        self.remembered = [
            ops.round_as_cached(gaussian(seed, s.kv_heads, past, s.dim), kind) for seed in (3, 4)
        ]
        self.rope = cos, sin = ops.rope_table(self.capacity, ops.rope_frequencies(s.rotary, 1e6))
        inputs: dict[str, Array | None] = {
            "qkv": self.qkv,
            "q_norm": norms[0],
            "k_norm": norms[1],
            "cos": cos,
            "sin": sin,
            "attention_mask": np.ones((1, self.total), np.int64),
        }
        caches = [self._cache(x) for x in self.remembered]
        inputs |= {"past_key": caches[0][0], "past_value": caches[1][0]}
        outputs = [("out", np.float32), ("present_key", STORED[kv]), ("present_value", STORED[kv])]
        if kv == "int8":
            inputs |= {"past_key_scale": caches[0][1], "past_value_scale": caches[1][1]}
            outputs += [("present_key_scale", np.float32), ("present_value_scale", np.float32)]
        if replayed is not None:
            if kv != "int8":
                inputs |= {"past_key_scale": None, "past_value_scale": None}
            inputs["replayed"] = np.array([replayed])
        self.node = Node(
            "CachedAttention",
            inputs,
            outputs,
            **{
                "num_heads": s.heads,
                "num_kv_heads": s.kv_heads,
                "head_dim": s.dim,
                "rotary_dim": s.rotary,
                "window": s.window,
                "scale": s.dim**-0.5,
                "epsilon": 1e-5,
                **more,
            },
        )
        self._reference = (norms, kind)

    def _cache(self, x: Array) -> tuple[Array, Array]:
        heads, past, dim = x.shape
        values = np.full((1, heads, self.capacity, dim), UNUSED, STORED[self.kv])
        scales = np.full((1, heads, self.capacity), UNUSED, np.float32)
        if self.kv == "int8":
            scales[0, :, :past] = np.abs(x).max(-1, initial=0) / np.float32(127)
            x = np.rint(x / scales[0, :, :past, None])
        values[0, :, :past] = x
        return values, scales

    def want(self) -> tuple[Array, Array, Array]:
        s, (norms, kind) = self.shape, self._reference
        sizes = [s.heads * s.dim, (s.heads + s.kv_heads) * s.dim]
        q, k, v = (
            part.reshape(len(part), -1, s.dim) for part in np.split(self.qkv[0], sizes, axis=-1)
        )
        key, value = self.remembered
        q_norm, k_norm = norms
        return ops.cached_attention(
            *(q, k, v, key, value, q_norm, k_norm, 1e-5, self.rope, s.window, kind),
            self.replayed,
        )

    def cached(self, outputs: list[Array], index: int) -> Array:
        """What the present cache holds, as floats."""
        values = outputs[index][0, :, : self.total].astype(np.float32)
        if self.kv == "int8":
            values *= outputs[index + 2][0, :, : self.total, None]
        return values


@pytest.mark.parametrize("kv", KINDS)
@pytest.mark.parametrize(
    ("tokens", "past", "shape"),
    [
        (1, 0, Shape()),
        (1, 100, Shape(heads=4, kv_heads=4)),
        (1, 3000, Shape(dim=64, rotary=64)),
        (3, 1022, Shape(dim=128, rotary=64)),
        (17, 0, Shape(heads=2, kv_heads=1, dim=16, rotary=8)),
        (40, 200, Shape(rotary=0)),
        (130, 1000, Shape()),
        (70, 300, Shape(window=33)),
        (1, 1500, Shape(window=256)),
        (40, 2000, Shape(window=1200)),
        (5, 63, Shape(window=1)),
        (3, 10, Shape(heads=80, kv_heads=1)),
    ],
    ids=str,
)
def test_cached_attention(kv: str, tokens: int, past: int, shape: Shape) -> None:
    attention = Attention(kv, tokens, past, shape)
    got, (out, key, value) = attention.node(), attention.want()
    # A key on the border between two steps of int8 or float16 may be rounded either way.
    assert error(got[0][0], out) <= {"f32": 1e-5, "f16": 1e-3, "int8": 1e-2}[kv]
    assert error(attention.cached(got, 1), key) <= {"f32": 1e-5, "f16": 5e-3, "int8": 5e-2}[kv]
    assert error(attention.cached(got, 2), value) <= {"f32": 0, "f16": 0, "int8": 1e-6}[kv]
    assert (got[1][0, :, attention.total :] == UNUSED).all()
    assert (got[2][0, :, attention.total :] == UNUSED).all()


@pytest.mark.parametrize("kv", KINDS)
@pytest.mark.parametrize("tokens", [1, 5, 70])
def test_in_place_equals_apart(kv: str, tokens: int) -> None:
    attention = Attention(kv, tokens, 50)
    apart = attention.node()
    for got, want in zip(attention.node.in_place(IN_PLACE), apart, strict=True):
        assert (got == want).all()


@pytest.mark.parametrize("kv", KINDS)
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("window", [0, 40, 1030])
def test_chunks_and_threads_change_no_bit(kv: str, threads: int, window: int) -> None:
    shape = Shape(window=window)
    whole = Attention(kv, 150, 1000, shape).node()
    attention = Attention(kv, 150, 1000, shape, threads=threads)
    names = attention.node.outputs[1:]
    state = {IN_PLACE[name]: attention.node.feeds[IN_PLACE[name]] for name in names}
    position, parts = 1000, []
    for tokens in (1, 1, 33, 20, 1, 64, 2, 28):
        first, position = position - 1000, position + tokens
        out, *present = attention.node(
            qkv=attention.qkv[:, first : first + tokens],
            attention_mask=np.ones((1, position), np.int64),
            **state,
        )
        state = {IN_PLACE[name]: value for name, value in zip(names, present, strict=True)}
        parts.append(out)
    assert (np.concatenate(parts, axis=1) == whole[0]).all()
    for value, want in zip(state.values(), whole[1:], strict=True):
        assert (value == want).all()


@pytest.mark.parametrize("kv", KINDS)
@pytest.mark.parametrize(
    ("tokens", "past", "replayed", "window"),
    [(5, 20, 3, 0), (5, 20, 5, 0), (1, 9, 1, 0), (40, 1030, 12, 0), (70, 100, 69, 33)],
)
def test_replayed_tokens_attend_and_are_not_appended(
    kv: str, tokens: int, past: int, replayed: int, window: int
) -> None:
    attention = Attention(kv, tokens, past, Shape(window=window), replayed)
    got, (out, key, value) = attention.node(), attention.want()
    assert error(got[0][0], out) <= {"f32": 1e-5, "f16": 1e-3, "int8": 1e-2}[kv]
    for index, want in ((1, key), (2, value)):
        bound = {"f32": 1e-5, "f16": 5e-3, "int8": 5e-2}[kv]
        assert error(attention.cached(got, index), want) <= bound
    for name, present in zip(attention.node.outputs[1:], got[1:], strict=True):
        before = attention.node.feeds[IN_PLACE[name]]
        assert (present[0, :, :past] == before[0, :, :past]).all()
        assert (present[0, :, attention.total :] == UNUSED).all()


@pytest.mark.parametrize("kv", KINDS)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_run_that_replays_what_was_run_gives_the_same_bits(kv: str, threads: int) -> None:
    """Whatever the chunks, and how many of the tokens stand in the cache already."""
    attention = Attention(kv, 90, 1000, replayed=0, threads=threads)
    names = attention.node.outputs[1:]
    out, *present = attention.node()
    state = {IN_PLACE[name]: value for name, value in zip(names, present, strict=True)}
    for first, tokens, replayed in ((0, 90, 90), (0, 90, 40), (88, 2, 1), (3, 1, 1), (50, 30, 29)):
        again, *after = attention.node(
            qkv=attention.qkv[:, first : first + tokens],
            attention_mask=np.ones((1, 1000 + first + tokens), np.int64),
            replayed=np.array([replayed]),
            **state,
        )
        assert (again == out[:, first : first + tokens]).all()
        for value, want in zip(after, present, strict=True):
            assert (value == want).all()


@pytest.mark.parametrize("kv", KINDS)
@pytest.mark.parametrize(
    ("window", "slots"), [(1, 64), (33, 128), (60, 128), (65, 128), (400, 512)]
)
def test_slots_that_are_used_again_change_no_bit(kv: str, window: int, slots: int) -> None:
    """Position p in slot p modulo their number, whatever the chunks."""
    attention = Attention(kv, 640, 0, Shape(window=window), threads=2)
    names = attention.node.outputs[1:]
    whole = attention.node()
    state = {
        IN_PLACE[name]: np.full_like(attention.node.feeds[IN_PLACE[name]][:, :, :slots], UNUSED)
        for name in names
    }
    position = 0
    for tokens in (1, 63, 64, 2, 1, 30, 64, 50, 64, 64, 1, 64, 64, 64, 44):
        first, position = position, position + tokens
        out, *present = attention.node(
            qkv=attention.qkv[:, first:position],
            attention_mask=np.ones((1, position), np.int64),
            **state,
        )
        assert (out == whole[0][:, first:position]).all()
        state = {IN_PLACE[name]: value for name, value in zip(names, present, strict=True)}
    assert position == 640
    last = np.arange(640 - slots, 640)
    for value, want in zip(present, whole[1:], strict=True):
        assert (value[:, :, last % slots] == want[:, :, last]).all()


@pytest.mark.parametrize("kv", KINDS)
def test_a_cache_may_be_full(kv: str) -> None:
    attention = Attention(kv, 4, 60)
    full = {
        name: np.ascontiguousarray(value[:, :, :64])
        for name, value in attention.node.feeds.items()
        if name.startswith("past_")
    }
    assert (attention.node(**full)[0] == attention.node()[0]).all()


def test_large_scores_do_not_overflow() -> None:
    attention = Attention("f32", 20, 100, scale=200.0)
    assert np.isfinite(attention.node()[0]).all()


def test_a_key_of_zeros_is_remembered_as_zeros() -> None:
    attention = Attention("int8", 2, 10)
    got = attention.node(qkv=np.zeros_like(attention.qkv))
    assert (attention.cached(got, 1)[:, 10:] == 0).all()
    assert (attention.cached(got, 2)[:, 10:] == 0).all()
