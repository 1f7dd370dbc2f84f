"""Errors as answers: which status, and the sentence that the library gives."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from apps.server.request.offer import UnknownModelError
from steer.errors import SilentEditError, SteerError
from steer.serving.ask import BusyError, ClosingError, GoneError, LateError

_log = logging.getLogger(__name__)

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (UnknownModelError, 404),
    (SilentEditError, 422),
    (ClosingError, 503),
    (BusyError, 429),
    (LateError, 504),
    (GoneError, 499),
    (ClientDisconnect, 499),
    (SteerError, 400),
)
RETRY_SECONDS = 1
_END = 1000
"""Characters of either end of a long sentence."""


def status_of(error: BaseException) -> int:
    """400 for what the caller can put right; 500 for what is a fault of ours."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def told(path: str, error: BaseException) -> dict[str, Any]:
    """The body of an error, in the form of whose protocol the path is."""
    status = status_of(error)
    name, message = type(error).__name__, _short(str(error))
    if status == 500:
        _log.error("%s", path, exc_info=error)
        message = f"a fault in the server: {name}"
    return body(path, status, message, name)


def _short(sentence: str) -> str:
    """Without the middle of what a request said at length: the ends say what is wrong."""
    if len(sentence) <= 2 * _END:
        return sentence
    return f"{sentence[:_END]} … {sentence[-_END:]}"


def body(path: str, status: int, message: str, code: str) -> dict[str, Any]:
    if path.startswith("/v1/steer/"):  # Neuronpedia's
        return {"error": message}
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


async def answer(request: Request, error: Exception) -> JSONResponse:
    """What FastAPI asks for what was raised."""
    if isinstance(error, HTTPException):
        message = f"{request.method} {request.url.path}: {error.detail}"
        return JSONResponse(
            body(request.url.path, error.status_code, message, "http"), error.status_code
        )
    status = status_of(error)
    headers = {"Retry-After": str(RETRY_SECONDS)} if isinstance(error, BusyError) else None
    return JSONResponse(told(request.url.path, error), status, headers)
