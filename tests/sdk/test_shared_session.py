"""Several answers on one session: the newest is right, and every older one says that it ended."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import lfm_edge
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_edge import Generation, SessionTakenError

from tests.sdk.toy import EOS, THINK

MakeModel = Callable[..., lfm_edge.Model]
PROMPTS = ("alpha", "beta", "alpha beta", "alphabet", "b" * 700)
TOKENS = 6


@pytest.fixture(scope="module")
def talker(
    model: lfm_edge.Model,
) -> Callable[[str, lfm_edge.Session | None], Generation]:
    def answer(prompt: str, session: lfm_edge.Session | None) -> Generation:
        return model.generate(prompt, max_tokens=TOKENS, temperature=0, session=session)

    return answer


def fresh(talk: Callable[..., Generation], prompt: str) -> str:
    return "".join(talk(prompt, None))


def test_the_newer_answer_is_right_and_the_older_one_says_that_it_ended(
    model: lfm_edge.Model, talker: Callable[..., Generation]
) -> None:
    session = model.session()
    older = talker("alpha", session)
    next(older)
    newer = talker("beta", session)
    text = next(newer)
    with pytest.raises(SessionTakenError, match="has used it since") as caught:
        list(older)
    assert "\n" not in str(caught.value)
    assert text + "".join(newer) == fresh(talker, "beta")


def test_answers_made_before_either_runs_are_both_right(
    model: lfm_edge.Model, talker: Callable[..., Generation]
) -> None:
    session = model.session()
    answers = [talker(prompt, session) for prompt in PROMPTS]
    assert ["".join(answer) for answer in answers] == [fresh(talker, p) for p in PROMPTS]


@pytest.mark.parametrize(
    "use",
    [
        lambda session: session.reset(),
        lambda session: session.prefill([7, 8]),
        lambda session: session.decode(9),
        lambda session: (session.reset(), session.prefill(session.ids or [1])),
    ],
)
def test_what_a_caller_does_with_the_session_ends_its_answer(
    model: lfm_edge.Model,
    talker: Callable[..., Generation],
    use: Callable[[lfm_edge.Session], object],
) -> None:
    session = model.session()
    answer = talker("alpha", session)
    next(answer)
    use(session)
    with pytest.raises(SessionTakenError):
        list(answer)
    assert "".join(talker("alpha", session)) == fresh(talker, "alpha")


def test_looking_at_a_session_ends_nothing(
    model: lfm_edge.Model, talker: Callable[..., Generation]
) -> None:
    session = model.session()
    answer = talker("alpha", session)
    text = next(answer)
    assert session.position == len(session.ids)
    with pytest.raises(lfm_edge.UnknownTokenError):
        session.prefill([-1])
    assert text + "".join(answer) == fresh(talker, "alpha")


def test_an_answer_that_was_dropped_is_in_nobodys_way(
    model: lfm_edge.Model, talker: Callable[..., Generation]
) -> None:
    session = model.session()
    next(talker("alpha", session))
    assert "".join(talker("alpha beta", session)) == fresh(talker, "alpha beta")


def test_the_one_that_continues_the_other_reads_only_what_is_new(
    model: lfm_edge.Model, talker: Callable[..., Generation], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, runs = model.session(), []
    run = session.state.run

    def count(ids: Any, position: int) -> Any:
        runs.append((position, len(ids)))
        return run(ids, position)

    monkeypatch.setattr(session.state, "run", count)
    first = model.tokenizer.encode("alpha")
    session.prefill([model.bundle.manifest.model.bos_token_id or 0, *first])
    later = talker("alpha beta", session)
    assert not runs[1:]
    list(later)
    assert runs[1] == (1 + len(first), len(model.tokenizer.encode("alpha beta")) - len(first))


STEPS = st.one_of(
    st.tuples(st.just("make"), st.integers(0, len(PROMPTS) - 1)),
    st.tuples(st.just("next"), st.integers(0, 5)),
    st.tuples(st.just("finish"), st.integers(0, 5)),
    st.tuples(st.just("drop"), st.integers(0, 5)),
    st.tuples(st.just("reset"), st.just(0)),
    st.tuples(st.just("prefill"), st.integers(1, 3)),
)


class Answer:
    """An answer, with what has come of it."""

    def __init__(self, generation: Generation, prompt: str) -> None:
        self.generation, self.prompt = generation, prompt
        self.text, self.begun, self.ended, self.taken = "", False, False, False

    def advance(self) -> None:
        self.begun = True
        if self.ended:
            return
        try:
            self.text += next(self.generation)
        except StopIteration:
            self.ended = True
        except SessionTakenError:
            self.ended = self.taken = True

    def finish(self) -> None:
        while not self.ended:
            self.advance()


@settings(max_examples=150)
@given(steps=st.lists(STEPS, max_size=24))
def test_any_interleaving(
    steps: list[tuple[str, int]],
    model: lfm_edge.Model,
    talker: Callable[..., Generation],
) -> None:
    session, answers = model.session(), list[Answer]()
    newest: Answer | None = None  # who began to read last; nobody where something came between
    for step, number in steps:
        answer = answers[number % len(answers)] if answers else None
        if step == "make":
            answers.append(Answer(talker(PROMPTS[number], session), PROMPTS[number]))
        elif step in {"reset", "prefill"}:
            session.reset()
            if step == "prefill":
                session.prefill(range(6, 6 + number))
            newest = None
        elif answer and step == "drop":
            answers.remove(answer)
        elif answer:
            newest = newest if answer.begun else answer
            answer.advance() if step == "next" else answer.finish()
            assert not (answer is newest and answer.taken)
    for answer in answers:
        answer.finish()
        if not answer.taken:
            assert answer.text == fresh(talker, answer.prompt)
            assert answer.generation.finish_reason is not None


def test_answers_of_several_threads(make_model: MakeModel) -> None:
    model = make_model({EOS: -1e9, THINK: -1e9})
    prompts = [f"{letter} {'x' * 40}" for letter in "abcd"]

    def talk(prompt: str, session: lfm_edge.Session | None) -> str:
        return "".join(model.generate(prompt, max_tokens=40, temperature=0, session=session))

    truth = {prompt: talk(prompt, None) for prompt in prompts}
    session = model.session()
    wrong: list[str] = []
    outcomes: list[bool] = []

    def keep_asking(prompt: str) -> None:
        for _ in range(15):
            try:
                if talk(prompt, session) != truth[prompt]:
                    wrong.append(prompt)
                outcomes.append(True)
            except SessionTakenError:
                outcomes.append(False)

    threads = [threading.Thread(target=keep_asking, args=[prompt]) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(outcomes) == 15 * len(prompts)
    assert talk(prompts[0], session) == truth[prompts[0]]
