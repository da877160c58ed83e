"""The comparison with peers: pairs, ratios, workers, exports and reports."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lfm_edge
import msgspec
import psutil
import pytest
from lfm_edge.bench_result import Device, Series

from benchmarks import exports, peers, report, work
from benchmarks.comparison import Comparison, Entry, Limits, Ratio, Versus
from benchmarks.peers import Pair
from benchmarks.worker import Answer, Ready, Task, Worker
from tests.sdk.toy import VOCAB, ToyModel, write_toy_bundle


class FakeWorker:
    """Answers with the seconds it is given and keeps a log that it shares with others."""

    def __init__(
        self, name: str, seconds: Iterator[float], log: list[str], logits: list[float]
    ) -> None:
        self.name, self.seconds, self.log, self.logits = name, seconds, log, logits

    def run(self, task: Task) -> Answer:
        self.log.append(f"{self.name} {task.kind} {len(task.ids)}")
        return Answer(next(self.seconds), self.logits)


class FakeMachine:
    """Gives 100, 200, ... whatever is asked for, in the same log."""

    def __init__(self, log: list[str]) -> None:
        self.log, self.values = log, itertools.count(100, 100)

    def measure(self, what: str) -> float:
        self.log.append(what)
        return float(next(self.values))

    def __getattr__(self, what: str) -> Callable[[], float]:
        return lambda: self.measure(what)


def fake(
    name: str, log: list[str], *seconds: float, logits: Sequence[float] = (1.0, 2.0, 4.0)
) -> Any:
    return FakeWorker(name, iter(seconds), log, list(logits))


def fake_machine(log: list[str]) -> Any:
    return FakeMachine(log)


def series(*samples: float) -> Series:
    summed = Series.of(list(samples))
    assert summed
    return summed


def entry(name: str, *versus: Versus) -> Entry:
    return Entry(
        name=name,
        about=f"{name} 1.0",
        decode=series(29.0, 30.0, 31.0),
        prefill=series(200.0),
        decode_of_bandwidth=Ratio.of([(9.0, 10.0)]),
        decode_of_kernels=Ratio.of([(19.0, 20.0)]) if versus else None,
        prefill_of_peak=Ratio.of([(1.0, 2.0)]),
        versus=list(versus),
        load_seconds=1.5,
        peak_rss_bytes=2_500_000_000,
        private_bytes=2_000_000_000,
        size_bytes=1_600_000_000,
    )


@pytest.fixture
def comparison() -> Comparison:
    ratio = Ratio.of([(30.0, 20.0), (20.0, 20.0)])
    versus = (
        Versus(peer=peer, decode=ratio, prefill=ratio, logits_correlation=0.98)
        for peer in ("llama", "genai")
    )
    return Comparison(
        model="3 layers",
        threads=2,
        depth=0,
        prompt_tokens=512,
        decoded_tokens=32,
        decode_bytes=4e8,
        prefill_multiply_adds=2e11,
        device=Device("a cpu", 2, 1 << 34, "Linux", "1.32.0"),
        limits=Limits(read=series(5e10), kernels=series(4.9e10), multiply=series(1e12)),
        entries=[entry("ours", *versus), entry("llama"), entry("genai")],
    )


def test_pairs_take_turns_and_drop_the_warm_up() -> None:
    log: list[str] = []
    ours = fake("ours", log, 9.0, 1.0, 2.0, 9.0, 4.0)
    peer = fake("theirs", log, 9.0, 2.0, 2.0, 9.0, 8.0)
    machine = fake_machine(log)
    prefill, logits = peers.time_pairs(ours, peer, machine, "prefill", 2)
    decode, _ = peers.time_pairs(ours, peer, machine, "decode", 1)

    assert log == [
        *("theirs prefill 512", "multiply", "ours prefill 512"),
        *("ours prefill 512", "multiply", "theirs prefill 512"),
        *("theirs prefill 512", "multiply", "ours prefill 512"),
        *("theirs decode 32", "read", "kernels", "ours decode 32"),
        *("ours decode 32", "read", "kernels", "theirs decode 32"),
    ]
    assert prefill == [(512, 256, {"multiply": 200}), (256, 256, {"multiply": 300})]
    assert decode == [(8, 4, {"read": 600, "kernels": 700})]
    assert logits == (ours.logits, peer.logits)


def test_different_models_are_not_compared() -> None:
    log: list[str] = []
    both = {
        "ours": fake("ours", log, *[1.0] * 100),
        "theirs": fake("theirs", log, *[1.0] * 100, logits=(4.0, 2.0, 1.0)),
    }
    ours, theirs = (peers.Contender(name, "engine", Path()) for name in both)
    with pytest.raises(RuntimeError, match="ours and theirs compute different models"):
        peers._timings(ours, theirs, both, fake_machine(log), 0)


def test_ratio_is_taken_pair_by_pair() -> None:
    ratio = Ratio.of([(30.0, 10.0), (20.0, 20.0), (10.0, 5.0)])
    assert (ratio.median, ratio.lowest, ratio.highest) == (2, 1, 3)


def test_an_entry_relates_its_speeds_to_the_limits_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "decode_bytes", lambda _: 10.0)
    monkeypatch.setattr(
        work, "prefill_multiply_adds", lambda _, tokens, depth: tokens * 4.0 + depth
    )
    (tmp_path / "weights").write_bytes(bytes(100))
    ours = peers.Contender("ours", "lfm-edge", tmp_path, runs_kernels=True)
    first, second = (peers.Contender(name, "engine", tmp_path) for name in ("first", "second"))
    slow, fast = ({"read": r, "kernels": r / 2, "multiply": r} for r in (100.0, 200.0))
    timings = [
        peers.Timings(ours, first, [Pair(20, 10, slow)], [Pair(5, 2, slow)], 0.97),
        peers.Timings(ours, second, [Pair(20, 5, fast)], [Pair(10, 2, fast)], 0.98),
    ]
    worker: Any = SimpleNamespace(pid=os.getpid(), ready=Ready(1.0, "version"))
    architecture: Any = None
    got = peers._entry(ours, worker, timings, architecture, 0)
    assert got.decode.samples == [5, 10]
    assert got.decode_of_bandwidth.samples == [0.5, 0.5]
    assert got.decode_of_kernels
    assert got.decode_of_kernels.samples == [1, 1]
    assert got.prefill_of_peak.samples == [0.8, 0.4]
    assert [(v.peer, v.decode.median, v.prefill.median) for v in got.versus] == [
        ("first", 2.5, 2),
        ("second", 5, 4),
    ]
    assert got.size_bytes == 100

    got = peers._entry(second, worker, timings, architecture, 0)
    assert (got.decode.samples, got.prefill.samples) == ([2], [5])
    assert (got.decode_of_bandwidth.samples, got.prefill_of_peak.samples) == ([0.1], [0.1])
    assert (got.decode_of_kernels, got.versus) == (None, [])


def test_reports_show_speeds_ratios_and_limits(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib")
    text = report.markdown(comparison)
    assert "| quantity | ours | llama | genai |" in text
    assert "| decode, x llama | 1.25 (1.00-1.50) |  |  |" in text
    assert "| prefill, x genai | 1.25 (1.00-1.50) |  |  |" in text
    assert "| decode, of bandwidth | 90 % | 90 % | 90 % |" in text
    assert "| decode, of kernels | 95 % |  |  |" in text
    assert "| prefill, of int8 peak | 50 % | 50 % | 50 % |" in text
    assert "| peak resident memory, MB | 2,500 | 2,500 | 2,500 |" in text
    assert "read 50.0 GB/s, our kernels alone 49.0 GB/s" in text
    assert report.table(comparison).row_count == 15
    assert report.picture(comparison, "png").startswith(b"\x89PNG")
    assert msgspec.json.decode(msgspec.json.encode(comparison), type=Comparison) == comparison


@pytest.mark.parametrize("isa", exports.LLAMA_CPP_BUILDS)
def test_both_are_held_to_an_instruction_set(monkeypatch: pytest.MonkeyPatch, isa: str) -> None:
    for name in ("lfm_edge_export", "gguf_export", "llama_cpp"):
        monkeypatch.setattr(exports, name, lambda *arguments: Path(*map(str, arguments), "made"))
    [ours], [other] = peers.contenders(8, isa=isa)
    assert (ours.environment, ours.runs_kernels) == ({"LFM_OPS_ISA": isa}, True)
    assert (other.engine, other.environment) == ("llama.cpp", {"PYTHONPATH": f"{isa}/made"})


def test_a_missing_peer_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["peers.py"])
    monkeypatch.setattr(peers, "PACKAGES", {"no_such_peer": "peers"})
    with pytest.raises(SystemExit) as stopped:
        peers.main()
    assert stopped.value.code == 2
    assert "no_such_peer: not installed; pip install 'lfm-edge[peers]'" in capsys.readouterr().err


def wait_until_stopped(pid: int) -> None:
    """The signal takes a moment."""
    for _ in range(1000):
        if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
            return
        time.sleep(0.01)
    pytest.fail("the worker runs on")


def test_a_worker_runs_only_while_it_has_a_task(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "bundle", ToyModel())
    with Worker("lfm-edge", bundle, threads=1, capacity=128) as worker:
        for kind in ("prefill", "decode", "prefill"):
            answer = worker.run(Task(kind, list(range(40))))
            assert answer.seconds > 0
            assert len(answer.logits) == -(-VOCAB // 16)
            wait_until_stopped(worker.pid)
    assert worker.process.returncode is not None


def test_a_worker_goes_back_to_what_it_began_with(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "bundle", ToyModel())
    task = Task("prefill", list(range(40)))
    with Worker("lfm-edge", bundle, 1, 128, depth=50) as worker:
        behind = [worker.run(task).logits for _ in range(2)]
    with Worker("lfm-edge", bundle, 1, 128) as worker:
        assert behind[0] == behind[1] != worker.run(task).logits
    session = lfm_edge.load(bundle).session(128)
    session.prefill([at * 7 % 256 for at in range(50)])
    assert behind[0] == session.prefill(task.ids)[::16].tolist()


def test_a_worker_that_dies_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"lfm-edge on .*: died with code 1"):
        Worker("lfm-edge", tmp_path, threads=1, capacity=128)


def test_a_worker_gets_its_environment(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "bundle", ToyModel())
    with Worker("lfm-edge", bundle, 1, 128, {"LFM_OPS_ISA": "scalar"}) as worker:
        assert worker.ready.about.endswith("scalar")
        assert worker.ready.load_seconds > 0


def test_exports_are_made_once_and_again_when_their_source_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "WORK", tmp_path / "work")
    monkeypatch.setattr(exports, "ROOT", tmp_path)
    first = exports._made("thing", ["mkdir", exports.OUT], ["source"])
    (first / "mark").touch()
    assert exports._made("thing", ["mkdir", exports.OUT], ["source"]) == first
    assert (first / "mark").exists()

    second = exports._made("thing", ["mkdir", exports.OUT], ["changed source"])
    assert second.is_dir()
    assert not first.exists()


def test_a_failed_export_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "WORK", tmp_path / "work")
    monkeypatch.setattr(exports, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"thing\.log"):
        exports._made("thing", ["false"], ["source"])
    assert not [path for path in exports.WORK.iterdir() if path.is_dir()]
