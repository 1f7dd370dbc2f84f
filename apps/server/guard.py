"""Who is let in: the address where the server listens decides what is asked of a request."""

from __future__ import annotations

from dataclasses import dataclass

from apps.safety.asgi import App
from apps.safety.bodies import BodyLimit
from apps.safety.headers import SafeHeaders
from apps.safety.hosts import LOCAL, HostCheck
from apps.safety.keys import KeyCheck, Keys
from steer.errors import SteerError

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

    def around(self, app: App) -> App:
        """The app, which from now on answers only whom these rules let in."""
        if self.api_key:
            app = KeyCheck(app, Keys([self.api_key]), _OPEN)
        limited = BodyLimit(app, self.most_bytes, self.body_seconds)
        return SafeHeaders(HostCheck(limited, (*LOCAL, self.host, *self.hosts)))
