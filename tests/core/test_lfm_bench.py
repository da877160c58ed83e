"""`lfm_bench`: the figures and the JSON of `lfm-edge bench`, the same errors for bad input."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from lfm_edge.bench_result import BenchResult, read_result

from tests.core.programs import ONNXRUNTIME, core_program
from tests.support import DEMO_MODEL, export

ROOT = Path(__file__).parents[2]
ARM = ROOT / "build" / "aarch64"
SHORT = ("-p", "24", "-n", "8", "-r", "2", "--threads", "1")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    core_program("lfm_bench")  # skips before anything is exported
    return export(DEMO_MODEL, tmp_path_factory.mktemp("bench") / "bundle").folder


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [core_program("lfm_bench"), "--onnxruntime", str(ONNXRUNTIME), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_measures_what_lfm_edge_bench_reads(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    done = run(bundle, *SHORT, "-d", "40", "--verify", "--json", file)
    assert (done.returncode, done.stderr) == (0, "")
    result: BenchResult = read_result(file)
    assert result.prefill is not None
    assert result.decode is not None
    assert result.time_to_first_token is not None
    assert len(result.prefill.samples) == len(result.decode.samples) == 2
    assert result.prefill_tokens_per_second == result.prefill.median
    assert result.time_to_first_token.median > 24 / result.prefill.median * 0.5
    settings = result.settings
    assert (settings.prompt_tokens, settings.generated_tokens) == (24, 8)
    assert (settings.depth, settings.threads) == (40, 1)
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    sizes = sum(entry["size"] for entry in files.values())
    assert result.bundle.size_bytes == sizes + (bundle / "manifest.json").stat().st_size
    assert (result.bundle.family, result.bundle.target) == ("lfm2_moe", "onnx")
    assert result.device.isa
    assert result.device.prefetch_bytes is not None
    assert "golden vectors: passed" in done.stdout
    assert "prefill, pp24 @ d40" in done.stdout
    assert f"{result.decode.median:.1f}" in done.stdout


def test_a_sustained_run_tells_how_it_went(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    done = run(bundle, "-p", "0", "-n", "4", "-r", "1", "--sustained", "6", "--json", file)
    assert done.returncode == 0, done.stderr
    result = read_result(file)
    assert result.sustained
    assert all(moment.tokens_per_second > 0 for moment in result.sustained)
    assert result.prefill is None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "expected the folder of a bundle; see --help"),
        (["BUNDLE", "-p"], "-p: expected a value"),
        (["BUNDLE", "-p", "x"], "-p x: expected a whole number"),
        (["BUNDLE", "-p", "1x"], "-p 1x: expected a whole number"),
        (["BUNDLE", "-p", "-1"], "-p -1: must be at least 0"),
        (["BUNDLE", "-r", "0"], "-r 0: must be at least 1"),
        (["BUNDLE", "--threads", "0"], "--threads 0: must be at least 1"),
        (["BUNDLE", "-p", "0", "-n", "0"], "-p 0 -n 0 leaves nothing to measure"),
        (["BUNDLE", "--speed"], "--speed: no such option; see --help"),
        (["BUNDLE", "other"], "one bundle at a time, not "),
        (["BUNDLE", "-d", "5000"], "tokens of context, but the bundle holds 4,096"),
        (["BUNDLE", "--cores", "5-3"], "--cores 5-3: expected cores such as 4-7 or 0,2,4"),
        (["BUNDLE", "--cores", "0,"], "--cores 0,: expected cores such as 4-7 or 0,2,4"),
        (["BUNDLE", "--cores", "1000"], "--cores: the system refuses these cores"),
        (["BUNDLE", "--json", ""], "--json: expected the name of a file"),
        (["/nowhere"], "/nowhere"),
    ],
)
def test_a_mistake_is_one_line(bundle: Path, arguments: Sequence[str], error: str) -> None:
    done = run(*[str(bundle) if word == "BUNDLE" else word for word in arguments])
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert error in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_damaged_bundle_does_not_pass(bundle: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(bundle, tmp_path / "damaged")
    weights = bytearray((damaged / "model.onnx.data").read_bytes())
    weights[len(weights) // 2] ^= 1
    (damaged / "model.onnx.data").write_bytes(weights)
    done = run(damaged, *SHORT, "--verify")
    assert done.returncode == 2
    assert "model.onnx.data" in done.stderr


def test_help_names_every_option() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for option in ("-p", "-n", "-r", "-d", "--threads", "--cores", "--verify", "--json"):
        assert f"  {option} " in done.stdout


@pytest.mark.parametrize(
    ("cpu", "isa"),
    [("max", "neon_i8mm"), ("cortex-a76", "neon_dotprod"), ("cortex-a72", "scalar")],
)
def test_on_an_emulated_arm_cpu(bundle: Path, tmp_path: Path, cpu: str, isa: str) -> None:
    bench, capi = ARM / "lfm_bench", ARM / "onnxruntime" / "capi"
    runtime = next(capi.glob("libonnxruntime.so.*"), None)
    if not bench.is_file() or runtime is None:
        pytest.skip("NOT RUN, not built: `make arm` does it, where its tools can be had")
    command: list[str | Path] = ["qemu-aarch64", "-L", ARM / "sysroot", "-cpu", cpu, bench, bundle]
    file = tmp_path / "a.json"
    short = ("-p", "4", "-n", "2", "-r", "1", "--threads", "1", "--verify")
    done = subprocess.run(
        [*command, *short, "--json", file, "--onnxruntime", runtime],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "golden vectors: passed" in done.stdout
    assert read_result(file).device.isa == isa
