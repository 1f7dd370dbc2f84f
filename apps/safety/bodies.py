"""Bodies that are too long are refused before anything parses them."""

from __future__ import annotations

import asyncio

from apps.safety.asgi import (
    App,
    Message,
    Receive,
    Scope,
    Send,
    header_values,
    refuse,
    refuse_unread,
)

_LAST = [(b"connection", b"close")]
_GONE: Message = {"type": "http.disconnect"}
"""For the app, the client of a body that was refused."""


class BodyLimit:
    """most: bytes. What announces more is not read, what sends more is, up to there.

    The body is handed on only once all of it is here, so what is too long reaches nobody.
    seconds: until its next part comes, so that nobody holds a connection for nothing.
    """

    def __init__(self, app: App, most: int, seconds: float = 30.0) -> None:
        self.app, self.most, self.seconds = app, most, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = [
            value for value in header_values(scope, b"content-length") if value.isdecimal()
        ]
        if any(int(length[:20]) > self.most for length in announced):
            await refuse_unread(scope, receive, send, 413, self.too_long, _LAST)
            return
        limited = _Limited(self, scope, receive, send)
        await self.app(scope, limited.receive, limited.send)

    @property
    def too_long(self) -> str:
        return f"the request's body is longer than {self.most:,} bytes, the most that is read"


class _Limited:
    """One request: its body is read when it is first asked for."""

    def __init__(self, limit: BodyLimit, scope: Scope, receive: Receive, send: Send) -> None:
        self.limit, self.scope = limit, scope
        self._receive, self._send = receive, send
        self.read = self.refused = self.answered = False

    async def receive(self) -> Message:
        if self.read:
            return await self._receive()
        self.read = True
        parts = bytearray()
        while True:
            try:
                async with asyncio.timeout(self.limit.seconds):
                    message = await self._receive()
            except TimeoutError:
                return await self._late()
            if message["type"] != "http.request":
                return message
            parts += message.get("body", b"")
            if len(parts) > self.limit.most:
                return await self._too_long()
            if not message.get("more_body"):
                return {"type": "http.request", "body": bytes(parts), "more_body": False}

    async def _late(self) -> Message:
        if not self.answered:
            self.refused = True
            sentence = "the request's body did not come in time"
            await refuse(self.scope, self._send, 408, sentence, _LAST)
        return _GONE

    async def _too_long(self) -> Message:
        if not self.answered:
            self.refused = True
            sentence = self.limit.too_long
            await refuse_unread(self.scope, self._receive, self._send, 413, sentence, _LAST)
        return _GONE

    async def send(self, message: Message) -> None:
        """What the app says of a body that it never got is not sent after the refusal."""
        self.answered = True
        if not self.refused:
            await self._send(message)
