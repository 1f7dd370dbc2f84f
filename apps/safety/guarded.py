"""All of the middleware around an app, in the order that is safe."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from apps.safety.asgi import App
from apps.safety.bodies import BodyLimit
from apps.safety.headers import SafeHeaders
from apps.safety.hosts import LOCAL, HostCheck
from apps.safety.keys import KeyCheck, Keys
from apps.safety.login import Login
from apps.safety.mistakes import Mistakes

MOST_BYTES = 2 * 2**20


def guarded(
    app: App,
    *,
    hosts: Collection[str] = LOCAL,
    origins: Collection[str] = (),
    keys: Collection[str] = (),
    people: bool = False,
    free: Collection[str] = (),
    most_bytes: int = MOST_BYTES,
    policy: Mapping[str, str] | None = None,
) -> App:
    """The app, which from now on answers only what it should.

    hosts, origins: what it was started for, as `HostCheck` reads them.
    keys: any of them opens it; without one everybody on these hosts may ask. people: also by a
        page with a password and a cookie. free: paths that need no key.
    most_bytes: of a request's body. policy: its Content-Security-Policy.

    Raises `SteerError` for an empty key.
    """
    app = Mistakes(app)
    if keys:
        known = Keys(keys)
        app = Login(app, known) if people else KeyCheck(app, known, free)
    return SafeHeaders(HostCheck(BodyLimit(app, most_bytes), hosts, origins), policy)
