"""Anthropic's `/v1/messages`, as far as agents' clients need it."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from ..chat.calls import InvalidToolCall, ToolCall
from ..chat.events import End, Reasoning, Text
from ..errors import InvalidRequestError
from .errors import error_body
from .requests import Asked, JsonObject, Messages, Tools, sampling, text_of
from .service import Piece, Question, Service, Whole, streamed, unless_hung_up

__all__ = ["router"]

PATH = "/v1/messages"
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


class MessagesRequest(Asked):
    """The body of a request."""

    messages: Messages
    max_tokens: Annotated[int, Field(ge=1)]
    system: str | list[JsonObject] | None = None
    stop_sequences: Annotated[list[str], Field(max_length=16)] | None = None
    tools: Tools | None = None
    tool_choice: JsonObject | None = None
    thinking: JsonObject | None = None

    def question(self) -> Question:
        """What is asked."""
        system = text_of(self.system, "system")
        turns: list[JsonObject] = [{"role": "system", "content": system}] if system else []
        for index, message in enumerate(self.messages):
            turns += _turns(message, f"messages[{index}]")
        choice = self.tool_choice or {"type": "auto"}
        kind = choice.get("type")
        name = choice.get("name") if kind == "tool" else _CHOICES.get(str(kind))
        if not isinstance(name, str):
            raise InvalidRequestError("tool_choice: expected a type of auto, any, tool or none")
        thinking = self.thinking or {}
        budget = thinking.get("budget_tokens") if thinking.get("type") == "enabled" else None
        budget = self.thinking_budget if budget is None else budget
        if budget is not None and not (isinstance(budget, int) and budget >= 0):
            raise InvalidRequestError("thinking.budget_tokens: expected a number of 0 or more")
        options = sampling(
            self, max_tokens=self.max_tokens, stop=self.stop_sequences, thinking_budget=budget
        )
        parallel = not choice.get("disable_parallel_tool_use", False)
        return Question(turns, options, _tools(self.tools), name, parallel)


def router(service: Service) -> APIRouter:
    """The endpoint."""
    routes = APIRouter()

    @routes.post(PATH)
    async def messages(request: Request, body: MessagesRequest) -> Response:
        ticket = service.ask(body.question())
        head = {
            "id": f"msg_{secrets.token_hex(12)}",
            "type": "message",
            "role": "assistant",
            "model": service.name,
        }
        prompt = await unless_hung_up(request, ticket, anext(ticket))
        if body.stream:
            frames = _frames(ticket, head, prompt)
            return streamed(ticket, frames, lambda *e: _frame(error_body(PATH, *e)))
        whole = await unless_hung_up(request, ticket, Whole.of(ticket))
        return JSONResponse(
            {**head, **_ending(whole.end, prompt, called=bool(whole.calls))}
            | {"content": _blocks(whole)}
        )

    return routes


def _turns(message: JsonObject, where: str) -> list[JsonObject]:
    """A message as chat templates take it: results of tools are turns of their own."""
    role, content = message.get("role"), message.get("content")
    if role not in {"user", "assistant"}:
        raise InvalidRequestError(f"{where}.role: expected 'user' or 'assistant'")
    if not isinstance(content, list):
        return [{"role": role, "content": text_of(content, where)}]
    results, calls, texts, thinking = [], [], [], ""
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        match kind:
            case "tool_result":
                text = text_of(part.get("content"), where)
                identity = str(part.get("tool_use_id", ""))
                results.append({"role": "tool", "tool_call_id": identity, "content": text})
            case "tool_use":
                function = {"name": part.get("name"), "arguments": part.get("input") or {}}
                calls.append({"type": "function", "id": part.get("id"), "function": function})
            case "thinking":
                thinking += str(part.get("thinking", ""))
            case "redacted_thinking":
                pass
            case _:
                texts.append(text_of([part], where))
    own: JsonObject = {"role": role, "content": "".join(texts)}
    if calls:
        own["tool_calls"] = calls
    if thinking:
        own["thinking"] = thinking
    return [*results, own] if texts or calls or thinking or not results else results


def _tools(tools: list[JsonObject] | None) -> list[JsonObject] | None:
    if tools is None:
        return None
    for index, tool in enumerate(tools):
        if "input_schema" not in tool:
            raise InvalidRequestError(f"tools[{index}]: expected a name and an input_schema")
    return [
        {
            "type": "function",
            "function": {
                "name": tool.get("name"),
                "description": tool.get("description"),
                "parameters": tool["input_schema"],
            },
        }
        for tool in tools
    ]


def _ending(end: End | None, prompt: int, *, called: bool) -> JsonObject:
    assert end is not None
    reason = {"eos": "end_turn", "stop": "stop_sequence"}.get(end.reason, "max_tokens")
    if called and reason != "max_tokens":
        reason = "tool_use"
    usage = {
        "input_tokens": prompt - end.reused,
        "cache_read_input_tokens": end.reused,
        "cache_creation_input_tokens": 0,
        "output_tokens": end.generated,
    }
    return {"stop_reason": reason, "stop_sequence": None, "usage": usage}


def _use(call: ToolCall) -> JsonObject:
    identity = f"toolu_{secrets.token_hex(12)}"
    return {"type": "tool_use", "id": identity, "name": call.name, "input": call.arguments}


def _blocks(whole: Whole) -> list[JsonObject]:
    blocks: list[JsonObject] = []
    if whole.reasoning:
        blocks.append({"type": "thinking", "thinking": whole.reasoning, "signature": ""})
    if whole.text:
        blocks.append({"type": "text", "text": whole.text})
    return blocks + [_use(call) for call in whole.calls]


def _frame(value: JsonObject) -> str:
    return f"event: {value['type']}\ndata: {json.dumps(value)}\n\n"


async def _frames(
    pieces: AsyncIterator[Piece], head: JsonObject, prompt: int
) -> AsyncIterator[str]:
    usage = {"input_tokens": prompt, "output_tokens": 0}
    started = {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    yield _frame({"type": "message_start", "message": started})
    blocks = _Blocks()
    called = False
    async for piece in pieces:
        match piece.event:
            case Text(text) | InvalidToolCall(text):
                for frame in blocks.grow("text", text):
                    yield frame
            case Reasoning(text):
                for frame in blocks.grow("thinking", text):
                    yield frame
            case ToolCall() as call:
                called = True
                for frame in blocks.add(call):
                    yield frame
            case End() as end:
                for frame in blocks.close():
                    yield frame
                ending = _ending(end, prompt, called=called)
                used = ending.pop("usage")
                yield _frame({"type": "message_delta", "delta": ending, "usage": used})
                yield _frame({"type": "message_stop"})


class _Blocks:
    """The frames of a stream's content blocks, of which one is open at a time."""

    def __init__(self) -> None:
        self._index, self._open = -1, ""

    def grow(self, kind: str, text: str) -> list[str]:
        frames = []
        if self._open != kind:
            empty: JsonObject = {"type": kind, kind: ""}
            if kind == "thinking":
                empty["signature"] = ""
            frames = [*self.close(), self._start(kind, empty)]
        return [*frames, self._delta({"type": f"{kind}_delta", kind: text})]

    def add(self, call: ToolCall) -> list[str]:
        whole = json.dumps(call.arguments)
        start = self.close()
        start.append(self._start("tool_use", {**_use(call), "input": {}}))
        return [*start, self._delta({"type": "input_json_delta", "partial_json": whole})]

    def close(self) -> list[str]:
        if not self._open:
            return []
        self._open = ""
        return [_frame({"type": "content_block_stop", "index": self._index})]

    def _start(self, kind: str, block: JsonObject) -> str:
        self._index, self._open = self._index + 1, kind
        value: Any = {"index": self._index, "content_block": block}
        return _frame({"type": "content_block_start", **value})

    def _delta(self, delta: JsonObject) -> str:
        return _frame({"type": "content_block_delta", "index": self._index, "delta": delta})
