"""`bench`: what is counted and timed, what is written, and what is refused."""

import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import typer
from lfm_edge import bench, bench_command, bench_plot, bench_result
from lfm_edge.bench import time_session
from lfm_edge.bench_result import BenchResult, Series, Settings
from lfm_edge.bundle import MANIFEST, FileEntry, GoldenVectors, Graph, Manifest, Model, Quantization
from lfm_edge.errors import InvalidRequestError, LfmError, MissingDependencyError
from typer.testing import CliRunner, Result

VOCAB = 50


class FakeClock:
    """Stands still but for what a session spends and one tick of 0.5 s at each look."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


@dataclass
class FakeSession:
    """Reads a prompt at 100 tokens/s and decodes at 10; position makes a token 1 ms slower."""

    clock: FakeClock = field(default_factory=FakeClock)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    position: int = 0

    def prefill(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        assert all(0 <= i < VOCAB for i in ids)
        self.calls.append(("prefill", self.position, tuple(ids)))
        self.clock.now += len(ids) * 0.01
        self.position += len(ids)
        return np.zeros(VOCAB, np.float32)

    def decode(self, token: int) -> npt.NDArray[np.float32]:
        self.calls.append(("decode", self.position, token))
        self.clock.now += 0.1 + self.position * 0.001
        self.position += 1
        return np.zeros(VOCAB, np.float32)

    def reset(self) -> None:
        self.calls.append(("reset",))
        self.position = 0


def settings(**changes: int) -> Settings:
    sizes: dict[str, Any] = {
        "prompt_tokens": 8,
        "generated_tokens": 4,
        "repetitions": 3,
        "depth": 0,
        "threads": 2,
    }
    return Settings(**(sizes | changes))


def manifest() -> Manifest:
    return Manifest(
        format_version="1.0",
        producer="test",
        model=Model("lfm2_moe", "tiny", VOCAB, 8, 1, 4096, 1, [2], 0),
        graph=Graph("onnx-portable", "model.onnx", [], []),
        quantization=Quantization("q4", "q8", 32),
        golden=GoldenVectors([], [], [], [], [], 1.0),
        files={"model.onnx": FileEntry(1000, "0" * 64)},
    )


@dataclass
class FakeBundle:
    folder: Path
    manifest: Manifest


class FakeModel:
    def __init__(self, folder: Path, threads: int) -> None:
        self.bundle = FakeBundle(folder, manifest())
        self.threads = threads

    def session(self, context: int) -> FakeSession:
        self.context = context
        return FakeSession()


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that loads as a fake model, which takes real, if short, time."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / MANIFEST).write_bytes(b"{}")
    monkeypatch.setattr(bench, "load", FakeModel)
    return folder


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(bench_command.bench)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    error = run(*arguments).exception
    assert isinstance(error, LfmError), error
    assert "\n" not in str(error)
    return str(error)


def result(**changes: Any) -> BenchResult:
    series = Series.of([99.0, 100.0, 104.0])
    values = {
        "prefill_tokens_per_second": 100.0,
        "decode_tokens_per_second": 20.0,
        "time_to_first_token_seconds": 0.08,
        "load_seconds": 0.5,
        "peak_rss_bytes": 300_000_000,
        "private_bytes": 200_000_000,
        "prefill": series,
        "decode": Series.of([20.0]),
        "time_to_first_token": Series.of([0.08]),
        "settings": settings(),
        "bundle": bench_result.BundleInfo("tiny", "lfm2_moe", "onnx-portable", "q4", "q8", 1002),
        "device": bench_result.Device("a cpu", 2, 1 << 34, "Linux", "1.32.0"),
    }
    return BenchResult(**(values | changes))


def some(samples: list[float]) -> Series:
    series = Series.of(samples)
    assert series
    return series


def test_each_repetition_starts_afresh_and_feeds_exactly_the_tokens_asked_for() -> None:
    session = FakeSession()
    time_session(session, settings(), VOCAB, clock=session.clock)

    assert len(session.calls) == 4 * (2 + 1 + 4)  # a warm-up and 3 repetitions
    rounds = [session.calls[i : i + 7] for i in range(0, 28, 7)]
    assert all(each == rounds[0] for each in rounds)
    assert [call[:2] for call in rounds[0]] == [
        ("reset",),
        ("prefill", 0),
        ("reset",),
        ("decode", 0),
        ("decode", 1),
        ("decode", 2),
        ("decode", 3),
    ]
    assert len(rounds[0][1][2]) == 8


def test_speeds_are_tokens_by_the_clock() -> None:
    session = FakeSession()
    timings = time_session(session, settings(), VOCAB, clock=session.clock)

    assert timings.prefill == pytest.approx([100] * 3)
    assert timings.decode == pytest.approx([4 / 0.406] * 3)


def test_time_to_first_token_adds_the_choice_of_a_token() -> None:
    session = FakeSession(FakeClock(tick=0.5))
    timings = time_session(session, settings(), VOCAB, clock=session.clock)

    assert timings.prefill == pytest.approx([8 / 0.58] * 3)
    assert timings.first_token == pytest.approx([1.08] * 3)


def test_context_comes_before_each_timed_part_and_is_not_timed() -> None:
    session = FakeSession()
    timings = time_session(session, settings(depth=20, repetitions=1), VOCAB, clock=session.clock)

    calls = [call[:2] for call in session.calls[:8]]
    assert calls[:3] == [("reset",), ("prefill", 0), ("prefill", 20)]
    assert calls[3:6] == [("reset",), ("prefill", 0), ("decode", 20)]
    assert timings.prefill == pytest.approx([100])
    assert timings.decode == pytest.approx([4 / (0.4 + 0.020 + 0.021 + 0.022 + 0.023)])


@pytest.mark.parametrize(
    ("left_out", "kind"), [("prompt_tokens", "prefill"), ("generated_tokens", "decode")]
)
def test_a_size_of_zero_leaves_a_part_out(left_out: str, kind: str) -> None:
    session = FakeSession()
    timings = time_session(session, settings(**{left_out: 0}), VOCAB, clock=session.clock)

    assert not getattr(timings, kind)
    assert kind not in {call[0] for call in session.calls}


def test_series() -> None:
    series = some([1.0, 2.0, 6.0])
    assert (series.median, series.mean) == (2, 3)
    assert series.standard_deviation == pytest.approx(7**0.5)
    assert some([2.0]).standard_deviation == 0
    assert Series.of([]) is None


def test_measure_passes_threads_and_just_enough_capacity(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[FakeModel] = []

    def load(folder: Path, threads: int) -> FakeModel:
        models.append(FakeModel(folder, threads))
        return models[-1]

    monkeypatch.setattr(bench, "load", load)
    measured = bench.measure(bundle, settings(depth=5))

    assert models[0].threads == 2
    assert models[0].context == 17
    assert measured.prefill
    assert measured.prefill_tokens_per_second == measured.prefill.median
    assert measured.bundle == bench_result.BundleInfo(
        "tiny", "lfm2_moe", "onnx-portable", "q4", "q8", 1002
    )
    assert measured.peak_rss_bytes > measured.private_bytes > 1 << 20


def test_json_holds_the_promised_numbers_and_reads_back(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    assert run(bundle, "-p", 8, "-n", 4, "-r", 2, "--threads", 1, "--json", file).exit_code == 0

    plain = msgspec.json.decode(file.read_bytes())
    assert plain["bench_format"] == 1
    for name in (
        "prefill_tokens_per_second",
        "decode_tokens_per_second",
        "time_to_first_token_seconds",
        "load_seconds",
        "peak_rss_bytes",
        "private_bytes",
    ):
        assert plain[name] > 0
    assert len(plain["decode"]["samples"]) == 2
    assert plain["settings"]["threads"] == 1
    read = bench_result.read_result(file)
    assert msgspec.json.decode(msgspec.json.encode(read)) == plain
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_table_names_quantities_and_units(bundle: Path) -> None:
    output = run(bundle, "-p", 8, "-n", 4, "-r", 2, "-d", 3, "--threads", 1).output
    for text in ("pp8 @ d3", "tg4 @ d3", "tokens/s", "first token", "ms", "MB", "q4 (head q8)"):
        assert text in output


def test_compare_shows_ratios_to_the_first_and_what_is_unlike(tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    bench_result.write_result(first, result())
    bench_result.write_result(
        second, result(decode_tokens_per_second=30.0, settings=settings(threads=1), decode=None)
    )
    output = run("--compare", first, second).output

    assert re.search(r"decode\W+20\.0\W+30\.0 \(1\.50x\)", output)
    assert "threads differs: 2 | 1" in output
    assert "depth differs" not in output


def test_compare_of_results_that_lack_a_part(tmp_path: Path) -> None:
    for name, speed in (("a", None), ("b", 10.0), ("c", None)):
        bench_result.write_result(
            tmp_path / f"{name}.json", result(prefill_tokens_per_second=speed)
        )
    output = run("--compare", *(tmp_path / f"{name}.json" for name in "abc")).output
    assert re.search(r"prefill\W+-\W+10\.0\W+-", output)


@pytest.mark.parametrize("count", [1, 3])
def test_plot_draws_a_picture(tmp_path: Path, count: int) -> None:
    pytest.importorskip("matplotlib")
    picture = bench_plot.plot([result()] * count, [f"bundle {i}" for i in range(count)])
    assert picture.startswith(b"\x89PNG")
    without_prefill = bench_plot.plot([result(prefill=None)], ["a"], "svg")
    assert b"<svg" in without_prefill


def test_plot_takes_a_dollar_in_a_name_for_a_dollar() -> None:
    odd = result()
    odd = msgspec.structs.replace(odd, device=msgspec.structs.replace(odd.device, cpu="$\\no$"))
    assert b"<svg" in bench_plot.plot([odd], ["$\\nothing of TeX$"], "svg")


def test_plot_of_a_comparison(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in "ab":
        bench_result.write_result(tmp_path / f"{name}.json", result())
    picture = tmp_path / "c.png"
    run("--compare", tmp_path / "a.json", tmp_path / "b.json", "--plot", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_no_matplotlib_is_told_before_measuring(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(bench, "load", lambda *_, **__: pytest.fail("measured"))
    outcome = run(bundle, "--plot", tmp_path / "a.png")
    assert isinstance(outcome.exception, MissingDependencyError)
    assert "lfm-edge[bench]" in str(outcome.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "-1"], "-p -1"),
        (["-n", "-1"], "-n -1"),
        (["-r", "0"], "-r 0"),
        (["-d", "-1"], "-d -1"),
        (["--threads", "0"], "--threads 0"),
        (["-p", "0", "-n", "0"], "nothing to measure"),
        (["-p", "4000", "-n", "90", "-d", "7"], "4,097 tokens"),
        (["second"], "one bundle"),
        (["--plot", "a.bmp"], "a.bmp"),
        (["--plot", "missing/a.png"], "missing/a.png"),
        (["--json", "missing/a.json"], "missing/a.json"),
    ],
)
def test_bad_options(bundle: Path, arguments: list[str], message: str) -> None:
    assert message in refused(bundle, *arguments)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:100],
        lambda data: b"[]",
        lambda data: b"\xff\xfe",
        lambda data: data.replace(b'"bench_format": 1', b'"bench_format": 2'),
        lambda data: data.replace(b'"load_seconds": 0.5', b'"load_seconds": "fast"'),
        lambda data: data.replace(b'"load_seconds": 0.5', b'"load_seconds": -1'),
        lambda data: data.replace(b'"samples": [', b'"samples": 3, "x": ['),
    ],
)
def test_compare_refuses_a_malformed_file(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    bench_result.write_result(good, result())
    bad.write_bytes(change(good.read_bytes()))
    assert str(bad) in refused("--compare", good, bad)


def test_compare_refuses_missing_and_too_few_files(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    bench_result.write_result(file, result())
    assert "at least two" in refused("--compare", file)
    assert "absent.json" in refused("--compare", file, tmp_path / "absent.json")
    assert "--json" in refused("--compare", file, file, "--json", tmp_path / "b.json")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(InvalidRequestError, match="taken"):
        bench_result.write_file(tmp_path / "taken", b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_help_fits_a_screen_and_shows_an_example() -> None:
    output = run("--help").output
    assert "Example" in output
    assert len(output.splitlines()) <= 40


def test_measures_a_real_bundle(toy_bundle: Path) -> None:
    measured = bench.measure(toy_bundle, settings(depth=16, threads=1))
    assert measured.load_seconds > 0
    assert measured.decode
    assert len(measured.decode.samples) == 3
    assert measured.bundle.size_bytes == sum(file.stat().st_size for file in toy_bundle.iterdir())
