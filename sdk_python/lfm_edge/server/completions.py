"""OpenAI's older `/v1/completions`: a text is continued."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field, StrictInt
from starlette.responses import JSONResponse, Response

from ..chat.events import End, Text
from ..errors import InvalidRequestError
from ..logprobs import TokenLogprob
from .chat_completions import form_of, usage_of
from .errors import error_body
from .limits import MAX_PROMPTS
from .requests import Asked, JsonObject, sampling
from .service import DONE, Service, data_frame, streamed, unless_hung_up

__all__ = ["router"]

PATH = "/v1/completions"


Texts = Annotated[list[str], Field(min_length=1, max_length=MAX_PROMPTS)]
Ids = Annotated[list[StrictInt], Field(min_length=1)]


class CompletionRequest(Asked):
    """The body of a request."""

    prompt: str | Texts | Ids | Annotated[list[Ids], Field(min_length=1, max_length=MAX_PROMPTS)]
    max_tokens: int | None = 16
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_PROMPTS)] = 1
    best_of: int | None = None
    echo: bool = False
    suffix: None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: JsonObject | None = None
    stream_options: JsonObject | None = None

    def prompts(self) -> list[str | list[int]]:
        """The prompt of each choice.

        Raises:
            InvalidRequestError: what is asked cannot be.
        """
        if self.best_of not in {None, self.n}:
            raise InvalidRequestError(f"best_of: got {self.best_of}, expected n, which is {self.n}")
        if self.echo and self.logprobs is not None:
            raise InvalidRequestError("echo: a prompt has no logprobs; ask for one of the two")
        given: list[str | list[int]]
        if isinstance(self.prompt, str) or isinstance(self.prompt[0], int):
            given = [self.prompt]
        else:
            given = list(self.prompt)
        if len(given) * self.n > MAX_PROMPTS:
            raise InvalidRequestError(
                f"n: got {len(given) * self.n} choices, expected at most {MAX_PROMPTS}"
            )
        return [prompt for prompt in given for _ in range(self.n)]


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
        prompts = body.prompts()
        ticket = service.complete(prompts, options)
        head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": service.name,
        }
        first = await unless_hung_up(request, ticket, anext(ticket))
        decode = service.model.tokenizer.decode
        echoed = [
            ("" if not body.echo else prompt if isinstance(prompt, str) else decode(prompt))
            for prompt in prompts
        ]
        made = _Made(body, echoed, first)
        if body.stream:
            frames = made.frames(ticket, head)
            return streamed(ticket, frames, lambda *e: data_frame(error_body(PATH, *e)) + DONE)
        choices = await unless_hung_up(request, ticket, made.choices(ticket))
        return JSONResponse({**head, "choices": choices, "usage": made.usage})

    return routes


def _reason(end: End) -> str:
    return "stop" if end.reason in {"eos", "stop"} else "length"


def _choice(
    index: int, text: str, reason: str | None, logprobs: list[TokenLogprob] | None
) -> JsonObject:
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
    return {"index": index, "text": text, "logprobs": found, "finish_reason": reason}


class _Made:
    """Choices while they are made, one after the other, and the tokens of all of them."""

    def __init__(
        self, asked: CompletionRequest, echoed: Sequence[str], first: tuple[int, int]
    ) -> None:
        self._asked, self._echoed = asked, echoed
        self.usage: JsonObject = {}
        self._prompt = first[1]  # tokens of the prompt that is being continued

    async def choices(self, items: AsyncIterator[tuple[int, Any]]) -> list[JsonObject]:
        """Each choice as a whole."""
        parts: dict[int, list[JsonObject]] = {}
        logprobs: dict[int, list[TokenLogprob]] = {}
        async for index, text, reason, found in self._parts(items):
            parts.setdefault(index, []).append({"text": text, "reason": reason})
            logprobs.setdefault(index, []).extend(found)
        return [
            _choice(
                index,
                "".join(part["text"] for part in own),
                own[-1]["reason"],
                None if self._asked.logprobs is None else logprobs[index],
            )
            for index, own in sorted(parts.items())
        ]

    async def frames(
        self, items: AsyncIterator[tuple[int, Any]], head: JsonObject
    ) -> AsyncIterator[str]:
        """The stream's events."""
        async for index, text, reason, found in self._parts(items):
            logprobs = None if self._asked.logprobs is None or reason else found
            yield data_frame({**head, "choices": [_choice(index, text, reason, logprobs)]})
        if (self._asked.stream_options or {}).get("include_usage"):
            yield data_frame({**head, "choices": [], "usage": self.usage})
        yield DONE

    async def _parts(
        self, items: AsyncIterator[tuple[int, Any]]
    ) -> AsyncIterator[tuple[int, str, str | None, list[TokenLogprob]]]:
        """Texts with their choice's index, and, with the last one, why it ended."""
        begun = set()
        async for index, item in items:
            if index not in begun and self._echoed[index]:
                yield index, self._echoed[index], None, []
            begun.add(index)
            if isinstance(item, int):
                self._prompt = item
                continue
            match item.event:
                case Text(text):
                    yield index, text, None, item.logprobs
                case End() as end:
                    self._count(index, end)
                    yield index, "", _reason(end), []

    def _count(self, index: int, end: End) -> None:
        """Adds a choice's tokens; those of a prompt with several choices count once."""
        usage = usage_of(end, self._prompt)
        if index % self._asked.n:  # the first choice has counted what was cached of the prompt, too
            usage["prompt_tokens"] = usage["prompt_tokens_details"]["cached_tokens"] = 0
            usage["total_tokens"] = end.generated
        self.usage = _sum(self.usage, usage)


def _sum(one: JsonObject, other: JsonObject) -> JsonObject:
    """Adds up numbers of the same names."""
    return {
        name: _sum(one.get(name, {}), more) if isinstance(more, dict) else one.get(name, 0) + more
        for name, more in other.items()
    }
