"""The few shapes of ASGI that the middleware here speaks, and how it refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

_LINGER_SECONDS, _LINGER_BYTES = 2.0, 2**26
SPOKEN = ("http", "websocket")
"""The kinds of connection that are looked at; the rest is the server's own (its start and end)."""


def header_values(scope: Scope, name: bytes) -> list[str]:
    """All values of a header; Latin-1 as HTTP says, so that none fails to decode."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def header(scope: Scope, name: bytes) -> str | None:
    """The value of a header; None without one, or with several that contradict."""
    values = set(header_values(scope, name))
    return values.pop() if len(values) == 1 else None


async def refuse(
    scope: Scope, send: Send, status: int, sentence: str, headers: Iterable[Header] = ()
) -> None:
    """Answer `{"error": {"message": sentence}}`, as OpenAI's API does; close a websocket (1008)."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": sentence[:120]})
        return
    body = json.dumps({"error": {"message": sentence, "type": "refused", "code": status}}).encode()
    await answer(send, status, body, b"application/json", headers)


async def refuse_unread(
    scope: Scope,
    receive: Receive,
    send: Send,
    status: int,
    sentence: str,
    headers: Iterable[Header] = (),
) -> None:
    """`refuse` a request whose body nobody has read to its end.

    A connection that is closed with bytes unread is reset, and who still sends may never see the
    answer. So it is sent, and then some of what still comes is taken and thrown away.
    """

    async def last(message: Message) -> None:
        if message["type"] == "http.response.body":
            await send({**message, "more_body": True})
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_SECONDS):
                    await _throw_away(receive)
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    await refuse(scope, last, status, sentence, headers)


async def _throw_away(receive: Receive) -> None:
    left = _LINGER_BYTES
    while left > 0:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            return
        left -= len(message.get("body", b""))


async def answer(
    send: Send, status: int, body: bytes, kind: bytes, headers: Iterable[Header] = ()
) -> None:
    """A whole answer, which nobody keeps."""
    usual = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*usual, *headers]})
    await send({"type": "http.response.body", "body": body})
