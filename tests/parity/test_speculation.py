"""Prompt-lookup decoding: the tokens, the text and the session that plain decoding gives.

The models here repeat nothing by themselves, so guesses come from `guess`, which is right now and
then; what is found by looking up is tested by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_edge import InvalidRequestError, Session, UnsupportedBundleError
from lfm_edge.generation import Generation
from lfm_edge.speculation import Pace, PromptLookup, Speculation
from numpy.typing import NDArray

from tests.parity.test_going_back import CASES, Case, held, load
from tests.sdk.toy import byte_level_tokenizer

__all__ = ["load"]

Load = Callable[[Case], lfm_edge.Model]
Array = NDArray[Any]
PROMPT = np.random.default_rng(3).integers(8, 320, 12).tolist()
EOS = 7


def answer(model: lfm_edge.Model, session: Session, **options: Any) -> Generation:
    """An answer to `PROMPT`; the tiny models have no tokenizer of their own."""
    return Generation(model._request(PROMPT, may_think=False, session=session, **options))


@pytest.fixture
def with_text(monkeypatch: pytest.MonkeyPatch, load: Load) -> Load:
    """The models with the toy's tokenizer."""

    class Toy(lfm_edge.tokenizer.Tokenizer):
        def __init__(self) -> None:
            self._native = byte_level_tokenizer()

    def made(case: Case) -> lfm_edge.Model:
        model = load(case)
        vars(model)["tokenizer"] = Toy()
        return model

    return made


def guessing(monkeypatch: pytest.MonkeyPatch, truth: list[int], wrong: set[int]) -> None:
    """Makes guesses of what follows in `truth`, but other tokens at the places of `wrong`."""
    text = [*PROMPT, *truth]

    def following(lookup: PromptLookup, most: int) -> list[int]:
        start = lookup._count
        guesses = text[start : start + most]
        return [
            (guess + 1) % 320 if start + i - len(PROMPT) in wrong else guess
            for i, guess in enumerate(guesses)
        ]

    monkeypatch.setattr(PromptLookup, "following", following)


def same_session(model: lfm_edge.Model, one: Session, other: Session) -> None:
    """Holds both to the same tokens, and to the same bits of what follows, and of the state."""
    assert one.ids == other.ids
    assert one.to_replay == other.to_replay == 0
    assert np.array_equal(one.decode(9), other.decode(9))
    states = held(model, one), held(model, other)
    assert all(np.array_equal(values, states[1][name]) for name, values in states[0].items())


@pytest.mark.parametrize("case", CASES)
def test_an_answer_and_its_session_are_those_of_plain_decoding(
    with_text: Load, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_text(case)

    @settings(max_examples=20, deadline=None)
    @given(
        wrong=st.sets(st.integers(0, 40), max_size=8),
        guesses=st.integers(1, 20),
        length=st.integers(1, 40),
        options=st.sampled_from(
            [
                {"temperature": 0},
                {"temperature": 1, "seed": 5, "top_k": 40},
                {"temperature": 1, "seed": 6, "frequency_penalty": 1, "repetition_penalty": 1.3},
                {"temperature": 1, "seed": 7, "logprobs": 2},
                {"temperature": 1, "seed": 8, "regex": "([a-f]{2}[0-9])*"},
            ]
        ),
        context=st.sampled_from([30, 60]),
        ending=st.booleans(),
    )
    def check(
        wrong: set[int],
        guesses: int,
        length: int,
        options: dict[str, Any],
        context: int,
        ending: bool,
    ) -> None:
        bias = {"logit_bias": {EOS: 3.0 if ending else -100.0}}
        options = {**options, **bias, "max_tokens": length}
        plain_session, session = model.session(context), model.session(context)
        plain = answer(model, plain_session, speculation=False, **options)
        text = "".join(plain)
        with monkeypatch.context() as patch:
            guessing(patch, plain.ids, wrong)
            guessed = answer(model, session, speculation=guesses, **options)
            assert "".join(guessed) == text
        assert guessed.ids == plain.ids
        assert guessed.logprobs == plain.logprobs
        assert guessed.finish_reason == plain.finish_reason
        assert plain.proposed_tokens == plain.accepted_tokens == 0
        assert guessed.accepted_tokens <= guessed.proposed_tokens
        if not wrong and len(plain.ids) > 2:
            assert guessed.accepted_tokens > 0
        if session.position < context:
            same_session(model, session, plain_session)

    check()


def test_right_guesses_need_fewer_runs_and_none_is_run_again(
    with_text: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_text(("moe", 3, "f16"))
    truth = answer(
        model, model.session(90), temperature=0, banned=[EOS], max_tokens=41, speculation=False
    )
    list(truth)
    session, runs = model.session(90), list[tuple[int, int]]()
    state: Any = session.state
    for name in ("run", "run_ahead"):
        run = getattr(state, name)

        def count(ids: Array, position: int, *more: int, run: Any = run) -> Any:
            runs.append((position, len(ids)))
            return run(ids, position, *more)

        monkeypatch.setattr(state, name, count)
    guessing(monkeypatch, truth.ids, {13})
    guessed = answer(model, session, temperature=0, banned=[EOS], max_tokens=41, speculation=7)
    list(guessed)
    assert guessed.ids == truth.ids
    start = len(PROMPT)
    # The token of each run, and 7 guesses; the one at 13 is wrong, so its place is run anew.
    assert runs == [
        (0, start),
        *((start + at, 8) for at in (0, 8, 13, 21)),
        (start + 29, 8),
        (start + 37, 3),
    ]
    assert guessed.proposed_tokens == 37
    assert guessed.accepted_tokens == 34


@pytest.mark.parametrize("seen", range(1, 12))
def test_a_session_never_holds_more_than_the_answer_has(
    with_text: Load, monkeypatch: pytest.MonkeyPatch, seen: int, tmp_path: Path
) -> None:
    model = with_text(("dense", 3, "f16"))
    truth = answer(
        model, model.session(90), temperature=0, banned=[EOS], max_tokens=20, speculation=False
    )
    list(truth)
    guessing(monkeypatch, truth.ids, {5})
    session, cancel = model.session(90), threading.Event()
    guessed = answer(model, session, temperature=0, banned=[EOS], cancel=cancel, speculation=7)
    tokens = guessed._tokens()
    for _ in range(seen):
        next(tokens)
    read = [*PROMPT, *truth.ids[: seen - 1]]
    assert session.ids == read
    straight = model.session(90)
    straight.prefill(read)
    session.save(tmp_path / "saved")
    mark = session.snapshot()
    others = [session.fork(), Session.open(model, tmp_path / "saved")]
    for other in others:
        assert other.ids == read
        same_session(model, other, straight.fork())
    cancel.set()
    assert list(tokens) == []
    assert guessed.finish_reason == "cancelled"
    assert guessed.ids == truth.ids[:seen]
    same_session(model, session, straight)
    session.restore(mark)
    straight.rewind(len(read))
    assert np.array_equal(session.prefill([4, 5]), straight.prefill([4, 5]))


def test_a_session_that_guessed_goes_back_anywhere(
    with_text: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_text(("moe", 3, "int8"))
    truth = answer(
        model, model.session(90), temperature=0, banned=[EOS], max_tokens=20, speculation=False
    )
    list(truth)
    guessing(monkeypatch, truth.ids, set())
    for back in range(1, 12):
        session, straight = model.session(90), model.session(90)
        tokens = answer(model, session, temperature=0, banned=[EOS], speculation=7)._tokens()
        for _ in range(7):
            next(tokens)
        session.rewind(session.position - back)
        straight.prefill(session.ids)
        assert np.array_equal(session.prefill([4, 5]), straight.prefill([4, 5]))
        same_session(model, session, straight)


def test_a_stop_string_within_accepted_guesses(
    with_text: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_text(("dense", 3, "f16"))
    options: dict[str, Any] = {"temperature": 0, "logit_bias": {EOS: -100}, "max_tokens": 30}
    options["regex"] = "[a-z]{40}"
    plain = answer(model, model.session(90), speculation=False, **options)
    whole = "".join(plain)
    guessing(monkeypatch, plain.ids, set())
    one, other = model.session(90), model.session(90)
    stopped = answer(model, one, speculation=False, stop=whole[9:13], **options)
    guessed = answer(model, other, speculation=7, stop=whole[9:13], **options)
    assert "".join(stopped) == "".join(guessed) == whole[: whole.index(whole[9:13])]
    assert stopped.finish_reason == guessed.finish_reason == "stop"
    assert stopped.ids == guessed.ids
    same_session(model, one, other)


def test_events_report_guesses(with_text: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_text(("dense", 3, "f16"))
    truth = answer(
        model, model.session(90), temperature=0, banned=[EOS], max_tokens=20, speculation=False
    )
    list(truth)
    guessing(monkeypatch, truth.ids, set())
    monkeypatch.setattr(model, "prompt_ids", lambda *_, **__: PROMPT)
    stream = model.events([], temperature=0, banned=[EOS], max_tokens=20, speculation=7)
    *_, end = stream
    assert isinstance(end, lfm_edge.chat.End)
    assert stream.ids == truth.ids
    assert (end.usage.proposed, end.usage.accepted) == (16, 16)
    assert (stream.proposed_tokens, stream.accepted_tokens) == (16, 16)


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 9))
def test_a_look_up_gives_what_followed_the_longest_equal_end(ids: list[int], most: int) -> None:
    lookup = PromptLookup(ids[:7])
    for token in ids[7:]:
        lookup.push(token)
    found = lookup.following(most)
    best = max((equal_end(ids[:stop], ids) for stop in range(len(ids))), default=0)
    if best < 3:
        assert found == []
        return
    places = [stop for stop in range(len(ids)) if equal_end(ids[:stop], ids) == best]
    assert 1 <= len(found) <= most
    assert any(ids[stop : stop + most] == found for stop in places)
    if any(stop + most <= len(ids) for stop in places):
        assert len(found) == most


def equal_end(one: list[int], other: list[int]) -> int:
    """How many tokens, up to 16, two texts end with alike."""
    pairs = enumerate(zip(reversed(one), reversed(other), strict=False))
    return next((i for i, (a, b) in pairs if a != b or i == 16), min(len(one), 16))


class Clock:
    """A session that takes as long as it is told, and guesses that come true or do not."""

    def __init__(self, each: float, right: Callable[[int], bool], pace: Pace) -> None:
        self.capacity, self.position, self.ahead = 10_000, 0, list[int]()
        self.each, self.right, self.now = each, right, 0.0
        self.state, self.waited = self, 0.0
        self.waits = iter(int, 1)  # of each run, for those of others
        self.speculation = Speculation(self, pace)  # type: ignore[arg-type]

    def read(self, ids: list[int], reader: object, following: list[int] = []) -> Array:  # noqa: B006
        if self.ahead[:1] == ids:
            del self.ahead[0]
        else:
            wait = next(self.waits)
            self.waited += wait
            self.now += wait + 1 + self.each * len(following)
            self.ahead = list(following)
        self.position += 1
        return np.zeros(1, np.float32)

    def decode(self, count: int) -> float:
        """Decodes so many tokens; in runs of one this takes as many seconds."""
        for _ in range(count):
            self.speculation.read(self.position, self, None)
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Clock]:
    def make(each: float, right: Callable[[int], bool], pace: Pace | None = None) -> Clock:
        made = Clock(each, right, pace or Pace())

        def following(lookup: PromptLookup, most: int) -> list[int]:
            first = made.position + 1
            return [at if right(at) else -1 for at in range(first, first + most)]

        monkeypatch.setattr("lfm_edge.speculation.time.perf_counter", lambda: made.now)
        monkeypatch.setattr(PromptLookup, "following", following)
        return made

    return make


@pytest.mark.parametrize("each", [0.1, 0.4, 0.5, 1.0])
def test_where_no_guess_comes_true_hardly_any_time_is_lost(
    clock: Callable[..., Clock], each: float
) -> None:
    pace = Pace()
    assert clock(each, lambda _: False, pace).decode(256) < 256 / 0.97
    for _ in range(10):  # nor in short answers that follow
        before = clock(each, lambda _: False, pace)
        assert before.decode(32) < 32 * 1.05


@pytest.mark.parametrize(("each", "gain"), [(0.1, 4), (0.4, 1.9), (0.9, 0.99)])
def test_where_guesses_come_true_they_are_made(
    clock: Callable[..., Clock], each: float, gain: float
) -> None:
    assert clock(each, lambda _: True).decode(300) < 300 / gain


def test_waits_for_others_runs_count_for_nothing(clock: Callable[..., Clock]) -> None:
    beside = clock(0.1, lambda _: True)
    beside.waits = iter([100, 3, 50, 0, 7] * 1000)
    took = beside.decode(500) - beside.waited
    assert took == pytest.approx(clock(0.1, lambda _: True).decode(500))


def test_guesses_begin_where_they_come_true_and_end_where_they_do_not(
    clock: Callable[..., Clock],
) -> None:
    made = clock(0.35, lambda at: 500 <= at < 1000)
    assert made.decode(500) < 500 / 0.97
    begun = made.now
    assert made.decode(500) - begun < 500 / 1.4
    begun = made.now
    assert made.decode(500) - begun < 500 / 0.95


@pytest.mark.parametrize("choice", [0, -1, 64, 1.5, "always"])
def test_a_choice_that_is_none_is_refused(with_text: Load, choice: Any) -> None:
    model = with_text(("dense", 3, "f16"))
    with pytest.raises(InvalidRequestError, match=r"speculation: got .* expected .auto., True"):
        answer(model, model.session(30), speculation=choice)


def test_a_graph_that_cannot_is_not_asked(with_text: Load) -> None:
    model = with_text(("moe", 3, "portable"))
    guessed = answer(model, model.session(30), max_tokens=4)
    list(guessed)
    assert guessed.proposed_tokens == 0
    with pytest.raises(UnsupportedBundleError, match="export it with --target onnx"):
        answer(model, model.session(30), speculation=True)
