"""What a person who looks on is told of an answer's speed."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lfm_edge
import pytest
from lfm_edge import Generation, commands
from lfm_edge.onnx_runtime import BoundState

from tests.sdk.toy import BOS, EOS, PAD, THINK, ToyModel, write_toy_bundle

NEVER = {PAD: -1e4, BOS: -1e4, EOS: -1e4}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Callable[[Generation], str]:
    """Shows an answer to somebody who looks on, and gives what is said of its speed."""

    def stream(generation: Generation) -> str:
        screen = io.StringIO()
        monkeypatch.setattr(screen, "isatty", lambda: True)
        with contextlib.redirect_stderr(screen), contextlib.redirect_stdout(io.StringIO()):
            commands._stream(generation)
        return screen.getvalue()

    return stream


def test_there_is_no_figure_without_a_token(
    tmp_path: Path, figures: Callable[[Generation], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lfm_edge.load(write_toy_bundle(tmp_path / "bundle", ToyModel(NEVER)), threads=1)
    cancel = threading.Event()
    cancel.set()
    assert figures(model.generate("a", cancel=cancel)) == "[ended by cancelled]\n"
    cancel.clear()
    session, run = model.session(), BoundState.run

    def run_and_cancel(state: BoundState, ids: Any, position: int) -> Any:
        cancel.set()
        return run(state, ids, position)

    monkeypatch.setattr(BoundState, "run", run_and_cancel)
    long = model.generate("x" * 1500, session=session, cancel=cancel)
    assert (figures(long), session.position) == ("[ended by cancelled]\n", 512)


def test_the_figures_are_of_what_came(
    tmp_path: Path, figures: Callable[[Generation], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = lfm_edge.load(write_toy_bundle(tmp_path / "ended", ToyModel({EOS: 1e5})), threads=1)
    assert figures(ended.generate("a")) == "[2 tokens read; 1 tokens; ended by eos]\n"
    times = iter([10.0, 12.0, 14.0] * 2)
    clock = SimpleNamespace(perf_counter=lambda: next(times))
    monkeypatch.setattr("lfm_edge.commands.time", clock)
    model = lfm_edge.load(write_toy_bundle(tmp_path / "long", ToyModel({THINK: 1e5})), threads=1)
    assert figures(model.generate("a", max_tokens=1)) == (
        "[2 tokens read, first text after 2.00 s; 1 tokens; ended by length]\n"
    )
    assert figures(model.generate("a", max_tokens=9)) == (
        "[2 tokens read, first text after 2.00 s; 9 tokens, 4.0 a second; ended by length]\n"
    )
