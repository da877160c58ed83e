"""Ctrl-C at every single instruction of a run: the session still holds what it says it holds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NoReturn

import lfm_edge
import numpy as np
import pytest
from lfm_edge import BundleError, replay
from lfm_edge.onnx_runtime import BoundState

from tests.sdk.interrupting import interrupt_at
from tests.sdk.toy import VOCAB

HELD = np.random.default_rng(5).integers(0, VOCAB, 9).tolist()
NEW = np.random.default_rng(6).integers(0, VOCAB, 4).tolist()


def same(found: Any, truth: Any) -> bool:
    """The toy's own operators round differently for one row and for several."""
    return bool(np.abs(found - truth).max() < 1e-4)


def logits(model: lfm_edge.Model, ids: list[int]) -> Any:
    return model.session(64).prefill(ids)


Work = Callable[[lfm_edge.Session], object]


@pytest.mark.parametrize(
    ("work", "after"),
    [
        (lambda session: session.prefill(NEW), [*HELD, *NEW]),
        (lambda session: session.decode(NEW[0]), [*HELD, NEW[0]]),
        (lambda session: session.reset(), []),
        (lambda session: session.rewind(4), HELD[:4]),
        (lambda session: session.resume([*HELD, 1]), HELD),
        (lambda session: session.fork(), HELD),
        (lambda session: session.restore(session.snapshot()), HELD),
    ],
    ids=["prefill", "decode", "reset", "rewind", "resume", "fork", "restore"],
)
def test_a_session_is_what_it_was_or_empty_or_has_read_all(
    model: lfm_edge.Model, work: Work, after: list[int]
) -> None:
    session, count, found = model.session(64), 0, set()
    truths = {tuple(ids): logits(model, [*ids, 11]) for ids in (HELD, after, [])}
    while True:
        count += 1
        session.reset()
        session.prefill(HELD)
        if not interrupt_at(count, lambda: work(session)):
            break
        held = session.ids
        assert session.position == len(held)
        found.add(tuple(held))
        assert same(session.decode(11), truths[tuple(held)])
        assert session.ids == [*held, 11]
    assert count > 20
    assert () in found


def test_a_long_prompt_is_read_whole_or_not_at_all(
    model: lfm_edge.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "PREFILL_CHUNK", 3)
    session, count = model.session(64), 0
    while interrupt_at(count := count + 1, lambda: session.prefill(HELD)):
        assert session.ids in ([], HELD)
        ids = session.ids
        assert same(session.prefill(NEW), logits(model, [*ids, *NEW]))
        session.reset()
    assert count > 100


def test_an_answer_leaves_a_session_that_answers_rightly(model: lfm_edge.Model) -> None:
    def ask(prompt: str, session: lfm_edge.Session | None) -> str:
        return "".join(model.generate(prompt, max_tokens=2, temperature=0, session=session))

    session, count = model.session(64), 0
    truth = ask("ab cd", None)
    while interrupt_at(count := count + 1, lambda: ask("ab", session)):
        ids = session.ids
        assert same(session.decode(11), logits(model, [*ids, 11]))
        assert ask("ab cd", session) == truth
    assert count > 300


@pytest.mark.parametrize("error", [MemoryError(), BundleError("broken")])
def test_an_interrupt_while_a_failed_run_is_cleaned_up(
    model: lfm_edge.Model, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, count = model.session(64), 0
    truths = {tuple(ids): logits(model, [*ids, 11]) for ids in (HELD, list[int]())}

    def fail(state: BoundState, ids: Any, position: int) -> Any:
        state.tensors["0.conv"][:] = 77
        raise error

    def read() -> None:
        with contextlib.suppress(MemoryError, BundleError):
            session.prefill(NEW)

    interrupted = True
    while interrupted:
        count += 1
        session.reset()
        session.prefill(HELD)
        with monkeypatch.context() as patch:
            patch.setattr(BoundState, "run", fail)
            interrupted = interrupt_at(count, read)
        assert same(session.decode(11), truths[tuple(session.ids[:-1])])
    assert count > 40


def test_a_failed_run_leaves_its_buffers_in_use(
    model: lfm_edge.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = model.session(64)
    state = session.state
    with monkeypatch.context() as patch:
        patch.setattr(BoundState, "run", lambda *_: interrupt())
        with pytest.raises(KeyboardInterrupt):
            session.prefill(HELD)
    assert (session.ids, session.position) == ([], 0)
    session.prefill(HELD)
    assert session.state is state


def interrupt() -> NoReturn:
    raise KeyboardInterrupt
