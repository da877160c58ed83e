"""What a session will need to go back: no snapshot, and not a token run twice in vain.

A conv layer of kernel k sees k - 1 tokens back, so the state of n of them at a position follows
from running the last n (k - 1) tokens before it again, on top of an empty conv state, if attention
reads what stands in the cache and appends nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lfm_edge
import numpy as np
import pytest
from lfm_edge.bundle import StateTensor
from lfm_edge.onnx_runtime import OnnxRuntime
from numpy.typing import NDArray

from tests.support import export, random_model, saved, tiny_lfm3, tiny_moe

TOKENS, BACK_TO, CAPACITY = 60, 37, 64
SLIDING = tiny_lfm3(
    layer_types=["conv", "sliding_attention", "conv", "full_attention"], num_hidden_layers=4
)
Array = NDArray[Any]


@dataclass(frozen=True)
class Results:
    """What a run gave: the logits of its last token, the state, the conv columns of each layer."""

    logits: Array
    state: dict[str, Array]
    columns: dict[str, Array]


class Graph:
    """A bundle's graph, called with everything it takes; state goes in and comes out."""

    def __init__(self, model: lfm_edge.Model) -> None:
        assert isinstance(model.runtime, OnnxRuntime)
        self.session = model.runtime.session
        self.tensors = model.bundle.manifest.graph.state
        self.vocab_size = model.bundle.manifest.model.vocab_size

    @property
    def conv(self) -> list[StateTensor]:
        return [tensor for tensor in self.tensors if tensor.kind == "conv"]

    def empty(self) -> dict[str, Array]:
        shapes = {
            tensor.name: [CAPACITY if n == "capacity" else n for n in tensor.shape]
            for tensor in self.tensors
        }
        return {t.name: np.zeros(shapes[t.name], t.dtype) for t in self.tensors}

    def run(
        self,
        state: dict[str, Array],
        ids: Array,
        position: int,
        replayed: int = 0,
        columns: int = 0,
    ) -> Results:
        feeds = {str(tensor.input): state[tensor.name] for tensor in self.tensors}
        feeds |= {
            "input_ids": ids[None],
            "attention_mask": np.ones((1, position + len(ids)), np.int64),
            "replayed": np.array([replayed]),
            "conv_columns": np.array([columns]),
            "logits_at": np.array([-1]),
        }
        names = [str(tensor.output) for tensor in self.tensors]
        kept = [f"conv_columns.{tensor.layer}" for tensor in self.conv]
        logits, *rest = self.session.run(["logits", *names, *kept], feeds)
        after = zip((t.name for t in self.tensors), rest[: len(names)], strict=True)
        found = zip((t.name for t in self.conv), rest[len(names) :], strict=True)
        return Results(logits, dict(after), dict(found))


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Graph]:
    """Bundles of one model with two convolutions, for each kind of cache."""
    folder = tmp_path_factory.mktemp("replay")
    made: dict[tuple[str, int], Graph] = {}

    def make(kv: str, kernel: int = 3) -> Graph:
        if (kv, kernel) not in made:
            source = folder / f"checkpoint-{kernel}"
            if not source.exists():
                config = SLIDING if kernel == 7 else tiny_moe(conv_L_cache=kernel)
                saved(random_model(config), source)
            out = folder / f"{kv}-{kernel}"
            export(source, out, quant="q4", kv=kv)
            made[kv, kernel] = Graph(lfm_edge.load(out))
        return made[kv, kernel]

    return make


IDS = np.random.default_rng(0).integers(8, 320, TOKENS)


@pytest.mark.parametrize("kernel", [3, 4, 7])
@pytest.mark.parametrize("kv", ["f32", "f16", "int8"])
def test_a_rewind_needs_as_many_tokens_as_the_convolutions_see_and_no_fewer(
    graph: Callable[..., Graph], kv: str, kernel: int
) -> None:
    model = graph(kv, kernel)
    need = len(model.conv) * (kernel - 1)
    there = model.run(model.empty(), IDS[:BACK_TO], 0)
    onwards = model.run(there.state, IDS[BACK_TO:50], BACK_TO)
    spoilt = model.run(there.state, IDS[::-1][: TOKENS - BACK_TO].copy(), BACK_TO).state
    forgot = {t.name: np.zeros_like(spoilt[t.name]) for t in model.conv}

    for tokens in (need, need - 1):
        ids = IDS[BACK_TO - tokens :]
        first = BACK_TO - tokens
        back = model.run(spoilt | forgot, ids[:tokens], first, tokens)
        same = [np.array_equal(back.state[t.name], there.state[t.name]) for t in model.conv]
        # A rewind and the tokens that follow it are one run.
        once = model.run(spoilt | forgot, ids[: 50 - first], first, tokens)
        twice = model.run(back.state, IDS[BACK_TO:50], BACK_TO)
        assert np.array_equal(once.logits, twice.logits)
        if tokens == need:
            assert all(same)
            assert np.array_equal(once.logits, onwards.logits)
            for name, value in once.state.items():
                assert np.array_equal(visible(value, 50), visible(onwards.state[name], 50)), name
        else:
            assert not all(same)
            assert not np.array_equal(once.logits, onwards.logits)


@pytest.mark.parametrize("kv", ["f32", "f16", "int8"])
def test_a_replay_leaves_the_cache_as_it_is(graph: Callable[..., Graph], kv: str) -> None:
    model = graph(kv)
    there = model.run(model.empty(), IDS, 0)
    back = model.run(there.state, IDS[20:30], 20, 10)
    for tensor in model.tensors:
        if tensor.kind != "conv":
            assert np.array_equal(back.state[tensor.name], there.state[tensor.name]), tensor.name


def test_the_conv_state_after_any_token_is_among_the_columns(graph: Callable[..., Graph]) -> None:
    model = graph("f16")
    before = model.run(model.empty(), IDS[:20], 0).state
    run = model.run(before, IDS[20:28], 20, columns=10)
    assert np.array_equal(run.logits, model.run(before, IDS[20:28], 20).logits)
    for accepted in range(9):
        shorter = before
        if accepted:
            shorter = model.run(before, IDS[20 : 20 + accepted], 20).state
        for tensor in model.conv:
            picked = run.columns[tensor.name][..., accepted : accepted + 2]
            assert np.array_equal(picked, shorter[tensor.name]), (tensor.name, accepted)


def visible(value: Array, positions: int) -> Array:
    """Of a cache what lies before `positions`; a conv state whole."""
    return value[:, :, :positions] if CAPACITY in value.shape else value
