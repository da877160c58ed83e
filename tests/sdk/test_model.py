"""Completion and chat: the right text, the right end, the right defaults."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import lfm_edge
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_edge import BundleError, ContextFullError, InvalidRequestError, SamplingOptions
from lfm_edge.chat import Tool
from lfm_edge.replay import PREFILL_CHUNK
from lfm_edge.runtime import state_bytes

from tests.sdk.toy import BOS, EOS, IM_START, PAD, THINK, VOCAB, ToyModel

MakeModel = Callable[..., lfm_edge.Model]
NEVER = {PAD: -1e4, BOS: -1e4, EOS: -1e4}
"""Biases under which an answer goes on for ever."""


@pytest.fixture
def endless(make_model: MakeModel) -> lfm_edge.Model:
    return make_model(NEVER)


def test_greedy_text_is_that_of_the_plain_model(endless: lfm_edge.Model) -> None:
    answer = endless.generate("the café", max_tokens=40, temperature=0)
    text = "".join(answer)
    prompt = [BOS, *endless.tokenizer.encode("the café")]
    assert answer.ids == ToyModel(NEVER).greedy(prompt, 40)
    assert text == endless.tokenizer.decode(answer.ids)
    assert (answer.finish_reason, answer.prompt_tokens) == ("length", len(prompt))


def test_a_prompt_that_begins_with_bos_gets_no_second(endless: lfm_edge.Model) -> None:
    session = endless.session()
    list(endless.generate("<|startoftext|>a", max_tokens=1, session=session))
    assert session.ids == [BOS, *endless.tokenizer.encode("a")]


def test_an_end_token_ends_and_is_not_shown(make_model: MakeModel) -> None:
    answer = make_model({EOS: 1e4}).generate("a")
    assert list(answer) == []
    assert (answer.ids, answer.finish_reason) == ([EOS], "eos")


def test_other_special_tokens_are_shown(make_model: MakeModel) -> None:
    assert "".join(make_model({THINK: 1e4}).generate("a", max_tokens=2)) == "<think><think>"


def test_padding_is_not_shown_but_counts(make_model: MakeModel) -> None:
    answer = make_model({PAD: 1e4}).generate("a", max_tokens=2)
    assert (list(answer), answer.ids) == ([], [PAD, PAD])


def test_ids_beyond_the_tokenizer_are_shown_as_numbers(make_model: MakeModel) -> None:
    answer = make_model({VOCAB - 1: 1e4}).generate("a", max_tokens=2)
    assert list(answer) == ["<|299|>", "<|299|>"]


def test_no_reason_is_given_while_it_goes_on(endless: lfm_edge.Model) -> None:
    answer = endless.generate("a", max_tokens=3)
    assert answer.finish_reason is None
    next(answer)
    assert answer.finish_reason is None


def test_a_full_context_ends_the_answer(endless: lfm_edge.Model) -> None:
    session = endless.session(12)
    answer = endless.generate("abcd", session=session)
    list(answer)
    assert (answer.finish_reason, session.position) == ("context", 12)
    # The last token needs no room, since nothing follows it.
    assert len(answer.ids) == 12 - 5 + 1


def test_a_prompt_that_just_fits_gets_one_token(endless: lfm_edge.Model) -> None:
    answer = endless.generate("abcd", context=5)
    list(answer)
    assert (len(answer.ids), answer.finish_reason) == (1, "context")


def test_a_prompt_over_the_context_is_refused_at_once(endless: lfm_edge.Model) -> None:
    with pytest.raises(ContextFullError, match="prompt has 6 tokens, but the context holds 5"):
        endless.generate("abcde", context=5)


def test_a_stop_string_that_straddles_tokens_is_not_shown(endless: lfm_edge.Model) -> None:
    whole = "".join(endless.generate("a", max_tokens=30))
    stop = whole[7:12]
    answer = endless.generate("a", max_tokens=30, stop=["never seen", stop])
    assert "".join(answer) == whole[: whole.index(stop)]
    assert answer.finish_reason == "stop"
    assert len(answer.ids) < 30


def test_a_stop_string_at_the_very_end_is_the_reason(make_model: MakeModel) -> None:
    model = make_model({THINK: 1e4})
    answer = model.generate("a", max_tokens=1, stop="<think>")
    assert (list(answer), answer.finish_reason) == ([], "stop")


def test_text_held_for_a_stop_string_comes_out_at_the_end(make_model: MakeModel) -> None:
    answer = make_model({THINK: 1e4}).generate("a", max_tokens=1, stop="<think>!")
    assert ("".join(answer), answer.finish_reason) == ("<think>", "length")


def test_another_thread_can_end_an_answer(endless: lfm_edge.Model) -> None:
    cancel = threading.Event()
    answer = endless.generate("a", cancel=cancel)
    next(answer)
    other = threading.Thread(target=cancel.set)
    other.start()
    other.join()
    before = len(answer.ids)
    list(answer)
    assert (answer.finish_reason, len(answer.ids)) == ("cancelled", before)


def test_an_answer_can_be_ended_while_its_prompt_is_read(
    endless: lfm_edge.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel, session = threading.Event(), endless.session()
    run = session.state.run

    def run_and_cancel(ids: Any, position: int) -> Any:
        cancel.set()
        return run(ids, position)

    monkeypatch.setattr(session.state, "run", run_and_cancel)
    answer = endless.generate("x" * 1500, session=session, cancel=cancel)
    assert list(answer) == []
    assert (answer.finish_reason, session.position) == ("cancelled", PREFILL_CHUNK)


def test_a_seed_fixes_the_text(endless: lfm_edge.Model) -> None:
    def text(seed: int | None) -> str:
        return "".join(endless.generate("a", max_tokens=20, temperature=2, seed=seed))

    assert text(1) == text(1)
    assert text(1) != text(2)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_pieces_are_whole_and_add_up(seed: int, request: pytest.FixtureRequest) -> None:
    model: lfm_edge.Model = request.getfixturevalue("model")
    answer = model.generate("日", max_tokens=30, temperature=3, seed=seed)
    pieces = list(answer)
    assert all(pieces)
    assert "".join(pieces) == model.tokenizer.decode(answer.ids, skip={PAD, BOS, EOS})


def test_a_chat_that_goes_on_reads_only_what_is_new(
    endless: lfm_edge.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, runs = endless.session(), []
    run = session.state.run

    def count(ids: Any, position: int) -> Any:
        runs.append(len(ids))
        return run(ids, position)

    monkeypatch.setattr(session.state, "run", count)
    chat: list[lfm_edge.Message] = [{"role": "user", "content": "one"}]
    first = endless.chat(chat, max_tokens=1, session=session, stop="never")
    text = "".join(first)
    held = session.position
    chat += [{"role": "assistant", "content": text}, {"role": "user", "content": "two"}]
    second = endless.chat(chat, max_tokens=5, session=session)
    again = "".join(second)
    assert runs[0] == first.prompt_tokens == held
    assert runs[1] == second.prompt_tokens - held
    assert again == "".join(endless.chat(chat, max_tokens=5))


def test_a_chat_that_changed_is_read_anew(endless: lfm_edge.Model) -> None:
    session = endless.session()
    list(endless.chat([{"role": "user", "content": "one"}], max_tokens=4, session=session))
    other: list[lfm_edge.Message] = [{"role": "user", "content": "two"}]
    text = "".join(endless.chat(other, max_tokens=4, session=session))
    assert text == "".join(endless.chat(other, max_tokens=4))


def test_a_longer_prompt_that_differs_is_read_anew(endless: lfm_edge.Model) -> None:
    session = endless.session()
    list(endless.generate("ab", max_tokens=2, session=session))
    text = "".join(endless.generate("xyz and more", max_tokens=4, session=session))
    assert text == "".join(endless.generate("xyz and more", max_tokens=4))


def test_the_repetition_penalty_sees_the_prompt(make_model: MakeModel) -> None:
    model = make_model({THINK: 1e4})
    options: dict[str, Any] = {"max_tokens": 1, "repetition_penalty": 1e5}
    assert list(model.generate("a", **options)) == ["<think>"]
    assert list(model.generate("<think>", **options)) != ["<think>"]


def test_the_same_prompt_again_gives_the_same_answer(endless: lfm_edge.Model) -> None:
    session = endless.session()
    texts = ["".join(endless.generate("ab", max_tokens=6, session=session)) for _ in range(2)]
    assert texts[0] == texts[1]


def test_the_chat_prompt_is_the_templates(make_model: MakeModel) -> None:
    model = make_model(NEVER, {"chat_template.jinja": "<|im_start|>{{ word }}{{ tools[0].x }}"})
    session = model.session()
    options: dict[str, Any] = {"max_tokens": 1, "session": session}
    list(model.chat([{"role": "user"}], [{"x": "b"}], {"word": "a"}, **options))
    assert session.ids == [IM_START, *model.tokenizer.encode("ab")]


def test_chat_takes_tools_as_it_takes_their_json(make_model: MakeModel) -> None:
    model = make_model(NEVER, {"chat_template.jinja": "{{ tools | tojson }}"})
    tool = Tool("area", "Of a circle.")
    prompts = []
    for tools in ([tool], [tool.to_json()]):
        session = model.session(1024)
        list(model.chat([{"role": "user"}], tools, max_tokens=1, session=session))
        prompts.append(session.ids)
    assert prompts[0] == prompts[1] != []


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, SamplingOptions(top_k=50)),
        ({}, SamplingOptions(top_k=50)),
        ({"do_sample": True}, SamplingOptions(temperature=1.0, top_k=50)),
        ({"do_sample": True, "temperature": None, "top_k": None, "min_p": None},
         SamplingOptions(temperature=1.0, top_k=50)),
        ({"do_sample": False, "temperature": 0.7, "top_k": 5}, SamplingOptions(top_k=5)),
        ({"temperature": 0.3, "min_p": 0.15, "repetition_penalty": 1.05, "top_p": None},
         SamplingOptions(top_k=50, min_p=0.15, repetition_penalty=1.05)),
        ({"do_sample": None, "temperature": 0.3, "top_k": -1}, SamplingOptions()),
        ({"do_sample": True, "temperature": 0.3, "top_k": 0}, SamplingOptions(temperature=0.3)),
        ({"do_sample": True, "temperature": 1, "top_k": 80, "other": []},
         SamplingOptions(temperature=1.0, top_k=80)),
    ],
)  # fmt: skip
def test_defaults_come_from_the_bundle(
    make_model: MakeModel, config: dict[str, Any] | None, expected: SamplingOptions
) -> None:
    text = None if config is None else json.dumps(config)
    assert make_model(files={"generation_config.json": text}).defaults == expected


def test_options_replace_defaults(make_model: MakeModel) -> None:
    config = json.dumps({"do_sample": True, "temperature": 5.0})
    model = make_model(NEVER, {"generation_config.json": config})
    prompt = [BOS, *model.tokenizer.encode("a")]
    answer = model.generate("a", temperature=0, max_tokens=8)
    list(answer)
    assert answer.ids == ToyModel(NEVER).greedy(prompt, 8)


@pytest.mark.parametrize(
    ("value", "expected"), [(5, {EOS, 5}), ([5, EOS], {EOS, 5}), (None, {EOS})]
)
def test_end_tokens_of_both_files_count(
    make_model: MakeModel, value: Any, expected: set[int]
) -> None:
    model = make_model(files={"generation_config.json": json.dumps({"eos_token_id": value})})
    assert model.eos_ids == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "truncated"),
        ('{"temperature": "hot"}', "temperature"),
        ('{"temperature": -1}', "temperature: got -1"),
        ('{"top_p": -0.5}', "top_p: got -0.5"),
        ('{"eos_token_id": [7.5]}', "eos_token_id"),
        ('{"eos_token_id": [7, null]}', "eos_token_id"),
        ('{"top_k": 50.0}', "top_k"),
        ('{"top_k": -2}', "top_k: got -2"),
        ('{"do_sample": "yes"}', "do_sample"),
        ("[]", "object"),
    ],
)
def test_a_bad_generation_config_is_named(make_model: MakeModel, text: str, message: str) -> None:
    with pytest.raises(BundleError, match=rf"generation_config\.json: .*{message}"):
        make_model(files={"generation_config.json": text})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens: got 0"),
        ({"temperature": float("nan")}, "temperature: got nan"),
        ({"top_k": -1}, "top_k: got -1"),
        ({"stop": ""}, "stop: got"),
        ({"context": 0}, "context: got 0"),
        ({"max_tokens": float("nan")}, "max_tokens: got nan"),
        ({"max_tokens": True}, "max_tokens: got True"),
        ({"max_tokens": "5"}, "max_tokens: got '5'"),
        ({"logprobs": 0.5}, "logprobs: got 0.5"),
        ({"logit_bias": [1]}, "logit_bias: got"),
        ({"banned": 5}, "banned: got 5"),
        ({"banned": "ab"}, "banned: got 'ab'"),
        ({"stop": 5}, "stop: got 5"),
        ({"session": 0}, "session: got a int"),
    ],
)
def test_bad_options_are_refused_at_once(model: lfm_edge.Model, options: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        model.generate("a", **options)
    with pytest.raises(InvalidRequestError, match=message):
        model.chat([{"role": "user", "content": "a"}], **options)


def test_a_state_that_would_not_fit_is_refused(
    model: lfm_edge.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = model.bundle.manifest.model.max_context
    needed = sum(state_bytes(t, most) for t in model.bundle.manifest.graph.state)
    assert needed > 0
    free = psutil.virtual_memory()._replace(available=needed)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    model.session(most)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free._replace(available=needed - 1))
    words = f"no memory for the {needed:,} bytes of state of {most:,} tokens"
    with pytest.raises(BundleError, match=words):
        model.session(most)
    model.session(most // 2)


def test_a_session_has_its_own_context(model: lfm_edge.Model) -> None:
    with pytest.raises(InvalidRequestError, match="context: a session was given"):
        model.generate("a", session=model.session(), context=9)


def test_empty_prompts_are_refused(model: lfm_edge.Model) -> None:
    with pytest.raises(InvalidRequestError, match="prompt is empty"):
        model.generate("")
    with pytest.raises(InvalidRequestError, match="chat is empty"):
        model.chat([])


def test_an_option_that_does_not_exist_is_a_type_error(model: lfm_edge.Model) -> None:
    with pytest.raises(TypeError, match="temprature"):
        model.generate("a", temprature=1)  # type: ignore[call-arg]
