"""A run's own way to the page: one request, answered with a line of JSON for every frame.

Gradio's events draw every component that they may change anew as pending, and the browser does
that with the processor time that the model needs for the first token.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from apps.playground.handlers import Handlers

PATH = "/steer/run"
_AT_ONCE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""For what may stand between: neither keep the answer nor collect its lines."""


class Asked(BaseModel):
    """A click on Run. session: Gradio's; asked: its number there; values: as `Handlers.setup`'s."""

    session: str
    asked: int
    values: list[Any]


def connect(server: FastAPI, do: Handlers) -> None:
    """Answer `PATH`. A page that is closed ends its request, and that the run."""

    async def run(asked: Asked) -> StreamingResponse:
        return StreamingResponse(
            _lines(do, asked), headers=_AT_ONCE, media_type="application/x-ndjson"
        )

    server.add_api_route(PATH, run, methods=["POST"])


async def _lines(do: Handlers, asked: Asked) -> AsyncGenerator[str]:
    async with aclosing(do.steer(asked.session, asked.asked, *asked.values)) as frames:
        async for frame in frames:
            yield json.dumps(frame) + "\n"
