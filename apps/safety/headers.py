"""What a browser is told of every answer: what the page may load, and who may show it."""

from __future__ import annotations

from collections.abc import Mapping

from apps.safety.asgi import App, Message, Receive, Scope, Send

POLICY = {
    "default-src": "'self'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
"""Everything from this server, nothing from elsewhere; no frame of another page around it."""
NAME = b"content-security-policy"


def said(policy: Mapping[str, str]) -> bytes:
    """A policy by directive as the header's value."""
    return "; ".join(f"{name} {value}" for name, value in policy.items()).encode()


class SafeHeaders:
    """policy: a Content-Security-Policy by directive, `POLICY` or a looser one.

    What an answer says of itself stays.
    """

    def __init__(self, app: App, policy: Mapping[str, str] | None = None) -> None:
        self.app = app
        self.headers = [
            (NAME, said(policy or POLICY)),
            (b"x-content-type-options", b"nosniff"),
            (b"x-frame-options", b"DENY"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                there = {name.lower() for name, _ in own}
                usual = [header for header in self.headers if header[0] not in there]
                message = {**message, "headers": [*own, *usual]}
            await send(message)

        await self.app(scope, receive, told)
