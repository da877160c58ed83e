"""The comparison with peers: pairs, ratios, workers, exports and reports."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from lfm_edge.bench_result import Device, Series

from benchmarks import exports, peers, report
from benchmarks.comparison import Comparison, Peer, Ratio
from benchmarks.worker import Answer, Task, Worker
from tests.sdk.toy import VOCAB, ToyModel, write_toy_bundle


class FakeWorker:
    """Answers with the seconds it is given and keeps a log that it shares with others."""

    def __init__(self, name: str, seconds: Iterator[float], log: list[str]) -> None:
        self.name, self.seconds, self.log = name, seconds, log

    def run(self, task: Task) -> Answer:
        self.log.append(f"{self.name} {task.kind} {len(task.ids)}")
        return Answer(next(self.seconds), [1.0, 2.0])


def fake(name: str, log: list[str], *seconds: float) -> Any:
    return FakeWorker(name, iter(seconds), log)


def series(*samples: float) -> Series:
    summed = Series.of(list(samples))
    assert summed
    return summed


def peer(name: str, ratio: Ratio | None) -> Peer:
    return Peer(
        name=name,
        decode_tokens_per_second=30.0,
        prefill_tokens_per_second=200.0,
        decode_ratio=ratio,
        prefill_ratio=ratio,
        decode=series(29.0, 30.0, 31.0),
        prefill=series(200.0),
        logits_correlation=0.9,
        load_seconds=1.5,
        peak_rss_bytes=2_500_000_000,
        private_bytes=2_000_000_000,
        size_bytes=1_600_000_000,
    )


@pytest.fixture
def comparison() -> Comparison:
    return Comparison(
        model="3 layers",
        threads=2,
        prompt_tokens=512,
        decoded_tokens=32,
        device=Device("a cpu", 2, 1 << 34, "Linux", "1.32.0"),
        peers=[peer("ours", Ratio.of([(30.0, 20.0), (20.0, 20.0)])), peer("theirs", None)],
    )


def test_pairs_take_turns_and_drop_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PREFILL_PAIRS", 2)
    monkeypatch.setattr(peers, "DECODE_PAIRS", 1)
    log: list[str] = []
    ours = fake("ours", log, 9.0, 1.0, 2.0, 9.0, 4.0)
    baseline = fake("theirs", log, 9.0, 2.0, 2.0, 9.0, 8.0)
    timings = peers.time_pairs(ours, baseline)

    assert log == [
        *("theirs prefill 512", "ours prefill 512"),
        *("ours prefill 512", "theirs prefill 512"),
        *("theirs prefill 512", "ours prefill 512"),
        *("theirs decode 32", "ours decode 32"),
        *("ours decode 32", "theirs decode 32"),
    ]
    assert timings.prefill == [(512, 256), (256, 256)]
    assert timings.decode == [(8, 4)]


def test_ratio_is_taken_pair_by_pair() -> None:
    ratio = Ratio.of([(30.0, 10.0), (20.0, 20.0), (10.0, 5.0)])
    assert (ratio.median, ratio.lowest, ratio.highest) == (2, 1, 3)


def test_reports_show_speeds_and_ratios(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib")
    text = report.markdown(comparison)
    assert "| decode, x baseline | 1.25 (1.00-1.50) | 1 |" in text
    assert "| peak resident memory, MB | 2,500 | 2,500 |" in text
    assert report.table(comparison).row_count == 9
    assert report.picture(comparison, "png").startswith(b"\x89PNG")
    assert msgspec.json.decode(msgspec.json.encode(comparison), type=Comparison) == comparison


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


def test_a_worker_that_dies_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"lfm-edge on .*: died with code 1"):
        Worker("lfm-edge", tmp_path, threads=1, capacity=128)


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
