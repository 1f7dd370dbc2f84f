"""Who is let in, before anything of a request is read: key, host, origin, size.

A page of any site that a browser on this machine shows can send requests to 127.0.0.1. So the
host that is asked for, and the origin that asks, must be ones that are known.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from apps.server.answer.errors import BadBodyError, body
from steer.errors import SteerError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOCAL = ("127.0.0.1", "localhost", "::1")
_OPEN = ("/health",)


@dataclass(frozen=True)
class Rules:
    """host: where the server listens. api_key: None only on this machine.

    hosts: further names that it is asked for by.
    most_bytes, body_seconds: of a body, and until its next part comes.
    Raises `SteerError` for an address that others reach, without a key.
    """

    host: str = "127.0.0.1"
    api_key: str | None = None
    hosts: tuple[str, ...] = ()
    most_bytes: int = 2**20
    body_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.host not in LOCAL and not self.api_key:
            raise SteerError(
                f"host {self.host} can be reached by others, so a key is needed: set "
                "STEER_API_KEY, or leave --host out"
            )

    @property
    def known(self) -> tuple[str, ...]:
        return (*LOCAL, self.host, *self.hosts)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and sentence for whoever is not let in."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        host, origin = (headers.get(name, b"").decode("latin-1") for name in (b"host", b"origin"))
        if _name(f"//{host}") not in self.known:
            return 421, f"host {host!r} is not this server's; allowed: {', '.join(self.known)}"
        if origin and _name(origin) not in self.known:
            return 403, f"origin {origin!r} may not ask this server"
        if self.api_key and scope["path"] not in _OPEN and not self._has_key(headers):
            return 401, "the API key is missing or wrong: send Authorization: Bearer KEY"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            return 400, "Content-Length is no number"
        if int(length) > self.most_bytes:
            return 413, self.too_large
        return None

    @property
    def too_large(self) -> str:
        return f"the body is larger than {self.most_bytes} bytes"

    def _has_key(self, headers: dict[bytes, bytes]) -> bool:
        given = headers.get(b"x-secret-key", b"")  # Neuronpedia's name for it
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            given = token.strip()
        return hmac.compare_digest(given, (self.api_key or "").encode())


class Guard:
    """An ASGI app that lets in what the rules let in."""

    def __init__(self, app: App, rules: Rules) -> None:
        self.app, self.rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if refused := self.rules.refusal(scope):
            return await _refuse(scope, send, *refused)
        taken, whole = 0, False

        async def limited() -> MutableMapping[str, Any]:
            nonlocal taken, whole
            message = await (receive() if whole else self._in_time(receive))
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > self.rules.most_bytes:
                raise BadBodyError(self.rules.too_large, 413)
            return message

        try:
            await self.app(scope, limited, send)
        except BadBodyError as error:
            await _refuse(scope, send, error.status, str(error))

    async def _in_time(self, receive: Receive) -> MutableMapping[str, Any]:
        """A part of a body, from a client that does not keep the connection for nothing."""
        try:
            async with asyncio.timeout(self.rules.body_seconds):
                return await receive()
        except TimeoutError:
            raise BadBodyError("the body did not come in time", 408) from None


async def _refuse(scope: Scope, send: Send, status: int, message: str) -> None:
    text = json.dumps(body(scope["path"], status, message, "refused")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _name(address: str) -> str | None:
    """The host of an address, without its port; None if it is none."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
