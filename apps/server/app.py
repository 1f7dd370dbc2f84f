"""The server as an ASGI app: routes, errors, and who is let in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from apps.safety.asgi import App
from apps.server.answer.errors import answer
from apps.server.guard import Rules
from apps.server.routes import chat, completions, concepts, look, neuronpedia
from apps.server.state import State

Route = Callable[[State, Request], Awaitable[Response]]

ROUTES: tuple[tuple[str, str, Route], ...] = (
    ("GET", "/v1/models", look.models),
    ("GET", "/v1/models/{name:path}", look.model),
    ("POST", "/v1/completions", completions.completions),
    ("POST", "/v1/chat/completions", chat.chat),
    ("POST", "/v1/tokenize", look.tokenize),
    ("POST", "/v1/detokenize", look.detokenize),
    ("POST", "/tokenize", look.tokenize),
    ("POST", "/detokenize", look.detokenize),
    ("GET", "/tokenizer_info", look.tokenizer_info),
    ("POST", "/v1/explain", look.explain),
    ("POST", "/v1/features", look.features),
    ("POST", "/v1/concept", concepts.concept),
    ("POST", "/v1/steer/completion", neuronpedia.completion),
    ("POST", "/v1/steer/completion-chat", neuronpedia.completion_chat),
    ("GET", "/health", look.health),
    ("GET", "/metrics", look.metrics),
)
"""Those without /v1 are where vLLM has them, and lm-eval looks for them."""


def make_app(state: State, rules: Rules, closing: float = 10.0) -> App:
    """closing: seconds that what is served has when the server is told to end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        state.engine.close(closing)

    app = FastAPI(title="steer", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    for method, path, route in ROUTES:
        app.add_api_route(path, _bound(state, path, route), methods=[method], response_model=None)
    handle: Any = answer
    app.add_exception_handler(HTTPException, handle)
    app.add_exception_handler(Exception, handle)
    return rules.around(app)


def _bound(state: State, path: str, route: Route) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            response = await route(state, request)
        except Exception as error:
            response = await answer(request, error)
        state.metrics.requests.labels(path, str(response.status_code)).inc()
        return response

    return endpoint
