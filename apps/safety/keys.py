"""A key that every route asks for, whatever answers it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import secrets
from collections.abc import Collection

from apps.safety.asgi import SPOKEN, App, Receive, Scope, Send, header, refuse_unread
from apps.safety.guesses import Guesses
from steer.errors import SteerError


class Keys:
    """The keys that open a server, any of them, and how many wrong ones each address gave."""

    def __init__(self, keys: Collection[str], guesses: Guesses | None = None) -> None:
        """Raises `SteerError` for a key that is empty."""
        if not keys or any(not key.strip() for key in keys):
            raise SteerError("a key or password is empty; give one of a few characters at least")
        self._digests = [_digest(key) for key in keys]
        self.guesses = guesses or Guesses()

    def opened_by(self, key: str) -> bool:
        """In the same time for each key, so that nothing is learnt from it."""
        given = _digest(key)
        return sum(hmac.compare_digest(given, digest) for digest in self._digests) > 0

    def judge(self, address: str, key: str | None) -> tuple[int, str] | None:
        """None for a right key; else a status and a sentence.

        An address that has guessed too often waits, and its key is not looked at meanwhile.
        """
        if key is None:
            return 401, "this server asks for its key or password, and none was given"
        if pause := math.ceil(self.guesses.wait(address)):
            return 429, f"too many wrong keys: try again in {pause} s"
        if self.opened_by(key):
            self.guesses.right(address)
            return None
        self.guesses.wrong(address)
        return 401, "this is not the server's key or password"


class KeyCheck:
    """Answers who has the key: `Authorization: Bearer KEY`, or Basic with it as the password.

    `X-SECRET-KEY: KEY` is Neuronpedia's way to send it.

    free: paths that anyone may ask, such as `/health`.
    """

    def __init__(self, app: App, keys: Keys, free: Collection[str] = ()) -> None:
        self.app, self.keys, self.free = app, keys, frozenset(free)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in SPOKEN or scope["path"] in self.free:
            await self.app(scope, receive, send)
            return
        problem = self.keys.judge(address_of(scope), key_of(scope))
        if problem is None:
            await self.app(scope, receive, send)
        else:
            await refuse_unread(scope, receive, send, *problem, told(self.keys, scope, problem[0]))


def told(keys: Keys, scope: Scope, status: int) -> list[tuple[bytes, bytes]]:
    """What HTTP wants said with a refusal: how to give a key, or how long to wait."""
    if status == 429:
        pause = math.ceil(keys.guesses.wait(address_of(scope)))
        return [(b"retry-after", str(max(1, pause)).encode())]
    return [(b"www-authenticate", b'Bearer realm="steer"')]


def address_of(scope: Scope) -> str:
    """Who asks. Behind a tunnel all are one: they wait together."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def key_of(scope: Scope) -> str | None:
    """The key that a request carries, None without one."""
    kind, _, rest = (header(scope, b"authorization") or "").partition(" ")
    if kind.lower() == "bearer":
        return rest.strip().encode("latin-1").decode("utf-8", "replace")
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return header(scope, b"x-secret-key")


def new_key() -> str:
    return secrets.token_urlsafe(24)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
