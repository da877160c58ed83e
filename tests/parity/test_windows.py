"""Sliding layers that keep the last positions alone: as if they had kept everything, to the bit."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_edge import Session
from lfm_edge.bundle import Bundle, StateTensor
from lfm_edge.commands import inspect
from lfm_edge.runtime import state_bytes
from lfm_edge.windows import BEYOND_WINDOW, slots_for, windows
from lfm_export.emit.onnx_graph import signature
from numpy.typing import NDArray

from tests.support import export, load_truth, random_model, saved, tiny_lfm3

WINDOW, CAPACITY = 70, 2500
LAYERS = ["conv", "sliding_attention", "conv", "full_attention", "sliding_attention", "conv"]
NEAR = 3 * 6  # three convolutions of kernel 7
KEPT = 640  # 70 and 512 + NEAR more, in whole blocks of 64
FAR = NEAR + 2 * (WINDOW - 1)
TOKENS = np.random.default_rng(5).integers(8, 320, 60_000).tolist()
Array = NDArray[Any]
Models = tuple[lfm_edge.Model, lfm_edge.Model]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny_lfm3(layer_types=LAYERS, sliding_window=WINDOW, max_position_embeddings=CAPACITY)
    return saved(random_model(config), tmp_path_factory.mktemp("windows") / "source")


@pytest.fixture(scope="module")
def load(source: Path) -> Callable[[str], Models]:
    """A model whose sliding layers keep their last positions, and one that keeps everything."""
    made: dict[str, Models] = {}

    def load(kv: str) -> Models:
        if kv not in made:
            quant = "f32" if kv == "f32" else "q4"
            last, whole = source.with_name(kv), source.with_name(f"{kv}-whole")
            export(source, last, quant=quant, kv=kv)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(signature, "slots_for", lambda *_: CAPACITY)
                export(source, whole, quant=quant, kv=kv)
            made[kv] = lfm_edge.load(last, threads=1), lfm_edge.load(whole, threads=1)
        return made[kv]

    return load


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(1, 1100)),
        st.tuples(st.just("decode"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["back", "resume"]), st.integers(0, 1400)),
        st.tuples(st.sampled_from(["fork", "beginning", "save", "mark", "restore"]), st.just(0)),
        st.tuples(st.just("guess"), st.integers(1, 8)),
    ),
    max_size=9,
)


class Walk:
    """Two sessions that do the same."""

    def __init__(self, models: Models, folder: Path) -> None:
        self.models, self.folder = models, folder
        self.sessions = [model.session(CAPACITY) for model in models]
        self.mark: list[lfm_edge.Snapshot] = []
        self.given = 0

    def read(self, count: int) -> list[Array]:
        if self.sessions[0].position + count > CAPACITY:
            return []
        new = self._new(count)
        return [session.prefill(new) for session in self.sessions]

    def decode(self, count: int) -> list[Array]:
        return [row for _ in range(count) for row in self.read(1)]

    def back(self, distance: int) -> None:
        for session in self.sessions:
            session.rewind(max(0, session.position - distance))

    def resume(self, distance: int) -> list[Array]:
        ids = self.sessions[0].ids
        ids = [*ids[: max(0, len(ids) - distance - 1)], *self._new(1)]
        return [session.prefill(session.resume(ids)) for session in self.sessions]

    def fork(self, _: int) -> None:
        earlier, self.sessions = self.sessions, [session.fork() for session in self.sessions]
        for session in earlier:
            session.rewind(session.position // 2)
            session.prefill(TOKENS[:600])  # goes on by itself

    def beginning(self, _: int) -> None:
        place = self.sessions[0].position * 2 // 3
        self.sessions = [session.fork_beginning(place) for session in self.sessions]

    def save(self, _: int) -> None:
        for number, model in enumerate(self.models):
            file = self.folder / f"{number}"
            self.sessions[number].save(file)
            self.sessions[number] = Session.open(model, file)

    def mark_(self) -> None:
        self.mark = [session.snapshot() for session in self.sessions]

    def restore(self, _: int) -> None:
        ids = self.sessions[0].ids
        if self.mark and ids[: self.mark[0].position] == [*self.mark[0].ids]:
            for session, mark in zip(self.sessions, self.mark, strict=True):
                session.restore(mark)

    def guess(self, count: int) -> list[Array]:
        """Reads on with guesses, of which the first half is right."""
        if self.sessions[0].position + count + 1 > CAPACITY:
            return []
        new = self._new(count + 1)
        guesses = [*new[1 : 1 + count // 2], *self._new(count - count // 2)]
        rows = []
        for session in self.sessions:
            reader = object()
            left = session.resume([*session.ids, *new], reader)
            for at, token in enumerate(left):
                rows.append(session.read([token], reader, guesses if at == 0 else ()))
        half = len(rows) // 2
        return [row for pair in zip(rows[:half], rows[half:], strict=True) for row in pair]

    def step(self, name: str, number: int) -> None:
        if name == "mark":
            return self.mark_()
        rows = getattr(self, name)(number) or []
        for kept, whole in zip(rows[::2], rows[1::2], strict=True):
            assert np.array_equal(kept, whole)
        assert self.sessions[0].ids == self.sessions[1].ids
        return None

    def _new(self, count: int) -> list[int]:
        self.given += count
        return TOKENS[self.given - count : self.given]


@pytest.mark.parametrize("kv", ["f32", "f16", "int8"])
def test_wherever_a_session_goes_its_bits_are_those_of_caches_that_keep_everything(
    load: Callable[[str], Models], kv: str, tmp_path: Path
) -> None:
    models = load(kv)

    @settings(max_examples=12, deadline=None)
    @given(steps=STEPS)
    def walk(steps: list[tuple[str, int]]) -> None:
        walked = Walk(models, tmp_path)
        for name, number in [*steps, ("decode", 2)]:
            walked.step(name, number)

    walk()


def test_it_is_the_reference_past_several_windows(
    load: Callable[[str], Models], source: Path
) -> None:
    ids = TOKENS[:1500]
    with torch.no_grad():
        truth = load_truth(source)(torch.tensor([ids])).logits[0].numpy()
    session = load("f32")[0].session(CAPACITY)
    session.prefill(ids[:100])
    for start in range(100, 1500, 140):
        found = session.prefill(ids[start : start + 140])
        np.testing.assert_allclose(found, truth[start + 139], atol=2e-4)
    session.rewind(300)  # far beyond what is kept
    np.testing.assert_allclose(session.prefill(ids[300:700]), truth[699], atol=2e-4)


def test_a_rewind_costs_a_replay_near_by_and_the_windows_further_back(
    load: Callable[[str], Models],
) -> None:
    kept, whole = load("f16")
    session = kept.session(CAPACITY)
    session.prefill(TOKENS[:2000])
    furthest = 2000 - (KEPT - (WINDOW - 1)) + NEAR
    assert 2000 - furthest >= 512
    for place, cost in ((furthest, NEAR), (furthest - 1, FAR), (FAR + 1, FAR), (FAR, FAR)):
        session.rewind(place)
        assert session.to_replay == cost
    plain = whole.session(CAPACITY)
    plain.prefill(TOKENS[:FAR])
    assert np.array_equal(session.decode(9), plain.decode(9))


def test_one_token_fewer_would_differ(
    load: Callable[[str], Models], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read again is all that counts, and all of it does."""
    model, whole = load("f16")
    plain = whole.session(CAPACITY)
    plain.prefill(TOKENS[:1000])
    right = plain.decode(9)
    access = model.runtime.access
    assert access.windows is not None
    for count in (FAR, FAR - 1):
        windows = dataclasses.replace(access.windows, replay=count)
        monkeypatch.setattr(model.runtime, "access", dataclasses.replace(access, windows=windows))
        session = model.session(CAPACITY)
        session.prefill(TOKENS[:2000])
        session.rewind(1000)
        assert np.array_equal(session.decode(9), right) == (count == FAR)


def test_a_model_of_sliding_layers_alone(tmp_path: Path) -> None:
    config = tiny_lfm3(
        layer_types=["conv", "sliding_attention", "sliding_attention"],
        num_hidden_layers=3,
        sliding_window=1,
        max_position_embeddings=CAPACITY,
    )
    source = saved(random_model(config), tmp_path / "source")
    model = lfm_edge.load(export(source, tmp_path / "out", quant="q4").folder)
    assert model.bundle.manifest.graph.functions[0].replayed is None
    plain, session = model.session(CAPACITY), model.session(CAPACITY)
    plain.prefill(TOKENS[:700])
    session.prefill(TOKENS[:2000])
    for place in (1900, 700):
        session.rewind(place)
        assert session.to_replay == 6
        if place == 700:
            assert np.array_equal(session.decode(9), plain.decode(9))


def test_the_state_of_sliding_layers_does_not_grow(
    load: Callable[[str], Models], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = load("f16")[0].bundle
    assert slots_for(WINDOW, NEAR) == KEPT
    sliding = [t for t in bundle.manifest.graph.state if t.window]
    assert [t.shape for t in sliding] == [[1, 2, KEPT, 32]] * 4
    assert {state_bytes(t, 100) for t in sliding} == {state_bytes(t, 10**6) for t in sliding}
    inspect(bundle.folder)
    told = " ".join(capsys.readouterr().out.split())
    assert f"sliding layers keep the last {KEPT} positions" in told


@pytest.mark.parametrize(("window", "seen"), [(1, 0), (64, 0), (128, 78), (256, 78), (8, 2000)])
def test_a_replay_near_by_reaches_as_far_back_as_is_promised(window: int, seen: int) -> None:
    count, held = slots_for(window, seen), 100_000
    shape: list[Any] = [1, 2, count, 32]
    tensor = StateTensor("0.key", "key", 0, "float16", shape, "past", "present", window=window)
    found = windows([tensor], seen)
    assert found is not None
    assert held - BEYOND_WINDOW - seen >= held - found.reach
    assert count % 64 == 0
    assert count < window + BEYOND_WINDOW + seen + 64


def test_a_context_that_needs_no_more_is_kept_whole(source: Path, tmp_path: Path) -> None:
    bundle = export(source, tmp_path / "out", quant="q4", context=KEPT)
    assert all("capacity" in t.shape for t in bundle.manifest.graph.state if t.kind != "conv")
    assert bundle.manifest.graph.functions[0].replayed_windows is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": [1, 2, 576, 32]}, "keeps 576 positions, expected a multiple of 64 .* 581"),
        ({"shape": [1, 2, 650, 32]}, "keeps 650 positions"),
        ({"shape": [1, 2]}, "keeps 0 positions"),
        ({"shape": [1, 2, 704, 32]}, r"past_key_values.* expected"),
        ({"window": None}, "0 axes grow with the capacity, expected 1"),
        ({"window": 640}, "keeps 640 positions, expected"),
    ],
)
def test_slots_that_are_none_are_refused(
    load: Callable[[str], Models], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    folder = tmp_path / "bundle"
    _changed(load("f16")[0].bundle, folder, lambda graph: _tensor(graph).update(changes))
    with pytest.raises(lfm_edge.BundleError, match=words):
        lfm_edge.load(folder)


@pytest.mark.parametrize("role", ["replayed", "replayed_windows"])
def test_a_port_that_is_missing_is_refused(
    load: Callable[[str], Models], tmp_path: Path, role: str
) -> None:
    folder = tmp_path / "bundle"
    _changed(load("f16")[0].bundle, folder, lambda graph: graph["functions"][0].pop(role))
    with pytest.raises(lfm_edge.BundleError, match=r"replayed|axes grow"):
        lfm_edge.load(folder)


def test_verify_writes_anew_what_sliding_layers_keep(
    load: Callable[[str], Models], tmp_path: Path
) -> None:
    """Not by reading all that it takes to go so far back."""
    good, folder = load("int8")[0].bundle, tmp_path / "bundle"
    assert lfm_edge.verify(good.folder, threads=1).to_the_bit == ("rewind", "guesses", "windows")

    def exchange(graph: dict[str, Any]) -> None:
        (ports,) = graph["functions"]
        ports["replayed"], ports["replayed_windows"] = ports["replayed_windows"], ports["replayed"]

    _changed(good, folder, exchange)
    with pytest.raises(lfm_edge.IntegrityError, match=r"windows: 1\.key was not written anew"):
        lfm_edge.verify(folder, threads=1)


def _tensor(graph: dict[str, Any]) -> dict[str, Any]:
    return next(t for t in graph["state"] if t.get("window"))


def _changed(bundle: Bundle, folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A copy of a bundle with another manifest."""
    shutil.copytree(bundle.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest["graph"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
