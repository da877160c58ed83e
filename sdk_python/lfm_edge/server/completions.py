"""OpenAI's older `/v1/completions`: a text is continued."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from ..chat.events import End, Text
from ..logprobs import TokenLogprob
from .chat_completions import form_of, usage_of
from .errors import error_body
from .requests import Asked, JsonObject, sampling
from .service import DONE, Piece, Service, Whole, data_frame, streamed, unless_hung_up

__all__ = ["router"]

PATH = "/v1/completions"


class CompletionRequest(Asked):
    """The body of a request."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    max_tokens: int | None = 16
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    n: Literal[1] = 1
    best_of: Literal[1] = 1
    echo: Literal[False] = False
    suffix: None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: JsonObject | None = None
    stream_options: JsonObject | None = None


def router(service: Service) -> APIRouter:
    """The endpoint."""
    routes = APIRouter()

    @routes.post(PATH)
    async def complete(request: Request, body: CompletionRequest) -> Response:
        options = sampling(
            body,
            max_tokens=body.max_tokens,
            stop=body.stop,
            logprobs=body.logprobs,
            schema=form_of(body.response_format),
        )
        prompt = body.prompt if isinstance(body.prompt, str) else body.prompt[0]
        ticket = service.complete(prompt, options)
        head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": service.name,
        }
        tokens = await unless_hung_up(request, ticket, anext(ticket))
        with_logprobs = body.logprobs is not None
        if body.stream:
            with_usage = bool((body.stream_options or {}).get("include_usage"))
            frames = _frames(ticket, head, tokens, with_logprobs, with_usage)
            return streamed(ticket, frames, lambda *e: data_frame(error_body(PATH, *e)) + DONE)
        whole = await unless_hung_up(request, ticket, Whole.of(ticket))
        choice = _choice(whole.text, _reason(whole.end), whole.logprobs if with_logprobs else None)
        return JSONResponse({**head, "choices": [choice], "usage": usage_of(whole.end, tokens)})

    return routes


def _reason(end: End) -> str:
    return "stop" if end.reason in {"eos", "stop"} else "length"


def _choice(text: str, reason: str | None, logprobs: list[TokenLogprob] | None) -> JsonObject:
    found = None
    if logprobs is not None:
        spelled = [entry.bytes.decode(errors="replace") for entry in logprobs]
        found = {
            "tokens": spelled,
            "token_logprobs": [entry.logprob for entry in logprobs],
            "top_logprobs": [
                {top.bytes.decode(errors="replace"): top.logprob for top in entry.top}
                for entry in logprobs
            ],
            "text_offset": [len("".join(spelled[:i])) for i in range(len(spelled))],
        }
    return {"index": 0, "text": text, "logprobs": found, "finish_reason": reason}


async def _frames(
    pieces: AsyncIterator[Piece],
    head: JsonObject,
    prompt: int,
    logprobs: bool,
    with_usage: bool,
) -> AsyncIterator[str]:
    async for piece in pieces:
        match piece.event:
            case Text(text):
                found = piece.logprobs if logprobs else None
                yield data_frame({**head, "choices": [_choice(text, None, found)]})
            case End() as end:
                yield data_frame({**head, "choices": [_choice("", _reason(end), None)]})
                if with_usage:
                    yield data_frame({**head, "choices": [], "usage": usage_of(end, prompt)})
    yield DONE
