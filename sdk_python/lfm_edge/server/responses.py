"""OpenAI's `/v1/responses`, without what would need a memory between requests."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from ..chat.calls import InvalidToolCall, ToolCall
from ..chat.events import End, Reasoning, Text
from ..errors import InvalidRequestError
from .chat_completions import choice_of, form_of, message_of
from .limits import MAX_MESSAGES
from .requests import Asked, JsonObject, Tools, sampling, text_of
from .service import Piece, Question, Service, streamed, unless_hung_up

__all__ = ["router"]

PATH = "/v1/responses"


class ResponsesRequest(Asked):
    """The body of a request."""

    input: str | Annotated[list[JsonObject], Field(min_length=1, max_length=MAX_MESSAGES)]
    instructions: str | None = None
    max_output_tokens: int | None = None
    tools: Tools | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool = True
    text: JsonObject | None = None
    previous_response_id: None = None
    conversation: None = None
    background: Literal[False] = False

    def question(self) -> Question:
        """What is asked."""
        turns: list[JsonObject] = []
        if self.instructions:
            turns.append({"role": "system", "content": self.instructions})
        if isinstance(self.input, str):
            turns.append({"role": "user", "content": self.input})
        else:
            for index, item in enumerate(self.input):
                _add(turns, item, f"input[{index}]")
        options = sampling(
            self,
            max_tokens=self.max_output_tokens,
            thinking_budget=self.thinking_budget,
            schema=form_of((self.text or {}).get("format")),
        )
        choice, tools = choice_of(self.tool_choice, _tools(self.tools))
        return Question(turns, options, tools, choice, self.parallel_tool_calls)


def router(service: Service) -> APIRouter:
    """The endpoint."""
    routes = APIRouter()

    @routes.post(PATH)
    async def respond(request: Request, body: ResponsesRequest) -> Response:
        ticket = service.ask(body.question())
        made = _Made(service.name, await unless_hung_up(request, ticket, anext(ticket)), body)
        if body.stream:
            return streamed(ticket, made.frames(ticket), made.failed)

        async def finish() -> None:
            async for _ in made.frames(ticket):
                pass

        await unless_hung_up(request, ticket, finish())
        return JSONResponse(made.response)

    return routes


def _add(turns: list[JsonObject], item: JsonObject, where: str) -> None:
    """Adds an item of the input to the turns as chat templates take them."""
    match item.get("type", "message"):
        case "message":
            turns.append(message_of(item, where))
        case "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"type": "function", "id": item.get("call_id"), "function": function}
            if not (turns and turns[-1]["role"] == "assistant"):
                turns.append({"role": "assistant", "content": ""})
            turns[-1].setdefault("tool_calls", []).append(call)
        case "function_call_output":
            text = text_of(item.get("output"), where)
            turns.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": text})
        case "reasoning":
            thinking = text_of(item.get("content"), where)
            turns.append({"role": "assistant", "content": "", "thinking": thinking})
        case kind:
            raise InvalidRequestError(f"{where}: items of type {kind!r} are not supported")
    _join(turns)


def _join(turns: list[JsonObject]) -> None:
    """Makes one turn of reasoning and the answer that follows it."""
    if len(turns) > 1 and turns[-1]["role"] == turns[-2]["role"] == "assistant":
        before = turns[-2]
        if "thinking" in before and not before["content"] and "tool_calls" not in before:
            turns[-2:] = [{**before, **turns[-1]}]


def _tools(tools: list[JsonObject] | None) -> list[JsonObject] | None:
    for index, tool in enumerate(tools or ()):
        if tool.get("type") != "function":
            raise InvalidRequestError(f"tools[{index}]: only tools of type 'function' are known")
    return tools


class _Made:
    """A response while it is made, item by item."""

    def __init__(self, model: str, prompt: int, asked: ResponsesRequest) -> None:
        self.response: JsonObject = {
            "id": _identity("resp"),
            "object": "response",
            "created_at": int(time.time()),
            "status": "in_progress",
            "model": model,
            "output": [],
            "error": None,
            "incomplete_details": None,
            "instructions": asked.instructions,
            "metadata": {},
            "parallel_tool_calls": asked.parallel_tool_calls,
            "temperature": asked.temperature,
            "top_p": asked.top_p,
            "tool_choice": asked.tool_choice or "auto",
            "tools": asked.tools or [],
            "usage": None,
        }
        self._prompt, self._count = prompt, 0
        self._open: JsonObject | None = None

    async def frames(self, pieces: AsyncIterator[Piece]) -> AsyncIterator[str]:
        """The events of the stream; `response` is whole at their end."""
        yield self._frame("response.created", response=self.response)
        yield self._frame("response.in_progress", response=self.response)
        async for piece in pieces:
            match piece.event:
                case Text(text) | InvalidToolCall(text):
                    made = self._grow("message", text)
                case Reasoning(text):
                    made = self._grow("reasoning", text)
                case ToolCall() as call:
                    made = [*self._close(), *self._call(call)]
                case End() as end:
                    made = [*self._close(), self._finish(end)]
            for frame in made:
                yield frame

    def failed(self, status: int, message: str) -> str:
        """The event of an error."""
        return self._frame("error", code=str(status), message=message, param=None)

    def _frame(self, kind: str, **values: Any) -> str:
        value = {"type": kind, "sequence_number": self._count, **values}
        self._count += 1
        return f"event: {kind}\ndata: {json.dumps(value)}\n\n"

    def _place(self) -> JsonObject:
        output = self.response["output"]
        return {"item_id": output[-1]["id"], "output_index": len(output) - 1, "content_index": 0}

    def _grow(self, kind: str, text: str) -> list[str]:
        frames = []
        if self._open is None or self._open["type"] != kind:
            frames = [*self._close(), *self._start(kind)]
        assert self._open is not None
        self._open["content"][0]["text"] += text
        name = "output_text" if kind == "message" else "reasoning_text"
        more: dict[str, Any] = {"logprobs": []} if kind == "message" else {}
        return [*frames, self._frame(f"response.{name}.delta", **self._place(), delta=text, **more)]

    def _start(self, kind: str) -> list[str]:
        item: JsonObject = {"type": kind, "status": "in_progress", "content": []}
        if kind == "message":
            item |= {"id": _identity("msg"), "role": "assistant"}
            part: JsonObject = {"type": "output_text", "text": "", "annotations": []}
        else:
            item |= {"id": _identity("rs"), "summary": []}
            part = {"type": "reasoning_text", "text": ""}
        added = self._added(item)
        item["content"].append(part)
        self._open = item
        return [added, self._frame("response.content_part.added", **self._place(), part=part)]

    def _added(self, item: JsonObject) -> str:
        output = self.response["output"]
        output.append(item)
        index = len(output) - 1
        return self._frame("response.output_item.added", output_index=index, item=item)

    def _done(self, item: JsonObject) -> str:
        item["status"] = "completed"
        index = len(self.response["output"]) - 1
        return self._frame("response.output_item.done", output_index=index, item=item)

    def _close(self) -> list[str]:
        item, self._open = self._open, None
        if item is None:
            return []
        (part,) = item["content"]
        name = "output_text" if item["type"] == "message" else "reasoning_text"
        more: dict[str, Any] = {"logprobs": []} if name == "output_text" else {}
        return [
            self._frame(f"response.{name}.done", **self._place(), text=part["text"], **more),
            self._frame("response.content_part.done", **self._place(), part=part),
            self._done(item),
        ]

    def _call(self, call: ToolCall) -> list[str]:
        item: JsonObject = {
            "type": "function_call",
            "id": _identity("fc"),
            "call_id": _identity("call"),
            "name": call.name,
            "arguments": "",
            "status": "in_progress",
        }
        added, place = self._added(item), self._place()
        del place["content_index"]
        item["arguments"] = text = json.dumps(call.arguments)
        named = {"name": call.name, "arguments": text}
        return [
            added,
            self._frame("response.function_call_arguments.delta", **place, delta=text),
            self._frame("response.function_call_arguments.done", **place, **named),
            self._done(item),
        ]

    def _finish(self, end: End) -> str:
        whole = end.reason in {"eos", "stop"}
        self.response["status"] = "completed" if whole else "incomplete"
        if not whole:
            self.response["incomplete_details"] = {"reason": "max_output_tokens"}
        self.response["usage"] = {
            "input_tokens": self._prompt,
            "input_tokens_details": {"cached_tokens": end.reused, "cache_write_tokens": 0},
            "output_tokens": end.generated,
            "output_tokens_details": {"reasoning_tokens": end.usage.reasoning},
            "total_tokens": self._prompt + end.generated,
        }
        return self._frame(f"response.{self.response['status']}", response=self.response)


def _identity(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"
