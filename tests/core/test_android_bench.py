"""What the Android app shares of a measurement is a result of `lfm-edge bench`."""

from __future__ import annotations

from pathlib import Path

import typer
from lfm_edge.bench_command import bench
from lfm_edge.bench_result import read_result
from typer.testing import CliRunner

# What the app's own test (BenchTest.kt) holds its output to.
RESULT = Path(__file__).parents[2] / "android_demo/app/src/test/resources/bench.json"


def test_a_result_of_the_app_is_read() -> None:
    result = read_result(RESULT)
    assert result.decode is not None
    assert result.decode.samples == [400.0, 700.0, 1000.0]
    assert result.decode_tokens_per_second == result.decode.median == 700.0
    assert result.decode.standard_deviation == 300.0
    assert result.settings.repetitions == 3
    assert result.settings.threads == 4
    assert result.device.isa == "neon_dotprod"
    assert result.bundle.quantization == "q4"


def test_it_compares_with_others() -> None:
    app = typer.Typer()
    app.command()(bench)
    outcome = CliRunner().invoke(app, ["--compare", str(RESULT), str(RESULT)])
    assert outcome.exit_code == 0, outcome.output
    assert "700" in outcome.output
