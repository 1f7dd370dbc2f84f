"""Scripts of the page itself have a number; nothing else that an app answers has one."""

from __future__ import annotations

import re
from typing import Any

import pytest

from apps.safety import OwnScripts
from apps.safety.headers import POLICY
from tests.apps.safety.test_guarded import ask

TEXT = "<html><head><title>é</title></head><script>a()</script><script src=b>c</script></html>"


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """The same HTML in two parts at every path but `/data`; never compressed by what it is told."""
    assert "accept-encoding" not in dict(scope["headers"]) or scope["path"] != "/"
    kind = b"application/json" if scope["path"] == "/data" else b"text/html; charset=utf-8"
    headers = [(b"content-type", kind), (b"content-length", str(len(TEXT.encode())).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for more, part in ((True, TEXT[:40]), (False, TEXT[40:])):
        await send({"type": "http.response.body", "body": part.encode(), "more_body": more})


APP = OwnScripts(pages, POLICY, "mine()")


def test_every_script_of_the_page_has_the_number_of_its_answer() -> None:
    first, second = (ask(APP, path="/") for _ in range(2))
    (number,) = re.findall(r"script-src 'self' 'nonce-([^']+)'", str(first.headers))
    assert re.findall(r"<script ([^>]*)>", first.text) == [
        f'nonce="{number}"',
        f'nonce="{number}"',
        f'nonce="{number}" src=b',
    ]
    assert first.text.index("mine()</script></head>") < first.text.index("a()")
    assert number not in second.text
    assert len(first.content) == int(first.headers["content-length"])


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/file.html"), ("POST", "/"), ("GET", "/data")]
)
def test_nothing_else_has_one(method: str, path: str) -> None:
    """Not a file that a visitor sent, whatever it calls itself."""
    answer = ask(APP, method, path)
    assert answer.text == TEXT
    assert "content-security-policy" not in answer.headers
