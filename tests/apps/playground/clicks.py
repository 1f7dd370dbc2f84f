"""What a browser would send, for tests without one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from apps.playground.handlers import Handlers
from apps.playground.state.setup import Row
from tests.apps.playground.test_state import form
from tests.support import tiny

SAMPLING = (8, 0.7, 1.1, 0)
SESSION: Any = SimpleNamespace(session_hash="me")
OTHER: Any = SimpleNamespace(session_hash="other")


def event(act: str, rows: tuple[Row, ...] = (), **data: Any) -> Any:
    return SimpleNamespace(_data={"act": act, "form": [form(row) for row in rows], **data})


def steered(do: Handlers, rows: tuple[Row, ...], prompt: str = tiny.PROMPT) -> list[Any]:
    return asyncio.run(drawn(asking(do, rows, prompt)))


async def drawn(frames: AsyncIterator[Any]) -> list[Any]:
    return [frame async for frame in frames]


def asking(
    do: Handlers,
    rows: tuple[Row, ...] = (),
    prompt: str = tiny.PROMPT,
    asked: int = 99,
    session: str = "me",
    most: int = SAMPLING[0],
) -> Any:
    """A click on Run."""
    edits = json.dumps([form(row) for row in rows])
    return do.steer(session, asked, edits, prompt, False, most, *SAMPLING[1:])
