"""What goes wrong, as OpenAI's clients and Anthropic's read it."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ..errors import ContextFullError, InvalidRequestError, LfmError, TemplateError
from .engine import QueueFullError, StoppedError

__all__ = ["HungUpError", "error_body", "error_response", "register", "status_of"]

_LOG = logging.getLogger("lfm_edge.server")
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class HungUpError(Exception):
    """The client is gone, and nobody reads the answer."""


def status_of(error: Exception) -> tuple[int, str, str | None]:
    """An error's status, message and code."""
    match error:
        case QueueFullError():
            return 429, "too many requests wait already; try again later", "queue_full"
        case StoppedError():
            return 503, "the server stops", None
        case HungUpError():
            return 499, "the client hung up", None
        case ContextFullError():
            return 400, str(error), "context_length_exceeded"
        case InvalidRequestError() | TemplateError():
            return 400, str(error), None
    known = isinstance(error, LfmError)
    return 500, str(error) if known else "an error of the server; its log says more", None


def error_body(path: str, status: int, message: str, code: str | None = None) -> dict[str, Any]:
    """An error in the form of the API that was asked."""
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "api_error")
    if path.startswith("/v1/messages"):
        return {"type": "error", "error": {"type": kind, "message": message}}
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def error_response(path: str, status: int, message: str, code: str | None = None) -> Response:
    """The same as a response."""
    headers = {"Retry-After": "1"} if status in {429, 503} else None
    body = json.dumps(error_body(path, status, message, code))
    return Response(body, status, headers, media_type="application/json")


def register(app: FastAPI) -> None:
    """Makes all errors of an app come in these forms."""

    async def ours(request: Request, error: Exception) -> Response:
        status, message, code = status_of(error)
        if status == 500:
            _LOG.error("%s failed", request.url.path, exc_info=error)
        return error_response(request.url.path, status, message, code)

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = str(error.detail)
        if error.status_code == 404:
            message = f"there is no {request.method} {request.url.path}"
        elif message == HTTPStatus(error.status_code).phrase:
            message = f"{request.method} {request.url.path}: {message.lower()}"
        return error_response(request.url.path, error.status_code, message)

    async def of_form(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        problems = [
            f"{'.'.join(map(str, problem['loc'][1:])) or 'body'}: {problem['msg']}"
            for problem in error.errors()[:3]
        ]
        return error_response(request.url.path, 400, "; ".join(problems))

    for kind in (QueueFullError, StoppedError, HungUpError, LfmError, Exception):
        app.add_exception_handler(kind, ours)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_form)
