"""Bodies that are too long are refused before anything parses them."""

from __future__ import annotations

from apps.safety.asgi import App, Message, Receive, Scope, Send, header_values, refuse


class BodyLimit:
    """most: bytes. What announces more is not read at all; what sends more, up to there.

    The body is handed on only once all of it is here, so what is too long reaches nobody.
    """

    def __init__(self, app: App, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = [each for each in header_values(scope, b"content-length") if each.isdigit()]
        if any(int(each[:20]) > self.most for each in announced):
            await self._refuse(scope, send)
            return
        limited = _Limited(self, scope, receive, send)
        await self.app(scope, limited.receive, limited.send)

    async def _refuse(self, scope: Scope, send: Send) -> None:
        sentence = f"the request's body is longer than {self.most:,} bytes, the most that is read"
        await refuse(scope, send, 413, sentence, [(b"connection", b"close")])


class _Limited:
    """One request: its body is read when it is first asked for."""

    def __init__(self, limit: BodyLimit, scope: Scope, receive: Receive, send: Send) -> None:
        self.limit, self.scope = limit, scope
        self._receive, self._send = receive, send
        self.read = self.refused = False

    async def receive(self) -> Message:
        if self.read:
            return await self._receive()
        self.read = True
        parts = bytearray()
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            parts += message.get("body", b"")
            if len(parts) > self.limit.most:
                self.refused = True
                await self.limit._refuse(self.scope, self._send)
                return {"type": "http.disconnect"}
            if not message.get("more_body"):
                return {"type": "http.request", "body": bytes(parts), "more_body": False}

    async def send(self, message: Message) -> None:
        """What the app says of a body that it never got is not sent after the refusal."""
        if not self.refused:
            await self._send(message)
