"""Answers as server-sent events: nothing is sent before it is known that there will be a text."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from apps.server.answer.errors import told
from apps.server.answer.rows import Event, Rows, while_connected

DONE = "data: [DONE]\n\n"
_AT_ONCE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def event(data: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


async def streamed(
    request: Request,
    rows: Rows,
    lines: AsyncGenerator[str],
    headers: Mapping[str, str],
) -> Response:
    """The lines as they come. What is wrong before the first is raised, and so has a status."""
    async with while_connected(request, rows.cancel):
        first = await anext(lines)
    return StreamingResponse(
        _lines(request, rows, first, lines),
        media_type="text/event-stream",
        headers={**_AT_ONCE, **headers},
    )


async def _lines(
    request: Request, rows: Rows, first: str, rest: AsyncGenerator[str]
) -> AsyncIterator[str]:
    try:
        async with aclosing(rest):
            yield first
            async for line in rest:
                yield line
    except Exception as error:  # the status is sent already, so the stream says it
        yield event(told(request.url.path, error))
    finally:
        rows.cancel()


__all__ = ["DONE", "Event", "event", "streamed"]
