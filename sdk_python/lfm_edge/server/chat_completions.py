"""OpenAI's `/v1/chat/completions`."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from ..chat.calls import InvalidToolCall, ToolCall
from ..chat.events import End, Reasoning, Text
from ..errors import InvalidRequestError
from ..logprobs import TokenLogprob
from .errors import error_body
from .limits import MAX_PROMPTS
from .requests import Asked, JsonObject, Messages, Tools, sampling, text_of
from .service import DONE, Question, Service, Whole, data_frame, streamed, unless_hung_up

__all__ = ["choice_of", "form_of", "message_of", "router", "usage_of"]

PATH = "/v1/chat/completions"


class ChatRequest(Asked):
    """The body of a request."""

    messages: Messages
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_PROMPTS)] = 1
    tools: Tools | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool = True
    response_format: JsonObject | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0
    stream_options: JsonObject | None = None
    chat_template_kwargs: JsonObject | None = None

    def question(self) -> Question:
        """What is asked."""
        limit = self.max_completion_tokens
        options = sampling(
            self,
            max_tokens=self.max_tokens if limit is None else limit,
            stop=self.stop,
            thinking_budget=self.thinking_budget,
            logprobs=self.top_logprobs if self.logprobs else None,
            schema=form_of(self.response_format),
        )
        choice, tools = choice_of(self.tool_choice, self.tools)
        return Question(
            [message_of(message, f"messages[{i}]") for i, message in enumerate(self.messages)],
            options,
            tools,
            choice,
            self.parallel_tool_calls,
            self.chat_template_kwargs,
        )


def router(service: Service) -> APIRouter:
    """The endpoint."""
    routes = APIRouter()

    @routes.post(PATH)
    async def chat(request: Request, body: ChatRequest) -> Response:
        question = body.question()
        ticket = service.ask_often(question, body.n)
        head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": service.name,
        }
        _, prompt = await unless_hung_up(request, ticket, anext(ticket))
        if body.stream:
            with_usage = bool((body.stream_options or {}).get("include_usage"))
            frames = _frames(ticket, head, prompt, body.logprobs, with_usage)
            return streamed(ticket, frames, lambda *e: data_frame(error_body(PATH, *e)) + DONE)
        wholes = await unless_hung_up(request, ticket, _wholes(ticket))
        return JSONResponse(_completion(wholes, head, prompt, body.logprobs))

    return routes


def form_of(format: JsonObject | None) -> Any:
    """The schema that a `response_format` stands for; None where it is free.

    Raises:
        InvalidRequestError: it is of another type.
    """
    kind = (format or {"type": "text"}).get("type")
    if kind == "json_object":
        return {"type": "object"}
    if kind == "json_schema" and format is not None:
        inner = format.get("json_schema", format)  # /v1/responses has it flat
        schema = inner.get("schema") if isinstance(inner, dict) else None
        if not isinstance(schema, dict | bool):
            raise InvalidRequestError("response_format: json_schema without a schema")
        return schema
    if kind != "text":
        raise InvalidRequestError(
            f"response_format: got type {kind!r}, expected text, json_object or json_schema"
        )
    return None


def _usage(ends: Sequence[End], prompt: int) -> JsonObject:
    """The tokens of all answers to one prompt, which counts once."""
    usage = usage_of(ends[0], prompt)
    for end in ends[1:]:
        usage["completion_tokens"] += end.generated
        usage["total_tokens"] += end.generated
        usage["completion_tokens_details"]["reasoning_tokens"] += end.usage.reasoning
    return usage


def usage_of(end: End, prompt: int) -> JsonObject:
    """The tokens of an answer."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": end.generated,
        "total_tokens": prompt + end.generated,
        "prompt_tokens_details": {"cached_tokens": end.reused},
        "completion_tokens_details": {"reasoning_tokens": end.usage.reasoning},
    }


def message_of(message: JsonObject, where: str) -> JsonObject:
    """A message as chat templates take it.

    Raises:
        InvalidRequestError: it has no role, or holds more than text.
    """
    role = message.get("role")
    if not isinstance(role, str):
        raise InvalidRequestError(f"{where}.role: expected a text such as 'user'")
    role = "system" if role == "developer" else role
    return {**message, "role": role, "content": text_of(message.get("content"), where)}


def choice_of(
    choice: str | JsonObject | None, tools: Sequence[JsonObject] | None
) -> tuple[str, Sequence[JsonObject] | None]:
    """A `tool_choice` as a `Question` has it, and the tools that it leaves.

    Raises:
        InvalidRequestError: it is malformed, or allows a tool that there is not.
    """
    if choice is None or choice in ("auto", "none", "required"):
        return str(choice or "auto"), tools
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return _allowed(choice.get("allowed_tools", choice), tools)  # /v1/responses has it flat
    name = _name(choice)
    if name is None:
        raise InvalidRequestError(
            "tool_choice: expected auto, none, required, "
            '{"type": "function", "function": {"name": ...}} or {"type": "allowed_tools", ...}'
        )
    return name, tools


def _allowed(
    choice: object, tools: Sequence[JsonObject] | None
) -> tuple[str, Sequence[JsonObject]]:
    """What `allowed_tools` stands for: the others are left out of the prompt."""
    listed = choice.get("tools") if isinstance(choice, dict) else None
    mode = choice.get("mode", "auto") if isinstance(choice, dict) else None
    if mode not in ("auto", "required") or not isinstance(listed, list):
        raise InvalidRequestError(
            "tool_choice: allowed_tools needs a mode, auto or required, and a list of tools"
        )
    names, known = [_name(tool) for tool in listed], [_name(tool) for tool in tools or ()]
    if unknown := [name for name in names if name is None or name not in known]:
        raise InvalidRequestError(f"tool_choice: there is no tool {unknown[0]!r}")
    return mode, [tool for tool in tools or () if _name(tool) in names]


def _name(tool: object) -> str | None:
    """The name of a function, in either form of OpenAI's; None where there is none."""
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def _reason(end: End, *, called: bool) -> str:
    if called and end.reason in {"eos", "stop"}:
        return "tool_calls"
    return "stop" if end.reason in {"eos", "stop"} else "length"


def _call(call: ToolCall) -> JsonObject:
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}


def _logprob(entry: TokenLogprob) -> JsonObject:
    return {
        "token": entry.bytes.decode(errors="replace"),
        "bytes": list(entry.bytes),
        "logprob": entry.logprob,
    }


def _logprobs(entries: list[TokenLogprob]) -> JsonObject:
    content = [{**_logprob(e), "top_logprobs": [_logprob(t) for t in e.top]} for e in entries]
    return {"content": content, "refusal": None}


async def _wholes(items: AsyncIterator[tuple[int, Any]]) -> list[Whole]:
    """The answers, which come one after the other."""
    wholes = [Whole()]
    async for index, item in items:
        if index == len(wholes):  # the tokens of its prompt, which are the first one's
            wholes.append(Whole())
        else:
            wholes[index].take(item)
    return wholes


def _completion(
    wholes: Sequence[Whole], head: JsonObject, prompt: int, logprobs: bool
) -> JsonObject:
    choices = [_choice(index, whole, logprobs) for index, whole in enumerate(wholes)]
    usage = _usage([whole.end for whole in wholes if whole.end is not None], prompt)
    return {**head, "object": "chat.completion", "choices": choices, "usage": usage}


def _choice(index: int, whole: Whole, logprobs: bool) -> JsonObject:
    assert whole.end is not None
    message: JsonObject = {"role": "assistant", "content": whole.text or None, "refusal": None}
    if not whole.calls:
        message["content"] = whole.text
    if whole.reasoning:
        message["reasoning_content"] = whole.reasoning
    if whole.calls:
        message["tool_calls"] = [_call(call) for call in whole.calls]
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(whole.logprobs) if logprobs else None,
        "finish_reason": _reason(whole.end, called=bool(whole.calls)),
    }


async def _frames(
    items: AsyncIterator[tuple[int, Any]],
    head: JsonObject,
    prompt: int,
    logprobs: bool,
    with_usage: bool,
) -> AsyncIterator[str]:
    head = {**head, "object": "chat.completion.chunk"}
    index, calls, ends = 0, 0, list[End]()

    def chunk(delta: JsonObject, reason: str | None = None, **more: Any) -> str:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason, **more}
        return data_frame({**head, "choices": [choice]})

    yield chunk({"role": "assistant", "content": ""})
    async for of, item in items:
        if of > index:  # the tokens of the next one's prompt
            index, calls = of, 0
            yield chunk({"role": "assistant", "content": ""})
            continue
        match item.event:
            case Text(text) | InvalidToolCall(text):
                found = _logprobs(item.logprobs) if logprobs else None
                yield chunk({"content": text}, logprobs=found)
            case Reasoning(text):
                yield chunk({"reasoning_content": text})
            case ToolCall() as call:
                yield chunk({"tool_calls": [{"index": calls, **_call(call)}]})
                calls += 1
            case End() as end:
                ends.append(end)
                yield chunk({}, _reason(end, called=calls > 0))
    if with_usage:
        yield data_frame({**head, "choices": [], "usage": _usage(ends, prompt)})
    yield DONE
