"""What clients send is made into what templates expect."""

from __future__ import annotations

from typing import Any

import pytest
from lfm_edge import InvalidRequestError
from lfm_edge.chat.messages import normalize_messages
from lfm_edge.chat.template import ChatTemplate

from tests.support import DEMO_MODEL

CALL = {"type": "function", "id": "1", "function": {"name": "f", "arguments": {"a": 1}}}


def call(arguments: Any) -> dict[str, Any]:
    return {"id": "1", "function": {"name": "f", "arguments": arguments}}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"content": None, "tool_calls": None}, {}),
        (
            {"content": "a", "refusal": None, "name": None, "function_call": None, "audio": None},
            {"content": "a"},
        ),
        ({"content": "a", "tool_calls": []}, {"content": "a"}),
        ({"content": None, "tool_calls": [CALL]}, {"tool_calls": [CALL]}),
        ({"tool_calls": [call('{"a": [1, null]}')]}, {"tool_calls": [call({"a": [1, None]})]}),
        ({"tool_calls": [call("")]}, {"tool_calls": [call({})]}),
        ({"tool_calls": [call(" \n")]}, {"tool_calls": [call({})]}),
        ({"tool_calls": [call(None)]}, {"tool_calls": [call({})]}),
        (
            {"tool_calls": [{"name": "f", "arguments": "{}"}]},
            {"tool_calls": [{"name": "f", "arguments": {}}]},
        ),
        (
            {"tool_calls": [{"function": {"name": "f"}}]},
            {"tool_calls": [{"function": {"name": "f"}}]},
        ),
        (
            {"function_call": {"name": "f", "arguments": '{"a": 1}'}},
            {"function_call": {"name": "f", "arguments": {"a": 1}}},
        ),
        (
            {"content": [{"type": "text", "text": "a"}]},
            {"content": [{"type": "text", "text": "a"}]},
        ),
        (
            {"thinking": None, "reasoning": "r"},
            {"thinking": "r", "reasoning": "r", "reasoning_content": "r"},
        ),
    ],
)
def test_a_message_is_normalized(sent: dict[str, Any], expected: dict[str, Any]) -> None:
    assert normalize_messages([{"role": "assistant", **sent}]) == [
        {"role": "assistant", **expected}
    ]


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (
            {"tool_calls": [call("{")]},
            r"messages\[0\]\.tool_calls\[0\]\.function\.arguments: not JSON",
        ),
        ({"tool_calls": [CALL, call("[1]")]}, r"tool_calls\[1\]\.function\.arguments: got a list"),
        ({"tool_calls": [call("null")]}, "arguments: got a NoneType"),
        ({"tool_calls": [call(3)]}, "arguments: got a int"),
        ({"tool_calls": {"function": 1}}, r"messages\[0\]\.tool_calls: expected a list"),
        ({"tool_calls": ["f()"]}, r"tool_calls\[0\]: got a str"),
    ],
)
def test_what_no_template_could_show_is_refused(sent: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message) as caught:
        normalize_messages([{"role": "assistant", **sent}])
    assert "\n" not in str(caught.value)


def test_the_callers_messages_stay_as_they_are() -> None:
    sent = [{"role": "assistant", "content": None, "tool_calls": [call("{}")]}]
    normalize_messages(sent)
    assert sent == [{"role": "assistant", "content": None, "tool_calls": [call("{}")]}]


@pytest.mark.parametrize("content", [{}, {"content": None}], ids=["absent", "null"])
def test_an_openai_history_renders(content: dict[str, Any]) -> None:
    template = ChatTemplate((DEMO_MODEL / "chat_template.jinja").read_text(encoding="utf-8"))
    history = [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", **content, "refusal": None, "tool_calls": [call('{"a": "b"}')]},
        {"role": "tool", "content": "3", "tool_call_id": "1"},
        {"role": "assistant", "content": "Three.", "tool_calls": []},
    ]
    assert template.render(history, add_generation_prompt=False) == (
        "<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n<|tool_call_start|>[f(a='b')]<|tool_call_end|><|im_end|>\n"
        "<|im_start|>tool\n3<|im_end|>\n<|im_start|>assistant\nThree.<|im_end|>\n"
    )
