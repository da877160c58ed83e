"""The device core runs the shipped model's bundles as Python does, to the bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
import pytest
from lfm_edge import Session
from lfm_edge.generation_config import read_generation_config
from lfm_edge.verify import verify

from tests.core.engine_driver import Step, as_driven, drive
from tests.support import DEMO_MODEL, export, random_model, saved, tiny_lfm3
from tools.write_model_vectors import TOLERANCE, VECTORS

BUNDLES: dict[str, dict[str, str]] = {
    "f16": {},
    "f32": {"kv": "f32"},
    "int8": {"kv": "int8"},
    "portable": {"target": "onnx-portable"},
}
IDS = np.random.default_rng(4).integers(300, 4000, 1300).tolist()


@pytest.fixture(scope="module", params=BUNDLES)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> lfm_edge.Model:
    drive([])  # skips before anything is exported
    folder = tmp_path_factory.mktemp("core") / request.param
    export(DEMO_MODEL, folder, **BUNDLES[request.param])
    return lfm_edge.load(folder, threads=1)


def _loaded(model: lfm_edge.Model, *steps: Step) -> list[Step]:
    opened: list[Step] = [{"open": str(model.bundle.folder)}, {"load": 1}]
    return drive([*opened, *steps])[len(opened) :]


def test_golden_vectors_pass_with_the_errors_that_python_finds(model: lfm_edge.Model) -> None:
    hashed, found = _loaded(model, {"hash": 0}, {"verify": 0})
    report = verify(model.bundle.folder, threads=1)
    assert hashed == {"done": report.size, "total": report.size}
    rewinds = [way for way in report.to_the_bit if way == "rewind"]
    assert found == {
        "stages": ["decode", "prefill", *rewinds],
        "decode": pytest.approx(report.decode_error, rel=1e-6),
        "decode_worst": report.decode_worst,
        "decode_outliers": report.decode_outliers,
        "prefill": pytest.approx(report.prefill_error, rel=1e-6),
        "prefill_worst": report.prefill_worst,
        "prefill_outliers": report.prefill_outliers,
    }


def test_a_bundle_of_lfm3_passes_its_golden_vectors(tmp_path: Path) -> None:
    drive([])
    source = saved(random_model(tiny_lfm3()), tmp_path / "source")
    model = lfm_edge.load(export(source, tmp_path / "bundle", kv="int8").folder, threads=1)
    windows = [tensor.window for tensor in model.bundle.manifest.graph.state if tensor.window]
    assert windows == [8] * 4  # keys, values, and the scales of both
    (found,) = _loaded(model, {"verify": 0})
    report = verify(model.bundle.folder, threads=1)
    assert found["stages"] == ["decode", "prefill", "rewind"]
    assert found["decode"] == pytest.approx(report.decode_error, rel=1e-6)
    assert found["prefill"] == pytest.approx(report.prefill_error, rel=1e-6)


def test_exchanged_counts_of_replayed_tokens_are_noticed(
    sliding: lfm_edge.Model, tmp_path: Path
) -> None:
    folder = shutil.copytree(sliding.bundle.folder, tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text())
    (ports,) = manifest["graph"]["functions"]
    ports["replayed"], ports["replayed_windows"] = ports["replayed_windows"], ports["replayed"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    *_, found = drive([{"open": str(folder)}, {"load": 1}, {"verify": 0}])
    with pytest.raises(lfm_edge.IntegrityError) as told:
        verify(folder, threads=1)
    assert found["error"] == str(told.value)


@pytest.fixture(scope="module")
def sliding(tmp_path_factory: pytest.TempPathFactory) -> lfm_edge.Model:
    """A model whose sliding layers keep 576 positions, of a context of 4,096."""
    drive([])
    folder = tmp_path_factory.mktemp("sliding")
    source = saved(random_model(tiny_lfm3(max_position_embeddings=4096)), folder / "source")
    return lfm_edge.load(export(source, folder / "bundle", kv="int8").folder, threads=1)


def test_sliding_layers_that_keep_the_last_positions_give_the_same_bits(
    sliding: lfm_edge.Model, tmp_path: Path
) -> None:
    ids = [token % 320 for token in IDS]
    (proved,) = _loaded(sliding, {"verify": 0})
    assert proved["stages"] == ["decode", "prefill", "rewind", "windows"]
    session, file = sliding.session(3000), tmp_path / "session"
    expected = [as_driven(session, ids)]
    steps: list[Step] = [{"session": 3000}, {"read": ids}]
    for place in (1290, 820, 300, 30):
        session.rewind(place)
        expected.append(as_driven(session, ids[5:700]))
        steps += [{"rewind": place}, {"read": ids[5:700]}]
        session = session.fork()
        session.rewind(place + 1)
        expected.append(as_driven(session, ids[9:10]))
        steps += [{"fork": 0}, {"rewind": place + 1}, {"read": ids[9:10]}]
        session.save(file.with_name(f"ours-{place}"))
        steps += [{"save": str(file), "attached": ""}, {"saved": str(file), "context": 3000}]
    found = [result for result in _loaded(sliding, *steps) if "run" in result]
    assert found == expected
    assert {result["run"] - len(ids[5:700]) for result in found[1::2]} == {24, 31, 30}
    ours = {"saved": str(file.with_name("ours-30")), "context": 3000}
    *_, read = _loaded(sliding, ours, {"rewind": 20}, {"read": ids[50:60]})
    for opened in (Session.open(sliding, file), session):
        opened.rewind(20)
        assert as_driven(opened, ids[50:60]) == read


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": [1, 2, 448, 32]}, "keeps 448 positions, expected a multiple of 64 that is at"),
        ({"shape": [1, 2, 577, 32]}, "keeps 577 positions"),
        ({"shape": [1, 2]}, "keeps 0 positions"),
        ({"shape": [1, 2, 640, 32]}, "past_key_values.4.key is"),
        ({"window": None}, "0 axes grow with the capacity, expected 1 of kind key"),
    ],
)
def test_slots_that_are_none_are_refused(
    sliding: lfm_edge.Model, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(sliding.bundle.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    next(t for t in manifest["graph"]["state"] if t.get("window")).update(changes)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(lfm_edge.BundleError) as refused:
        lfm_edge.load(folder)
    *_, found = drive([{"open": str(folder)}, {"load": 1}])
    assert words in str(refused.value)
    assert found["error"] == str(refused.value)


def test_two_hundred_greedy_tokens_are_python_s(model: lfm_edge.Model) -> None:
    session, ids = model.session(300), list[int]()
    logits = session.prefill(IDS[:9])
    for _ in range(200):
        ids.append(int(logits.argmax()))
        logits = session.decode(ids[-1])
    *_, found = _loaded(model, {"session": 300}, {"read": IDS[:9]}, {"greedy": 200})
    assert found == {"ids": ids}


def test_long_prompts_and_going_back_give_the_same_bits(model: lfm_edge.Model) -> None:
    pieces = [IDS[:1200], IDS[3:4], IDS[:600], IDS[7:40]]
    places = [1100, 577, 40]
    steps: list[Step] = [{"session": 2000}, {"read": pieces[0]}]
    session = model.session(2000)
    expected = [as_driven(session, pieces[0])]
    for place, piece in zip(places, pieces[1:], strict=True):
        session.rewind(place)
        expected.append(as_driven(session, piece))
        steps += [{"rewind": place}, {"read": piece}]
    found = [result for result in _loaded(model, *steps) if "run" in result]
    assert found == expected


def test_a_fork_goes_on_as_its_session(model: lfm_edge.Model) -> None:
    read: list[Step] = [{"session": 99}, {"read": IDS[:60]}, {"rewind": 50}]
    *_, straight = _loaded(model, *read, {"read": IDS[:7]})
    *_, forked = _loaded(model, *read, {"fork": 0}, {"read": IDS[:7]})
    assert forked == straight


def test_a_session_saved_by_one_opens_in_the_other(model: lfm_edge.Model, tmp_path: Path) -> None:
    texts = ["", '{"messages": ["日本 é\\n\'\\""]}', "\u2028\x7f\U0001f600'"]
    for back, text in zip((60, 37, 0), texts, strict=True):
        ours, theirs = tmp_path / "ours", tmp_path / "theirs"
        session = model.session(99)
        session.prefill(IDS[:60])
        session.rewind(back)
        session.save(theirs, attached=text)
        *_, saved, _, opened, read = _loaded(
            model,
            {"session": 99},
            {"read": IDS[:60]},
            {"rewind": back},
            {"save": str(ours), "attached": text},
            {"session": 5},
            {"saved": str(theirs), "context": 0},
            {"read": IDS[60:63]},
        )
        again = Session.open(model, ours)
        assert (again.ids, again.capacity, again.to_replay) == (
            saved["ids"],
            99,
            opened["to_replay"],
        )
        assert opened == {**saved, "to_replay": again.to_replay, "attached": text}
        assert as_driven(again, IDS[60:63]) == read


def test_the_files_of_both_hold_the_same_tensors_in_the_same_order(
    model: lfm_edge.Model, tmp_path: Path
) -> None:
    session = model.session(99)
    session.prefill(IDS[:20])
    session.save(tmp_path / "theirs", "é")
    steps: list[Step] = [{"session": 99}, {"read": IDS[:20]}]
    _loaded(model, *steps, {"save": str(tmp_path / "ours"), "attached": "é"})
    headers, contents = zip(*(_parts(tmp_path / name) for name in ("ours", "theirs")), strict=True)
    assert headers[0] == headers[1]
    assert contents[0] == contents[1]


def _parts(path: Path) -> tuple[dict[str, Any], bytes]:
    """A safetensors file's header and what follows it."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8:end])
    return header, data[end:]


def test_the_sampling_defaults_are_python_s(model: lfm_edge.Model) -> None:
    found, *_ = _loaded(model, {"defaults": 0})
    options, ends = read_generation_config(model.bundle)
    eos = found.pop("eos")
    assert eos == sorted(ends)
    assert found == {name: getattr(options, name) for name in found}


def test_the_plan_counts_what_a_session_takes(model: lfm_edge.Model) -> None:
    full, small = _loaded(model, {"plan": 0}, {"plan": 100})
    session = model.session(100)
    assert small["state"] == sum(tensor.nbytes for tensor in session.state.tensors.values())
    assert small["context"] == 100
    assert full["context"] == full["max_context"] == 4096
    assert full["state"] - small["state"] == full["bytes_per_token"] * (4096 - 100)
    folder = model.bundle.folder
    assert full["weights"] == sum(path.stat().st_size for path in folder.glob("model.onnx*"))
    assert full["total"] == full["weights"] + full["state"] + full["scratch"]


@pytest.mark.parametrize("model", ["f16"], indirect=True)
def test_the_vectors_of_going_back(model: lfm_edge.Model) -> None:
    written: list[Step] = json.loads((VECTORS / "rewind.json").read_text())
    steps = [
        {
            name: step[name]
            for name in ("read", "resume", "rewind", "snapshot", "restore") & step.keys()
        }
        for step in written
    ]
    _, *found = _loaded(model, {"session": 256}, *steps)
    position = 0
    for now, then in zip(found, written, strict=True):
        assert ("error" in now) == then.get("fails", False)
        position = now.get("position", position)
        assert position == then["position"]
        assert now.get("run") == then.get("run")
        if "top" in then:
            here, there = (np.array([logit for _, logit in top["top"]]) for top in (now, then))
            np.testing.assert_allclose(here, there, atol=TOLERANCE)
            if there[0] - there[1] > 2 * TOLERANCE:
                assert now["top"][0][0] == then["top"][0][0]
