"""The server's application: who may ask, how much, and which endpoints there are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..model import Model
from ..prompt_cache import PromptCache
from . import chat_completions, completions, errors, messages, page, responses
from .engine import Engine
from .limits import MAX_BODY, BodyLimit
from .metrics import Metrics
from .security import Guard
from .service import Service
from .turns import taking_turns

__all__ = ["Settings", "create_app"]

_PATHS = frozenset(
    {"/", "/health", "/metrics", "/v1/models"}
    | {m.PATH for m in (chat_completions, completions, responses, messages)}
)
"""What is counted by its own name."""


@dataclass(frozen=True)
class Settings:
    """How a server works.

    Attributes:
        host: the address that it is bound to; on loopback no other name of it is accepted.
        api_key: what requests must show; None: nothing.
        origins: pages of other servers that may ask from a browser.
        context: tokens that a conversation may have; see `Model.session`.
        cache_bytes: bytes of state that sessions may have between requests.
        slots: requests that are answered side by side.
        waiting: requests that may wait besides.
        max_body: bytes of a request's body.
    """

    host: str = "127.0.0.1"
    api_key: str | None = None
    origins: Sequence[str] = ()
    context: int | None = None
    cache_bytes: int = 1 << 30
    slots: int = 4
    waiting: int = 64
    max_body: int = MAX_BODY


def create_app(model: Model, settings: Settings | None = None) -> FastAPI:
    """An application of one model, with all its endpoints.

    Its threads end with its lifespan. `app.state.service` is what answers.

    Args:
        model: what answers.
        settings: by default those of `Settings()`.

    Raises:
        InvalidRequestError: the context is out of range.
    """
    settings = settings or Settings()
    shared = Model(model.bundle, runtime=taking_turns(model.runtime))
    cache = PromptCache(shared, settings.cache_bytes, settings.context)
    engine = Engine(settings.slots, settings.waiting)
    metrics = Metrics(engine, cache)
    service = Service(shared, cache, engine, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await anyio.to_thread.run_sync(engine.close)

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.service = service
    errors.register(app)
    for endpoints in (chat_completions, completions, responses, messages):
        app.include_router(endpoints.router(service))
    _add_facts(app, service)
    page.mount(app)
    _add_gates(app, settings, metrics)
    return app


def _add_facts(app: FastAPI, service: Service) -> None:
    """What a server says of itself."""
    about: dict[str, Any] = {
        "id": service.name,
        "object": "model",
        "created": service.created,
        "owned_by": "lfm-edge",
        "max_model_len": service.cache.context,
    }

    @app.get("/v1/models")
    async def models() -> Response:
        return JSONResponse({"object": "list", "data": [about]})

    @app.get("/v1/models/{name:path}")
    async def one_model(name: str) -> Response:
        if name != service.name:
            return errors.error_response("/v1/models", 404, f"there is no model {name!r}")
        return JSONResponse(about)

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_gates(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    """What stands before the endpoints; the last one added is asked first."""
    app.add_middleware(BodyLimit, most=settings.max_body)
    app.add_middleware(
        Guard, host=settings.host, api_key=settings.api_key, origins=settings.origins
    )
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
        )
    app.add_middleware(_Counted, metrics=metrics, known=_PATHS)


class _Counted:
    """Counts responses by their status."""

    def __init__(self, app: ASGIApp, metrics: Metrics, known: frozenset[str]) -> None:
        self._app, self._metrics, self._known = app, metrics, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"] if scope["path"] in self._known else "other"
                self._metrics.responses.labels(path, message["status"]).inc()
            await send(message)

        await self._app(scope, receive, counted)
