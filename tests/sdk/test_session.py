"""Sessions: the same logits however the tokens are fed, state in place, and clear refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import lfm_edge
import msgspec
import numpy as np
import onnx
import pytest
from lfm_edge import (
    BundleError,
    ContextFullError,
    InvalidRequestError,
    UnknownTokenError,
    replay,
)
from lfm_edge.onnx_runtime import BoundState
from lfm_edge.runtime import state_bytes

from tests.sdk.toy import HIDDEN, MAX_CONTEXT, VOCAB, ToyModel, toy_manifest, write_manifest

IDS = np.random.default_rng(3).integers(0, VOCAB, 40).tolist()


def test_prefill_in_one_piece_gives_the_truth(model: lfm_edge.Model, toy: ToyModel) -> None:
    session = model.session()
    logits = session.prefill(IDS)
    assert logits.shape == (VOCAB,)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, toy.logits(IDS), atol=1e-4)
    assert (session.position, session.ids) == (40, IDS)


def test_every_way_to_feed_gives_the_truth_at_each_step(
    model: lfm_edge.Model, toy: ToyModel
) -> None:
    session = model.session(64)
    for sizes in ([1] * 40, [7, 1, 1, 20, 3, 8], [39, 1]):
        session.reset()
        for size in sizes:
            start = session.position
            chunk = IDS[start : start + size]
            logits = session.decode(chunk[0]) if size == 1 else session.prefill(chunk)
            np.testing.assert_allclose(logits, toy.logits(IDS[: start + size]), atol=1e-4)


def test_a_long_prompt_is_read_in_several_runs(model: lfm_edge.Model, toy: ToyModel) -> None:
    ids = np.random.default_rng(4).integers(0, VOCAB, 1300)
    logits = model.session(1300).prefill(ids)
    np.testing.assert_allclose(logits, toy.logits(ids.tolist()), atol=1e-4)


def test_state_is_updated_in_place(model: lfm_edge.Model) -> None:
    session = model.session(64)
    assert isinstance(session.state, BoundState)
    inputs = {name: array.ctypes.data for name, array in session.state.tensors.items()}
    for token in IDS[:3]:
        session.decode(token)
        outputs = session.state.binding.get_outputs()
        names = [tensor.name for tensor in model.bundle.manifest.graph.state]
        assert {n: v.data_ptr() for n, v in zip(names, outputs, strict=False)} == inputs
    key = session.state.tensors["0.key"]
    assert np.all(np.any(key[0, 0, :3] != 0, axis=-1))
    assert not key[0, 0, 3:].any()


def test_reset_leaves_nothing_behind(model: lfm_edge.Model) -> None:
    session = model.session(64)
    first = [session.decode(token) for token in IDS]
    session.reset()
    assert session.position == 0
    again = [session.decode(token) for token in IDS]
    np.testing.assert_array_equal(first, again)


def test_logits_are_the_callers_own(model: lfm_edge.Model) -> None:
    session = model.session(8)
    first = session.decode(IDS[0])
    kept = first.copy()
    session.decode(IDS[1])
    np.testing.assert_array_equal(first, kept)


def test_sessions_of_one_model_are_apart(model: lfm_edge.Model, toy: ToyModel) -> None:
    left, right = model.session(64), model.session(32)
    for token in IDS[:8]:
        left.decode(token)
        right.decode(VOCAB - 1 - token)
    np.testing.assert_allclose(left.decode(5), toy.logits([*IDS[:8], 5]), atol=1e-4)


def test_context_defaults_to_the_smaller_of_4096_and_the_bundles(model: lfm_edge.Model) -> None:
    assert model.session().capacity == MAX_CONTEXT


@pytest.mark.parametrize("context", [0, -1, MAX_CONTEXT + 1])
def test_context_out_of_range(model: lfm_edge.Model, context: int) -> None:
    with pytest.raises(InvalidRequestError, match=r"context: got .* expected 1 to 2,048"):
        model.session(context)


def test_a_full_context_takes_nothing_and_stays_usable(
    model: lfm_edge.Model, toy: ToyModel
) -> None:
    session = model.session(10)
    session.prefill(IDS[:8])
    with pytest.raises(ContextFullError, match=r"3 more tokens at position 8 .* capacity of 10"):
        session.prefill(IDS[8:11])
    assert session.position == 8
    np.testing.assert_allclose(session.prefill(IDS[8:10]), toy.logits(IDS[:10]), atol=1e-4)
    with pytest.raises(ContextFullError):
        session.decode(1)


@pytest.mark.parametrize("token", [-1, VOCAB, 10**12])
def test_unknown_tokens_are_named(model: lfm_edge.Model, token: int) -> None:
    session = model.session(10)
    with pytest.raises(UnknownTokenError, match=f"{token}: outside the vocabulary.*0 to 299"):
        session.prefill([1, token, 2])
    assert session.position == 0


@pytest.mark.parametrize("ids", [[], [[1, 2]], [1.5], ["a"]])
def test_what_is_no_list_of_tokens_is_refused(model: lfm_edge.Model, ids: list[int]) -> None:
    with pytest.raises(InvalidRequestError, match="token"):
        model.session(10).prefill(ids)


def test_state_bytes_counts_the_growing_axis(model: lfm_edge.Model) -> None:
    key, _, conv = model.bundle.manifest.graph.state
    assert state_bytes(key, 100) == 100 * HIDDEN * 4
    assert state_bytes(conv, 100) == HIDDEN * 2 * 4
    tensors = model.session(100).state.tensors
    assert state_bytes(key, 100) == tensors["0.key"].nbytes
    assert math.prod(tensors["0.conv"].shape) == HIDDEN * 2


def test_threads_must_be_positive(toy_bundle: Path) -> None:
    with pytest.raises(InvalidRequestError, match="threads: got 0"):
        lfm_edge.load(toy_bundle, threads=0)


def test_a_graph_that_fails_to_run_leaves_an_empty_session(
    make_model: Callable[..., lfm_edge.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_model().session(10)
    session.prefill([1, 2])
    monkeypatch.setattr(session.state, "_ones", np.ones((1, 10), np.int32))
    with pytest.raises(BundleError, match="failed to run") as caught:
        session.decode(3)
    assert "\n" not in str(caught.value)
    assert session.position == 0


def test_a_graph_without_the_manifests_state_is_refused(tmp_path: Path, toy: ToyModel) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    graph = toy.graph()
    onnx.save(graph, folder / "model.onnx")
    manifest = toy_manifest(toy)
    state = [msgspec.structs.replace(manifest.graph.state[0], input="past_other")]
    state += manifest.graph.state[1:]
    odd = msgspec.structs.replace(
        manifest, graph=msgspec.structs.replace(manifest.graph, state=state)
    )
    write_manifest(folder, odd)
    with pytest.raises(BundleError, match="inputs are not those of the manifest: past_key"):
        lfm_edge.load(folder)


def test_a_bug_of_ours_is_no_error_of_the_bundle(
    make_model: Callable[..., lfm_edge.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    session = model.session(10)
    session.prefill([1, 2])
    monkeypatch.setattr(session.state, "_ones", None)
    with pytest.raises(TypeError):
        session.decode(3)
    assert session.position == 0

    def bug(threads: int | None) -> NoReturn:
        raise ValueError("a bug")

    monkeypatch.setattr("lfm_edge.onnx_runtime._options", bug)
    with pytest.raises(ValueError, match="a bug"):
        lfm_edge.load(model.bundle.folder)


def test_going_back_as_far_as_it_goes_and_no_further(model: lfm_edge.Model) -> None:
    session = model.session(64)
    session.prefill(IDS[:9])
    for position in (-1, 10):
        with pytest.raises(InvalidRequestError, match=f"position {position}, but .* holds 9 tok"):
            session.rewind(position)
    assert session.ids == IDS[:9]
    assert session.resume([*IDS[:9], 5]) == [5]
    assert session.resume(IDS[:9]) == IDS[:9]  # the last is read for its logits
    with pytest.raises(InvalidRequestError, match="empty list"):
        session.resume([])


def test_a_snapshot_of_another_model_is_refused(
    model: lfm_edge.Model, make_model: Callable[..., lfm_edge.Model]
) -> None:
    mark = make_model().session(64).snapshot()
    with pytest.raises(InvalidRequestError, match="another model's"):
        model.session(64).restore(mark)


def test_kept_conv_states_stay_few(
    model: lfm_edge.Model, toy: ToyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "MOST_CHECKPOINTS", 5)
    ids = np.random.default_rng(4).integers(0, VOCAB, 200).tolist()
    session = model.session(256)
    for start in range(0, 200, 2):
        session.prefill(ids[start : start + 2])
    for position in (200, 170, 120, 63, 2):
        session.rewind(position)
        assert session.to_replay <= 80
        assert len(session._contents._checkpoints._positions) <= 5
        again = session.prefill([7, 8])
        np.testing.assert_allclose(again, toy.logits([*ids[:position], 7, 8]), atol=1e-4)


@pytest.mark.parametrize("position", [True, 2.0, "2", None, -1, 9, np.float32(1)])
def test_a_position_that_is_none_changes_nothing(model: lfm_edge.Model, position: object) -> None:
    session = model.session(32)
    session.prefill(IDS[:8])
    with pytest.raises(InvalidRequestError, match="rewind: got position"):
        session.rewind(position)  # type: ignore[arg-type]
    assert session.ids == IDS[:8]
    session.rewind(np.int64(3))  # type: ignore[arg-type]
    assert session.ids == IDS[:3]


def test_what_is_no_snapshot_changes_nothing(model: lfm_edge.Model) -> None:
    session = model.session(32)
    session.prefill(IDS[:8])
    with pytest.raises(InvalidRequestError, match="restore: got a int"):
        session.restore(3)  # type: ignore[arg-type]
    assert session.ids == IDS[:8]


@pytest.mark.parametrize("context", [True, 1.5, "64", math.nan, [64]])
def test_a_context_is_an_integer(model: lfm_edge.Model, context: object) -> None:
    with pytest.raises(InvalidRequestError, match="context: got"):
        model.session(context)  # type: ignore[arg-type]
