"""A page's own scripts carry a number that is new in every answer; no other inline script runs."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

from apps.safety.asgi import App, Message, Receive, Scope, Send
from apps.safety.headers import NAME, said

_OPENS = re.compile(rb"<script(?=[\s>])")
_ENDS = b"</head>"


class OwnScripts:
    """Of an app whose page holds nothing that a visitor wrote: each script in it is its own.

    What a visitor wrote comes later, by other answers; a script or an `onerror=` in it has no
    number, and the browser refuses it.

    policy: a Content-Security-Policy by directive, to whose `script-src` the number is added.
    script: one more, which runs before the page's modules. path: the page's; nothing else of the
        app, such as files that were sent to it, is given a number.
    """

    def __init__(
        self, app: App, policy: Mapping[str, str], script: str = "", path: str = "/"
    ) -> None:
        self.app, self.policy, self.path = app, policy, path
        self.script = f"<script>{script}</script>".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("GET", self.path):
            await self.app(scope, receive, send)
            return
        plain = [header for header in scope["headers"] if header[0] != b"accept-encoding"]
        begun: Message | None = None
        body = bytearray()

        async def told(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start" and _is_page(message):
                begun = message
            elif begun is None:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    await self._send(begun, bytes(body), send)

        await self.app({**scope, "headers": plain}, receive, told)

    async def _send(self, begun: Message, body: bytes, send: Send) -> None:
        number = secrets.token_urlsafe(16)
        body = body.replace(_ENDS, self.script + _ENDS, 1)
        body = _OPENS.sub(f'<script nonce="{number}"'.encode(), body)
        source = f"{self.policy['script-src']} 'nonce-{number}'"
        own = [header for header in begun["headers"] if header[0] not in (b"content-length", NAME)]
        own += [(b"content-length", str(len(body)).encode())]
        own += [(NAME, said({**self.policy, "script-src": source}))]
        await send({**begun, "headers": own})
        await send({"type": "http.response.body", "body": body})


def _is_page(message: Message) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/html")
        for name, value in message["headers"]
    )
