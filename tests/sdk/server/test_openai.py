"""OpenAI's API, as the `openai` client and LangChain's `ChatOpenAI` use it."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import lfm_edge
import lfm_edge.chat
import openai
import pytest
from langchain_openai import ChatOpenAI

from tests.sdk.server.conftest import Served

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 12},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
QUESTION: list[Any] = [{"role": "user", "content": "What is a function?"}]


@pytest.fixture
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


def straight(model: lfm_edge.Model, messages: list[Any], **options: Any) -> str:
    return "".join(
        event.text
        for event in model.events(messages, **options)
        if isinstance(event, lfm_edge.chat.Text)
    )


def test_an_answer_is_the_models_own(client: openai.OpenAI, shipped: lfm_edge.Model) -> None:
    answer = client.chat.completions.create(
        model="any", messages=QUESTION, max_tokens=24, temperature=0
    )
    want = straight(shipped, QUESTION, max_tokens=24, temperature=0)
    *_, end = shipped.events(QUESTION, max_tokens=24, temperature=0)
    assert isinstance(end, lfm_edge.chat.End)
    thought = end.usage.reasoning
    assert 0 < thought < 24
    assert answer.choices[0].message.content == want != ""
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 24
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 24
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == thought


def test_streaming_gives_the_same_in_pieces(client: openai.OpenAI) -> None:
    options: dict[str, Any] = {
        "messages": QUESTION,
        "max_tokens": 24,
        "seed": 5,
        "temperature": 0.3,
    }
    whole = client.chat.completions.create(model="any", **options)
    chunks = list(
        client.chat.completions.create(
            model="any", stream=True, stream_options={"include_usage": True}, **options
        )
    )
    deltas = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(deltas) == whole.choices[0].message.content
    assert sum(map(bool, deltas)) > 3
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    reasons = [
        c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason
    ]
    assert reasons == ["length"]


def test_a_second_turn_counts_what_was_read_before(client: openai.OpenAI) -> None:
    system: Any = {"role": "system", "content": "Answer in short. " * 30}
    first = client.chat.completions.create(
        model="any", messages=[system, *QUESTION], max_tokens=8, temperature=0
    )
    said: Any = {"role": "assistant", "content": first.choices[0].message.content}
    more = [system, *QUESTION, said, {"role": "user", "content": "And a class?"}]
    second = client.chat.completions.create(model="any", messages=more, max_tokens=8)
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.prompt_tokens_details is not None
    assert (second.usage.prompt_tokens_details.cached_tokens or 0) >= first.usage.prompt_tokens - 1


def final(events: Any) -> Any:
    """What came in all. How long a sampled answer gets differs between instruction sets, and the
    package raises where `max_tokens` cut it short."""
    try:
        return events.get_final_completion()
    except openai.LengthFinishReasonError as cut:
        return cut.completion


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "function": {"name": "get_weather"}},
        {
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "required",
                "tools": [{"type": "function", "function": {"name": "get_weather"}}],
            },
        },
    ],
    ids=["required", "function", "allowed_tools"],
)
def test_a_forced_call_is_well_formed(client: openai.OpenAI, choice: Any, stream: bool) -> None:
    options: dict[str, Any] = {
        "model": "any",
        "messages": QUESTION,
        "tools": [WEATHER] if choice == "required" else [CLOCK, WEATHER],
        "tool_choice": choice,
        "max_tokens": 200,
        "temperature": 0.7,
        "seed": 3,
        "parallel_tool_calls": False,
    }
    if stream:
        with client.chat.completions.stream(
            **{k: v for k, v in options.items() if k != "parallel_tool_calls"}
        ) as events:
            choice = final(events).choices[0]
    else:
        choice = client.chat.completions.create(**options).choices[0]
    # In the stream more calls may follow, until `max_tokens`.
    assert choice.finish_reason in ({"tool_calls", "length"} if stream else {"tool_calls"})
    call = choice.message.tool_calls[0]
    assert call.function.name == "get_weather"
    jsonschema.validate(
        json.loads(call.function.arguments),
        WEATHER["function"]["parameters"],
    )


def test_tools_that_are_not_allowed_are_left_out_of_the_prompt(client: openai.OpenAI) -> None:
    """As in OpenAI's two forms, of which `/v1/responses` has the flat one."""
    both: list[Any] = [WEATHER, CLOCK]
    flat: list[Any] = [{"type": "function", **tool["function"]} for tool in both]
    asked: Any = {"model": "any", "temperature": 0}
    chat: Any = {**asked, "messages": QUESTION, "max_tokens": 1}
    inner = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "clock"}}]}
    choice: Any = {"type": "allowed_tools", "allowed_tools": inner}
    alone = client.chat.completions.create(**chat, tools=both[1:]).usage
    held = client.chat.completions.create(**chat, tools=both, tool_choice=choice).usage
    assert alone is not None
    assert held is not None
    assert held.prompt_tokens == alone.prompt_tokens
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"name": "clock"}]}
    said: Any = {**asked, "input": "What is a function?", "max_output_tokens": 16}
    by_itself = client.responses.create(**said, tools=flat[1:]).usage
    response = client.responses.create(**said, tools=flat, tool_choice=choice).usage
    assert by_itself is not None
    assert response is not None
    assert response.input_tokens == by_itself.input_tokens


def test_results_of_tools_are_read(client: openai.OpenAI) -> None:
    messages: list[Any] = [
        *QUESTION,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city": "Rome", "days": 1}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "sunny <|im_end|>"},
    ]
    answer = client.chat.completions.create(
        model="any",
        messages=messages,
        tools=[WEATHER],
        max_tokens=4,
    )
    assert answer.choices[0].message.role == "assistant"


def test_a_json_schema_is_kept(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["n"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model="any",
        messages=QUESTION,
        max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
    )
    jsonschema.validate(json.loads(answer.choices[0].message.content or ""), schema)


def test_logprobs_are_those_of_the_text(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="any", messages=QUESTION, max_tokens=6, temperature=0, logprobs=True, top_logprobs=2
    ).choices[0]
    assert answer.logprobs is not None
    assert answer.logprobs.content is not None
    spelled = b"".join(bytes(entry.bytes or []) for entry in answer.logprobs.content)
    assert spelled.decode() == answer.message.content
    for entry in answer.logprobs.content:
        assert len(entry.top_logprobs) == 2
        assert entry.top_logprobs[0].logprob >= entry.logprob


def test_completions_continue_a_text(client: openai.OpenAI, shipped: lfm_edge.Model) -> None:
    prompt = "def area(radius):"
    options: dict[str, Any] = {"max_tokens": 12, "temperature": 0}
    want = "".join(shipped.generate(prompt, **options))
    assert client.completions.create(model="any", prompt=prompt, **options).choices[0].text == want
    pieces = client.completions.create(model="any", prompt=prompt, stream=True, **options)
    assert "".join(piece.choices[0].text for piece in pieces) == want


def test_what_is_cached_of_a_prompt_counts_once_however_many_choices(served: Served) -> None:
    body = {"prompt": "def area(radius): return 3 * radius\n" * 12, "n": 3, "max_tokens": 2}
    for _ in range(2):  # the second time everything is in the cache
        usage = served.post("/v1/completions", **body).json()["usage"]
    assert 0 < usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_models_are_listed(client: openai.OpenAI, served: Served) -> None:
    (model,) = client.models.list().data
    assert model.id == served.service.name == client.models.retrieve(model.id).id
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("another")


def test_langchain_talks_and_calls(served: Served) -> None:
    options: Any = {"api_key": "none", "max_tokens": 200}
    chat = ChatOpenAI(base_url=f"{served.url}/v1", model="any", temperature=0, **options)
    assert chat.invoke("What is a function?").content
    assert "".join(str(piece.content) for piece in chat.stream("What is a function?"))
    bound = chat.bind_tools([WEATHER], tool_choice="get_weather")
    (call, *_) = bound.invoke("The weather in Rome?").tool_calls
    assert call["name"] == "get_weather"
    jsonschema.validate(call["args"], WEATHER["function"]["parameters"])


@pytest.mark.parametrize("stream", [False, True])
def test_several_answers_are_each_as_it_would_be_alone(
    client: openai.OpenAI, shipped: lfm_edge.Model, stream: bool
) -> None:
    options: dict[str, Any] = {"max_tokens": 24, "temperature": 1}
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    answer: Any = client.chat.completions.create(
        model="any", messages=QUESTION, seed=7, n=3, stream=stream, **options, **more
    )
    texts, reasons, usage = dict[int, str](), dict[int, Any](), None
    for part in answer if stream else [answer]:
        usage = part.usage
        for choice in part.choices:
            said = choice.delta if stream else choice.message
            texts[choice.index] = texts.get(choice.index, "") + (said.content or "")
            reasons[choice.index] = choice.finish_reason
    ends = [list(shipped.events(QUESTION, seed=7 + i, **options))[-1] for i in range(3)]
    assert texts == {i: straight(shipped, QUESTION, seed=7 + i, **options) for i in range(3)}
    assert len(set(texts.values())) > 1
    assert set(reasons.values()) <= {"length", "stop"}
    assert usage is not None
    generated = [end.generated for end in ends if isinstance(end, lfm_edge.chat.End)]
    assert usage.completion_tokens == sum(generated)
    alone = client.chat.completions.create(model="any", messages=QUESTION, **options).usage
    assert alone is not None
    assert usage.prompt_tokens == alone.prompt_tokens
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_each_of_several_answers_has_its_calls(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="any", messages=QUESTION, tools=[WEATHER], tool_choice="required",
        max_tokens=200, temperature=0.7, seed=3, n=2,
    ) as events:  # fmt: skip
        choices = final(events).choices
    assert [choice.index for choice in choices] == [0, 1]
    for choice in choices:
        calls = choice.message.tool_calls or []
        assert calls or choice.finish_reason == "length"
        assert {call.function.name for call in calls} <= {"get_weather"}


@pytest.mark.parametrize("stream", [False, True])
def test_several_prompts_are_continued_each_as_it_would_be_alone(
    client: openai.OpenAI, shipped: lfm_edge.Model, stream: bool
) -> None:
    ids = shipped.tokenizer.encode("import")
    options: dict[str, Any] = {"max_tokens": 6, "temperature": 1, "n": 2}
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    prompts: list[tuple[Any, list[Any]]] = [
        (["def f", "The"], ["def f", "The"]),
        (ids, [ids]),
        ([ids, ids[:1]], [ids, ids[:1]]),
    ]
    for given, each in prompts:
        answer: Any = client.completions.create(
            model="any", prompt=given, seed=7, echo=True, stream=stream, **options, **more
        )
        texts, reasons, usage = dict[int, str](), dict[int, Any](), None
        for part in answer if stream else [answer]:
            usage = part.usage
            for choice in part.choices:
                texts[choice.index] = texts.get(choice.index, "") + choice.text
                reasons[choice.index] = choice.finish_reason
        want, read = {}, 0
        for index, prompt in enumerate(p for p in each for _ in range(2)):
            alone = shipped.generate(prompt, max_tokens=6, temperature=1, seed=7 + index)
            text = prompt if isinstance(prompt, str) else shipped.tokenizer.decode(prompt)
            want[index] = text + "".join(alone)
            read += alone.prompt_tokens if index % 2 == 0 else 0
        assert texts == want
        assert set(reasons.values()) <= {"length", "stop"}
        assert usage is not None
        assert usage.prompt_tokens == read
        assert usage.completion_tokens <= 6 * len(want)
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": ["a", 5]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": [-1]}, "token id -1"),
        ({"prompt": [5, 2**70]}, "token ids"),
        ({"prompt": ["a", ""]}, "empty"),
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"prompt": ["a"] * 65, "n": 2}, "130 choices"),
        ({"n": 0}, "n: "),
        ({"best_of": 3}, "best_of"),
        ({"echo": True, "logprobs": 1}, "echo"),
    ],
)
def test_prompts_that_are_none(served: Served, asked: dict[str, Any], said: str) -> None:
    answer = served.post("/v1/completions", **{"prompt": "a", "max_tokens": 1, **asked})
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_an_answer_that_refused_can_be_given_back(client: openai.OpenAI) -> None:
    refused: Any = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    answered: Any = {"role": "assistant", "content": "No."}
    one, other = (
        client.chat.completions.create(
            model="any", messages=[*QUESTION, said, *QUESTION], max_tokens=1
        )
        for said in (refused, answered)
    )
    assert one.usage is not None
    assert other.usage is not None
    assert one.usage.prompt_tokens == other.usage.prompt_tokens
