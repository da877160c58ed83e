"""The Mac owner's check, with Core ML's place taken by the evaluator."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import coremltools
import numpy as np
import pytest
from lfm_edge.bench_command import bench
from lfm_edge.bench_result import read_result
from lfm_edge.coreml.package import Package
from lfm_edge.coreml.runtime import Conversation, EvaluatorEngine

import tools.macos_check.__main__ as tool
from tests.support import export, random_model, saved, tiny_moe

Run = Callable[..., int]
SMALL = ("-p", "9", "-n", "3", "-r", "2")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mac")
    source = saved(random_model(tiny_moe()), folder / "checkpoint")
    export(source, folder / "bundle", target="coreml", quant="q4", context=64)
    return folder / "bundle"


class FakeState:
    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation

    def read_state(self, name: str) -> Any:
        return self.conversation.states[name]


class FakeModel:
    """A function of a package as coremltools shows it, computed by the evaluator."""

    error = 0.0
    """Added to every logit."""
    loaded: ClassVar[list[tuple[str, str]]] = []
    broken_units: tuple[str, ...] = ()

    def __init__(self, path: str, compute_units: Any, function_name: str) -> None:
        if compute_units.name in self.broken_units:
            raise RuntimeError(f"Error compiling model:\n{function_name} is beyond it")
        self.loaded.append((compute_units.name, function_name))
        self._path, self._name = path, function_name
        self._package = Package(Path(path))

    def get_compiled_model_path(self) -> str:
        return self._path

    def make_state(self) -> FakeState:
        return FakeState(EvaluatorEngine(self._package).begin())

    def predict(self, data: dict[str, Any], state: FakeState) -> dict[str, Any]:
        declared = self._package.functions[self._name].inputs
        assert all(value.dtype != np.float16 for value in data.values())
        inputs = {name: value.astype(declared[name].dtype) for name, value in data.items()}
        outputs = dict(state.conversation.predict(self._name, inputs))
        outputs["logits"] = outputs["logits"] + np.float32(self.error)
        return outputs


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the tool as if on a Mac; returns its exit code."""
    monkeypatch.setattr(tool, "require_mac", lambda: None)
    monkeypatch.setattr(coremltools.models, "MLModel", FakeModel)
    monkeypatch.setattr(coremltools.models, "CompiledMLModel", FakeModel)
    monkeypatch.setattr(FakeModel, "loaded", [])

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["macos_check", *map(str, arguments)])
        try:
            tool.main()
        except SystemExit as ending:
            return int(ending.code or 0)
        return 0

    return run


def test_a_unit_is_measured_and_proved(
    bundle: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(bundle, "--json", tmp_path, "--units", "CPU_AND_NE", *SMALL) == 0
    assert FakeModel.loaded == [("CPU_AND_NE", "decode"), ("CPU_AND_NE", "prefill")]
    result = read_result(tmp_path / "CPU_AND_NE.json")
    assert result.settings.compute_units == "CPU_AND_NE"
    assert result.bundle.target == "coreml"
    assert result.prefill is not None
    assert len(result.prefill.samples) == 2
    golden = result.golden
    assert golden is not None
    assert 0 < golden.decode <= golden.tolerance
    assert 0 < golden.prefill <= golden.tolerance
    line = capsys.readouterr().out
    assert line.startswith(f"CPU_AND_NE: golden vectors within {golden.decode:.2e} token by token")
    assert "tokens/s" in line


def test_bench_compares_what_it_writes(
    bundle: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for unit in ("CPU_ONLY", "CPU_AND_GPU"):
        assert run(bundle, "--json", tmp_path, "--units", unit, *SMALL) == 0
        files.append(tmp_path / f"{unit}.json")
    capsys.readouterr()
    bench(files, compare=True)
    shown = " ".join(capsys.readouterr().out.split())
    assert "CPU_ONLY" in shown
    assert "compute units differs: CPU_ONLY | CPU_AND_GPU" in shown


def test_results_of_before_are_still_read(bundle: Path, run: Run, tmp_path: Path) -> None:
    assert run(bundle, "--json", tmp_path, "--units", "CPU_ONLY", *SMALL) == 0
    place = tmp_path / "CPU_ONLY.json"
    values = json.loads(place.read_text())
    del values["golden"], values["settings"]["compute_units"]
    place.write_text(json.dumps(values))
    assert read_result(place).golden is None


def test_wrong_logits_are_refused_and_leave_no_figures(
    bundle: Path,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / "CPU_ONLY.json"
    place.write_text("figures of an earlier check")
    golden = read_golden_tolerance(bundle)
    monkeypatch.setattr(FakeModel, "error", 100 * golden)
    assert run(bundle, "--json", tmp_path, "--units", "CPU_ONLY", *SMALL) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: CPU_ONLY: golden vectors missed in decode")
    assert error.count("\n") == 1
    assert not place.exists()


def read_golden_tolerance(bundle: Path) -> float:
    tolerance: float = json.loads((bundle / "manifest.json").read_text())["golden"]["tolerance"]
    return tolerance


def test_a_package_that_does_not_load_is_one_line(
    bundle: Path,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(FakeModel, "broken_units", ("CPU_AND_NE",))
    assert run(bundle, "--json", tmp_path, "--units", "CPU_AND_NE", *SMALL) == 2
    error = capsys.readouterr().err
    assert "does not load: Error compiling model: decode is beyond it" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("codes", "expected"), [((0, 0, 0), 0), ((0, -11, 2), 1)])
def test_every_unit_has_a_process_of_its_own(
    bundle: Path,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    codes: tuple[int, ...],
    expected: int,
) -> None:
    commands: list[list[str]] = []

    def finished(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, codes[len(commands) - 1])

    monkeypatch.setattr(subprocess, "run", finished)
    assert run(bundle, "--json", tmp_path / "new", *SMALL) == expected
    assert [command[-1] for command in commands] == ["CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"]
    assert all(command[1:4] == ["-m", "tools.macos_check", str(bundle)] for command in commands)
    assert ("CPU_AND_GPU: the process ended with code -11" in capsys.readouterr().err) is (
        expected == 1
    )


def test_another_target_is_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = saved(random_model(tiny_moe()), tmp_path / "checkpoint")
    export(source, tmp_path / "bundle", quant="q4")
    assert run(tmp_path / "bundle", "--json", tmp_path / "out") == 2
    assert "target onnx, expected coreml" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(
    sys.platform == "darwin", reason="NOT RUN: asks what happens where there is no Mac"
)
def test_elsewhere_it_says_so_in_one_line(bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.macos_check", str(bundle), "--json", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: this check runs Core ML, so it needs a Mac")
    assert done.stderr.count("\n") == 1
