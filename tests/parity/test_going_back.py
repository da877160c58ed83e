"""Sessions that go back, fork, are saved and opened anywhere: as if they had read straight on.

Target `onnx` is held to the bit, however its tokens were cut into runs. The portable graph gives
other bits for other runs, so it is held to the bit where the runs are the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_edge import Session, replay
from numpy.typing import NDArray

from tests.sdk.interrupting import interrupt_at
from tests.support import Config, export, random_model, saved, tiny_dense, tiny_lfm3, tiny_moe

CAPACITY = 96
TOKENS = np.random.default_rng(7).integers(8, 320, 4000).tolist()
Case = tuple[str, int, str]
Array = NDArray[Any]

FAMILIES: dict[str, Callable[..., Config]] = {
    "moe": tiny_moe,
    "dense": tiny_dense,
    "lfm3": tiny_lfm3,
}
CASES: list[Case] = [
    ("moe", 3, "f32"),
    ("moe", 3, "f16"),
    ("moe", 3, "int8"),
    ("dense", 2, "f16"),
    ("dense", 3, "f16"),
    ("lfm3", 7, "int8"),
]
PORTABLE: list[Case] = [("moe", 3, "portable"), ("lfm3", 7, "portable")]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], lfm_edge.Model]:
    """Models of tiny configurations: family, kernel, and the cache's type or `portable`."""
    folder = tmp_path_factory.mktemp("back")
    made: dict[Case, lfm_edge.Model] = {}

    def load(case: Case) -> lfm_edge.Model:
        if case not in made:
            family, kernel, kind = case
            source = folder / f"{family}-{kernel}"
            if not source.exists():
                saved(random_model(FAMILIES[family](conv_L_cache=kernel)), source)
            options = {"target": "onnx-portable"} if kind == "portable" else {"kv": kind}
            out = folder / f"{family}-{kernel}-{kind}"
            export(source, out, quant="f32" if kind == "portable" else "q4", **options)
            made[case] = lfm_edge.load(out, threads=1)
        return made[case]

    return load


def convolutions(model: lfm_edge.Model) -> list[str]:
    return [t.name for t in model.bundle.manifest.graph.state if t.kind == "conv"]


def held(model: lfm_edge.Model, session: Session) -> dict[str, Array]:
    """What the state holds; of a cache what lies before the position."""
    return {
        tensor.name: session.state.tensors[tensor.name][:, :, : session.position]
        if "capacity" in tensor.shape
        else session.state.tensors[tensor.name]
        for tensor in model.bundle.manifest.graph.state
    }


Straight = Callable[[list[int]], tuple[Array, dict[str, Array]]]


def straight(model: lfm_edge.Model) -> Straight:
    """Logits and state of a session that read these tokens in one go."""
    known: dict[tuple[int, ...], tuple[Array, dict[str, Array]]] = {}

    def run(ids: list[int]) -> tuple[Array, dict[str, Array]]:
        if tuple(ids) not in known:
            session = model.session(CAPACITY)
            known[tuple(ids)] = session.prefill(ids), held(model, session)
        return known[tuple(ids)]

    return run


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(1, 40)),
        st.tuples(st.sampled_from(["rewind", "resume", "restore"]), st.integers(0, CAPACITY)),
        st.tuples(st.sampled_from(["fork", "snapshot", "save"]), st.just(0)),
    ),
    max_size=12,
)


class Walk:
    """A session, and the tokens that it should hold."""

    def __init__(self, model: lfm_edge.Model, file: Path) -> None:
        self.model, self.file = model, file
        self.session, self.ids = model.session(CAPACITY), list[int]()
        self.snapshots: list[lfm_edge.Snapshot] = []
        self.given = 0

    def step(self, name: str, number: int) -> Array | None:
        """Does one thing; the logits, if it read something."""
        logits: Array | None = getattr(self, name)(number)
        assert self.session.ids == self.ids
        assert self.session.capacity == CAPACITY
        return logits

    def read(self, number: int) -> Array | None:
        if len(self.ids) + number > CAPACITY:
            return None
        new = self._new(number)
        self.ids += new
        return self.session.prefill(new)

    def rewind(self, number: int) -> None:
        self.ids = self.ids[:number]
        self.session.rewind(len(self.ids))

    def resume(self, number: int) -> Array:
        self.ids = [*self.ids[: min(number, CAPACITY - 1)], *self._new(1)]
        left = self.session.resume(self.ids)
        assert self.session.ids == self.ids[: len(self.ids) - len(left)]
        return self.session.prefill(left)

    def snapshot(self, number: int) -> None:
        self.snapshots.append(self.session.snapshot())

    def restore(self, number: int) -> None:
        for snapshot in self.snapshots[number % 3 :]:
            if self.ids[: snapshot.position] == list(snapshot.ids):
                self.session.restore(snapshot)
                self.ids = list(snapshot.ids)
            else:
                with pytest.raises(lfm_edge.InvalidRequestError, match="restore: the session"):
                    self.session.restore(snapshot)

    def fork(self, number: int) -> None:
        earlier, self.session = self.session, self.session.fork()
        if earlier.position < CAPACITY:
            earlier.prefill([5])  # goes on by itself

    def save(self, number: int) -> None:
        self.session.save(self.file)
        self.session = Session.open(self.model, self.file)

    def _new(self, count: int) -> list[int]:
        self.given += count
        return TOKENS[self.given - count : self.given]


def walk_anywhere(
    model: lfm_edge.Model, file: Path, check: Callable[[Session, Array], None]
) -> None:
    """Takes a session to random places, and checks it wherever it gives logits."""

    @settings(max_examples=25, deadline=None)
    @given(steps=STEPS)
    def walk(steps: list[tuple[str, int]]) -> None:
        session = Walk(model, file)
        for name, number in [*steps, ("read", 1)]:
            logits = session.step(name, number)
            if logits is not None:
                check(session.session, logits)

    walk()


@pytest.mark.parametrize("case", CASES)
def test_wherever_a_session_goes_its_bits_are_those_of_a_straight_run(
    load: Callable[[Case], lfm_edge.Model],
    case: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replay, "PREFILL_CHUNK", 16)
    model = load(case)
    truth = straight(model)

    def check(session: Session, logits: Array) -> None:
        right, state = truth(session.ids)
        assert np.array_equal(logits, right)
        found = held(model, session)
        assert all(np.array_equal(found[name], state[name]) for name in state)
        assert not session._contents._checkpoints.last  # no conv state is kept

    walk_anywhere(model, tmp_path / "saved", check)


@pytest.mark.parametrize("case", PORTABLE)
def test_the_portable_graph_goes_anywhere_too(
    load: Callable[[Case], lfm_edge.Model],
    case: Case,
    tmp_path: Path,
) -> None:
    model = load(case)
    truth = straight(model)

    def check(session: Session, logits: Array) -> None:
        np.testing.assert_allclose(logits, truth(session.ids)[0], atol=2e-3)

    walk_anywhere(model, tmp_path / "saved", check)


@pytest.mark.parametrize("case", PORTABLE)
def test_the_portable_graph_gives_the_same_bits_for_the_same_runs(
    load: Callable[[Case], lfm_edge.Model], case: Case
) -> None:
    model = load(case)
    session, plain = model.session(CAPACITY), model.session(CAPACITY)
    for start, stop in ((0, 20), (20, 33), (33, 40)):
        session.prefill(TOKENS[start:stop])
    session.rewind(33)
    assert session.to_replay == 0
    again = session.prefill(TOKENS[60:70])
    for start, stop in ((0, 20), (20, 33), (60, 70)):
        logits = plain.prefill(TOKENS[start:stop])
    assert np.array_equal(again, logits)
    # Between two kept states the tokens since the earlier one are read again.
    session.rewind(27)
    assert session.to_replay == 7
    assert session.resume([*TOKENS[:27], 9]) == [*TOKENS[20:27], 9]
    again = session.prefill([*TOKENS[20:27], 9])
    plain.reset()
    plain.prefill(TOKENS[:20])
    assert np.array_equal(again, plain.prefill([*TOKENS[20:27], 9]))


@pytest.mark.parametrize("case", CASES)
def test_a_rewind_costs_as_many_tokens_as_the_convolutions_see_and_one_fewer_would_differ(
    load: Callable[[Case], lfm_edge.Model], case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(case)
    need = len(convolutions(model)) * (case[1] - 1)
    for back_to in (95, 50, need + 1):
        right = straight(model)([*TOKENS[:back_to], 9])[0]
        for count in (need, need - 1):
            changed = dataclasses.replace(model.runtime.access, replay=count)
            with monkeypatch.context() as patch:
                if count < need:
                    patch.setattr(model.runtime, "access", changed)
                session = model.session(CAPACITY)
                session.prefill(TOKENS[:CAPACITY])
                session.rewind(back_to)
                assert session.to_replay == count
                assert np.array_equal(session.decode(9), right) == (count == need)
            assert session.to_replay == 0


@pytest.mark.parametrize("case", [("moe", 3, "f16"), ("moe", 3, "portable")])
def test_an_interrupt_while_a_session_goes_back(
    load: Callable[[Case], lfm_edge.Model], case: Case, tmp_path: Path
) -> None:
    model, file = load(case), tmp_path / "saved"
    session, count, found = model.session(64), 0, set()
    ids = TOKENS[:20]

    def work() -> None:
        mark = session.snapshot()
        session.rewind(12)
        session.prefill(TOKENS[20:24])
        session.fork()
        session.restore(session.snapshot())
        session.prefill(session.resume([*TOKENS[:10], 9]))
        session.save(file)
        assert mark.position == len(ids)

    kept = [ids, ids[:12], [*ids[:12], *TOKENS[20:24]], ids[:10], [*ids[:10], 9], []]
    truths = {tuple(k): straight(model)([*k, 11])[0] for k in kept}
    while True:
        count += 7
        session.reset()
        session.prefill(ids)
        interrupted = interrupt_at(count, work)
        left = tuple(session.ids)
        found.add(left)
        np.testing.assert_allclose(session.decode(11), truths[left], atol=2e-3)
        assert [path.name for path in tmp_path.iterdir()] in ([], ["saved"])
        if not interrupted:
            break
    assert len(found) >= 4


def test_a_long_way_back_costs_no_more_than_a_short_one(
    load: Callable[[Case], lfm_edge.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(("moe", 3, "f16"))
    session = model.session(250)
    session.prefill(TOKENS[:250])
    run, runs = session.state.run, []

    def count(ids: Array, *place: int) -> Array:
        runs.append((len(ids), *place))
        return run(ids, *place)

    monkeypatch.setattr(session.state, "run", count)
    for back_to in (249, 150, 20):
        session.rewind(back_to)
        session.decode(9)
    need = 2 * len(convolutions(model))
    assert runs == [(need + 1, back_to - need, need) for back_to in (249, 150, 20)]
