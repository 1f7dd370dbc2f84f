"""The key for people: a page that asks for the password once, and a cookie that remembers it."""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from apps.safety.asgi import App, Receive, Scope, Send, answer, header, header_values, refuse
from apps.safety.keys import KeyCheck, Keys, address_of, key_of, new_key, told

PATH = "/login"
COOKIE = "steer-session"

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>steer: log in</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { display: grid; place-items: center; min-height: 90vh; margin: 0; padding: 16px; }
main { width: min(22rem, 100%%); } h1 { font-size: 1.2rem; }
label, input, button { display: block; width: 100%%; box-sizing: border-box; font: inherit; }
input, button { margin: .3rem 0 .9rem; padding: .5rem; }
</style></head><body><main><h1>steer</h1>
<p%s</p><form method="post" action="login">
<label>Password<input type="password" name="password" autocomplete="current-password"
 autofocus required></label><button>Log in</button></form></main></body></html>"""


class Login:
    """A `KeyCheck` that also knows who has logged in at `/login`; `/logout` ends it for all.

    The cookie is of this process: whoever restarts the server logs in again.
    """

    def __init__(self, app: App, keys: Keys) -> None:
        self.app, self.keys = app, keys
        self.check = KeyCheck(app, keys)
        self._session = new_key()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].rstrip("/") == PATH:
            await self._login(scope, receive, send)
        elif scope["type"] in ("http", "websocket") and self._known(scope):
            if scope["path"].rstrip("/") == "/logout":
                self._session = new_key()
                await _redirect(send, "login")
            else:
                await self.app(scope, receive, send)
        elif _person(scope) and key_of(scope) is None:
            await _ask(send, 401, ">This page asks for a password.")
        else:
            await self.check(scope, receive, send)

    def _known(self, scope: Scope) -> bool:
        given = cookie_of(scope)
        return given is not None and hmac.compare_digest(given.encode(), self._session.encode())

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _ask(send, 200, ">This page asks for a password.")
            return
        problem = self.keys.judge(address_of(scope), await _password(receive))
        if problem is None:
            await self._welcome(scope, send)
        elif _person(scope):
            status, sentence = problem
            await _ask(send, status, f' role="alert">{sentence}.', told(self.keys, scope, status))
        else:
            await refuse(scope, send, *problem, told(self.keys, scope, problem[0]))

    async def _welcome(self, scope: Scope, send: Send) -> None:
        safe = "; Secure" if scope.get("scheme") == "https" else ""
        cookie = f"{COOKIE}={self._session}; Path=/; HttpOnly; SameSite=Strict{safe}"
        headers = [(b"set-cookie", cookie.encode())]
        if _person(scope):
            await _redirect(send, ".", headers)
        else:
            await answer(send, 200, b'{"success": true}', b"application/json", headers)


def cookie_of(scope: Scope) -> str | None:
    try:
        cookies = SimpleCookie("; ".join(header_values(scope, b"cookie")))
    except CookieError:
        return None
    return cookies[COOKIE].value if COOKIE in cookies else None


def _person(scope: Scope) -> bool:
    """A browser that shows what it gets, not a script that reads it."""
    return scope["type"] == "http" and "text/html" in (header(scope, b"accept") or "")


async def _password(receive: Receive) -> str:
    """Of a form; its length is limited by `BodyLimit` outside."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=9)
    return fields.get("password", [""])[0]


async def _ask(
    send: Send, status: int, said: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    page = (_PAGE % said).encode()
    # its own style, and no script at all
    policy = b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'"
    more = [(b"content-security-policy", policy), *(headers or ())]
    await answer(send, status, page, b"text/html; charset=utf-8", more)


async def _redirect(
    send: Send, where: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    more = [(b"location", where.encode()), *(headers or ())]
    await answer(send, 303, b"", b"text/plain", more)
