"""What an export prints: its own lines, and a library's only where that fails."""

from __future__ import annotations

import sys
from typing import Literal

import pytest
import typer
from lfm_edge.console_progress import ConsoleProgress
from lfm_export import demo
from lfm_export.emit.quiet import quiet
from lfm_export.errors import ExportError


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("error", [None, RuntimeError("broken"), ExportError("too wide")])
def test_what_a_library_prints_is_shown_where_it_fails(
    stream: Literal["stdout", "stderr"],
    error: Exception | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def convert() -> None:
        with quiet(stream):
            print("pass 3 of 7: no such op", file=getattr(sys, stream))
            if error:
                raise error

    if error:
        with pytest.raises(type(error)):
            convert()
    else:
        convert()
    unexplained = isinstance(error, RuntimeError)
    assert capsys.readouterr() == ("", "pass 3 of 7: no such op\n" if unexplained else "")


def test_a_note_is_one_line_and_shows_names_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ConsoleProgress() as shown:
        shown.note("passed over [red]x :smile:\n and a\x1b[2Jb")
    assert capsys.readouterr().err == "note: passed over [red]x :smile: and a\\x1b[2Jb\n"


def test_nothing_done_gives_no_estimate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, clock = ConsoleProgress(), [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    shown.stage("quantize", 2_000_000, "weights")
    clock[0] = 20.0
    shown.advance(0)
    assert capsys.readouterr().err == "quantize: 0.0 of 2.0 M weights\n"


def test_a_measurement_that_fails_ends_the_demo_with_its_code(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit) as ending:
        demo._bench("no such bundle")
    assert ending.value.exit_code == 2
    assert capfd.readouterr().err == (
        "error: no such bundle: no such folder; expected a bundle written by lfm-edge export\n"
    )
