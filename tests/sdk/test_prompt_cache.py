"""The prompt cache: whatever was read before, a prompt's logits are a fresh session's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import lfm_edge
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_edge.prompt_cache import PromptCache

from tests.support import DEMO_MODEL, export

CONTEXT = 256


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> lfm_edge.Model:
    """The shipped model, of target `onnx`."""
    out = tmp_path_factory.mktemp("shipped") / "bundle"
    export(DEMO_MODEL, out, quant="q4")
    return lfm_edge.load(out, threads=1)


def words(seed: int, count: int) -> list[int]:
    return np.random.default_rng(seed).integers(20, 290, count).tolist()


SYSTEM = words(0, 60)

prompts = st.builds(
    lambda system, parts: [1, *SYSTEM[:system], *(t for s, n in parts for t in words(s, n))],
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 30)), min_size=1, max_size=3),
)


def straight(model: lfm_edge.Model, ids: list[int]) -> np.ndarray:
    return model.session(CONTEXT).prefill(ids)


def read(session: lfm_edge.Session, ids: list[int]) -> np.ndarray:
    reader = object()
    unread, logits = session.resume(ids, reader), None
    for run in session.runs(len(unread)):
        logits = session.read(unread[run], reader)
    assert logits is not None
    return logits


@settings(max_examples=25)
@given(
    asked=st.lists(st.tuples(prompts, st.integers(0, 4)), min_size=2, max_size=6),
    room=st.integers(0, 4),
)
def test_each_prompt_has_the_logits_of_a_straight_run(
    ours: lfm_edge.Model, asked: list[tuple[list[int], int]], room: int
) -> None:
    cache = PromptCache(ours, 0, CONTEXT)
    cache.budget = room * cache.session_bytes
    for ids, answered in asked:
        with cache.lease(ids) as session:
            np.testing.assert_array_equal(read(session, ids), straight(ours, ids))
            for token in words(9, answered):
                session.decode(token)
        assert cache.bytes <= cache.budget


@settings(max_examples=10)
@given(asked=st.lists(prompts, min_size=2, max_size=4))
def test_the_portable_graph_reads_on_from_what_it_can_go_back_to(
    model: lfm_edge.Model, asked: list[list[int]]
) -> None:
    cache = PromptCache(model, 1 << 40, CONTEXT)
    for ids in asked:
        with cache.lease(ids) as session:
            np.testing.assert_allclose(read(session, ids), straight(model, ids), rtol=0, atol=1e-4)


def test_threads_read_side_by_side_from_what_others_are_reading(ours: lfm_edge.Model) -> None:
    cache = PromptCache(ours, 1 << 40, CONTEXT)
    shared = [1, *SYSTEM]
    tails = [words(seed, 20 + seed) for seed in range(24)]
    want = [straight(ours, shared + tail) for tail in tails]
    saved = []

    def ask(number: int) -> None:
        ids = shared + tails[number]
        with cache.lease(ids) as session:
            saved.append(session.reachable(ids))
            np.testing.assert_array_equal(read(session, ids), want[number])
            for token in words(number, 8):
                session.decode(token)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(24)))
    # Not all: whoever asks while every session is in the middle of a run begins anew.
    assert sum(kept == len(shared) for kept in saved) >= 8
    cache.clear()
    assert (cache.sessions, cache.bytes) == (0, 0)


def test_a_prompt_goes_on_from_one_that_is_still_being_read(ours: lfm_edge.Model) -> None:
    cache = PromptCache(ours, 1 << 40, CONTEXT)
    shared = [1, *SYSTEM]
    one, other = shared + words(1, 30), shared + words(2, 30)
    with cache.lease(one) as busy:
        reader = object()
        unread = busy.resume(one, reader)
        busy.read(unread[:70], reader)
        with cache.lease(other) as session:
            assert session.reachable(other) == len(shared)
            np.testing.assert_array_equal(read(session, other), straight(ours, other))
        np.testing.assert_array_equal(busy.read(unread[70:], reader), straight(ours, one))


def test_a_conversation_goes_on_in_place_and_a_branch_leaves_it_whole(
    ours: lfm_edge.Model,
) -> None:
    cache = PromptCache(ours, 1 << 40, CONTEXT)
    first = [1, *SYSTEM, *words(1, 40)]
    with cache.lease(first) as session:
        read(session, first)
        session.prefill(words(2, 20))
    second = [*first, *words(3, 20)]  # the answer was rendered in another way
    with cache.lease(second) as again:
        assert again is session
        read(again, second)
    branch = [1, *SYSTEM, *words(4, 40)]
    with cache.lease(branch) as other:
        assert other is not session
        assert other.reachable(branch) == 1 + len(SYSTEM)
        read(other, branch)
    assert session.ids == second
    assert cache.sessions == 2


def test_the_least_recently_used_session_goes(ours: lfm_edge.Model) -> None:
    cache = PromptCache(ours, 0, CONTEXT)
    cache.budget = 2 * cache.session_bytes
    a, b, c = ([1, *words(seed, 50)] for seed in (1, 2, 3))
    for ids in (a, b, a, c):
        with cache.lease(ids) as session:
            read(session, ids)
    kept = {ids[1]: ids for ids in (a, b, c)}
    held = [entry.session.ids for entry in cache._entries]
    assert sorted(held) == sorted([kept[a[1]], kept[c[1]]])


def test_bytes_are_those_of_the_bound_buffers(ours: lfm_edge.Model) -> None:
    cache = PromptCache(ours, 1 << 40, CONTEXT)
    with cache.lease([1, 2]) as session:
        bound = sum(tensor.nbytes for tensor in session.state.tensors.values())
    assert cache.bytes == bound > 0


def test_sessions_in_use_outlast_a_clearing(ours: lfm_edge.Model) -> None:
    cache = PromptCache(ours, 0, CONTEXT)
    ids = [1, *words(1, 50)]
    with cache.lease(ids) as session:
        cache.clear()
        assert cache.sessions == 1
        np.testing.assert_array_equal(read(session, ids), straight(ours, ids))
    assert cache.sessions == 0


def test_an_answer_that_fails_leaves_a_session_that_can_be_used(ours: lfm_edge.Model) -> None:
    cache = PromptCache(ours, 1 << 40, CONTEXT)
    ids = [1, *words(1, 50)]

    def fail() -> None:
        with cache.lease(ids) as session:
            read(session, ids)
            session.prefill(words(2, CONTEXT))

    with pytest.raises(lfm_edge.ContextFullError, match="is full"):
        fail()
    with cache.lease(ids) as session:
        np.testing.assert_array_equal(read(session, ids), straight(ours, ids))
