"""`/v1/responses` by the `openai` client, and `/v1/messages` as Anthropic's clients speak."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import lfm_edge
import openai
import pytest

from tests.sdk.server.conftest import Served

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"],
}
QUESTION: list[Any] = [{"role": "user", "content": "What is a function?"}]


@pytest.fixture
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


@pytest.fixture
def want(shipped: lfm_edge.Model) -> str:
    stream = shipped.events(QUESTION, max_tokens=16, temperature=0)
    return "".join(event.text for event in stream if isinstance(event, lfm_edge.chat.Text))


def frames(response: Any) -> list[Any]:
    lines = response.text.splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def test_a_response_is_the_models_own(client: openai.OpenAI, want: str) -> None:
    answer = client.responses.create(
        model="any", input="What is a function?", max_output_tokens=16, temperature=0
    )
    assert answer.output_text == want != ""
    assert answer.status == "incomplete"
    assert answer.usage is not None
    assert answer.usage.output_tokens == 16


def test_a_response_is_streamed(client: openai.OpenAI, want: str) -> None:
    with client.responses.stream(
        model="any", input=QUESTION, max_output_tokens=16, temperature=0
    ) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
    assert "".join(deltas) == want
    assert len(deltas) > 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_calls_and_reads_results(client: openai.OpenAI, stream: bool) -> None:
    options: dict[str, Any] = {
        "model": "any",
        "input": QUESTION,
        "tools": [{"type": "function", "name": "weather", "parameters": PARAMETERS}],
        "tool_choice": {"type": "function", "name": "weather"},
        "max_output_tokens": 100,
        "extra_body": {"thinking_budget": 0},
    }
    if stream:
        events = list(client.responses.create(stream=True, **options))
        assert [event.sequence_number for event in events] == list(range(len(events)))
        answer = events[-1].response
    else:
        answer = client.responses.create(**options)
    call = answer.output[-1]
    assert (call.type, call.name, answer.status) == ("function_call", "weather", "completed")
    jsonschema.validate(json.loads(call.arguments), PARAMETERS)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    said: Any = [*QUESTION, call.to_dict(), result]
    again = client.responses.create(model="any", input=said, max_output_tokens=4)
    assert again.usage is not None
    plain = client.responses.create(model="any", input=QUESTION, max_output_tokens=4)
    assert plain.usage is not None
    assert again.usage.input_tokens > plain.usage.input_tokens + 10


def test_a_message_is_the_models_own(served: Served, want: str) -> None:
    answer = served.post("/v1/messages", messages=QUESTION, max_tokens=16, temperature=0).json()
    assert answer["content"][-1] == {"type": "text", "text": want}
    assert answer["stop_reason"] == "max_tokens"
    assert answer["usage"]["output_tokens"] == 16


def test_a_message_is_streamed(served: Served, want: str) -> None:
    response = served.post(
        "/v1/messages", messages=QUESTION, max_tokens=16, temperature=0, stream=True
    )
    events = frames(response)
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    texts = [delta["text"] for delta in deltas if delta["type"] == "text_delta"]
    assert "".join(texts) == want


@pytest.mark.parametrize("stream", [False, True])
def test_a_message_calls_and_reads_results(served: Served, stream: bool) -> None:
    tools = [{"name": "weather", "description": "", "input_schema": PARAMETERS}]
    asked: dict[str, Any] = {
        "messages": QUESTION,
        "max_tokens": 100,
        "thinking": {"type": "enabled", "budget_tokens": 0},
        "tools": tools,
        "tool_choice": {"type": "tool", "name": "weather"},
    }
    response = served.post("/v1/messages", stream=stream, **asked)
    if stream:
        events = frames(response)
        start = [e["content_block"] for e in events if e["type"] == "content_block_start"][-1]
        delta = [e["delta"] for e in events if e["type"] == "content_block_delta"][-1]
        call = {**start, "input": json.loads(delta["partial_json"])}
        assert events[-2]["delta"]["stop_reason"] == "tool_use"
    else:
        call = response.json()["content"][-1]
        assert response.json()["stop_reason"] == "tool_use"
    assert (call["type"], call["name"]) == ("tool_use", "weather")
    jsonschema.validate(call["input"], PARAMETERS)
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "sunny"}
    said = [
        *QUESTION,
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result, {"type": "text", "text": "And?"}]},
    ]
    again = served.post("/v1/messages", messages=said, max_tokens=4, tools=tools, system="Short.")
    assert again.status_code == 200


def test_errors_of_messages_have_anthropics_form(served: Served) -> None:
    answer = served.post("/v1/messages", messages=QUESTION)
    assert answer.status_code == 400
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "max_tokens" in answer.json()["error"]["message"]
