"""Only what was meant for this server is answered: by Host, and by Origin where there is one.

A page elsewhere can let its own name point here (DNS rebinding): its requests then look like those
of this server's pages, and their answers can be read. What it can't do is to send another Host.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from apps.safety.asgi import SPOKEN, App, Receive, Scope, Send, header, refuse_unread

LOCAL = ("127.0.0.1", "localhost", "::1")


class HostCheck:
    """hosts: names without a port; `.example.org` is every name under it.

    A browser's Origin must be the Host that was asked, or one of `origins` (`https://a.b:8000`).
    """

    def __init__(self, app: App, hosts: Collection[str], origins: Collection[str] = ()) -> None:
        self.app = app
        self.names = frozenset(host.lower() for host in hosts if not host.startswith("."))
        self.suffixes = tuple(host.lower() for host in hosts if host.startswith("."))
        self.origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in SPOKEN and (problem := self._problem(scope)):
            await refuse_unread(scope, receive, send, *problem)
        else:
            await self.app(scope, receive, send)

    def _problem(self, scope: Scope) -> tuple[int, str] | None:
        """A status and a sentence for what is not answered."""
        host = (header(scope, b"host") or "").lower()
        if not self._ours(host):
            known = ", ".join(sorted({*self.names, *(f"*{suffix}" for suffix in self.suffixes)}))
            return 421, f"this server is not {host[:200]!r}; it was started for {known}"
        if any(key == b"origin" for key, _ in scope["headers"]):
            origin = (header(scope, b"origin") or "").lower()
            if _netloc(origin) != host and origin not in self.origins:
                return 403, f"pages of {origin[:200]!r} may not ask this server"
        elif _of_another_site(scope):
            return 403, "pages of other sites may not ask this server"
        return None

    def _ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name = parts.hostname
        except ValueError:
            return False
        if parts.netloc != host or "@" in host:
            return False
        return bool(name) and (name in self.names or str(name).endswith(self.suffixes or ("\0",)))


def _netloc(origin: str) -> str | None:
    """The host and port of an origin."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _of_another_site(scope: Scope) -> bool:
    """A browser says so of pictures, scripts and forms; links may lead here from anywhere."""
    site, mode = header(scope, b"sec-fetch-site"), header(scope, b"sec-fetch-mode")
    return site in ("cross-site", "same-site") and (
        mode != "navigate" or scope.get("method") != "GET"
    )
