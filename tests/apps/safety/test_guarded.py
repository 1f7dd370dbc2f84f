"""The middleware around an app that echoes what reaches it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from apps.safety import guarded
from apps.safety.guesses import FREE, LONGEST, Guesses
from apps.safety.keys import Keys
from steer.errors import SteerError

HERE = "http://127.0.0.1:8000"
KEY = "clé 🔑"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the length of the body that it was given; a lost one is an error of its own."""
    message = await receive()
    status = 200 if message["type"] == "http.request" else 500
    body = json.dumps(len(message.get("body", b""))).encode()
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


def ask(app: Any, method: str = "GET", path: str = "/any", **more: Any) -> httpx.Response:
    async def one() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE) as client:
            return await client.request(method, path, **more)

    return asyncio.run(one())


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:99", "localhost:8000", "LOCALHOST", "[::1]:8"]
)
def test_the_hosts_that_it_was_started_for(host: str) -> None:
    assert ask(guarded(echo), headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "",
        "[",
        "localhost@evil.example",
    ],
)
def test_any_other_host_is_refused(host: str) -> None:
    answer = ask(guarded(echo), headers={"Host": host, "Origin": f"http://{host}"})
    assert answer.status_code in (400, 403, 421)
    assert "error" in answer.json()


def test_a_name_under_a_suffix() -> None:
    app = guarded(echo, hosts=[".lent.example"])
    assert ask(app, headers={"Host": "a.lent.example"}).status_code == 200
    assert ask(app, headers={"Host": "lent.example"}).status_code == 421
    assert ask(app, headers={"Host": "evillent.example"}).status_code == 421


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8000", 200),
        ("https://127.0.0.1:8000", 200),  # behind a tunnel that speaks TLS
        ("http://127.0.0.1:3000", 403),
        ("http://localhost:8000", 403),
        ("https://evil.example", 403),
        ("https://friend.example", 200),
        ("null", 403),
        ("", 403),
    ],
)
def test_origins(origin: str, status: int) -> None:
    app = guarded(echo, origins=["https://friend.example"])
    assert ask(app, "POST", headers={"Origin": origin}).status_code == status


@pytest.mark.parametrize(
    ("mode", "method", "status"),
    [("no-cors", "GET", 403), ("navigate", "GET", 200), ("navigate", "POST", 403)],
)
def test_what_a_browser_says_of_another_site(mode: str, method: str, status: int) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode}
    assert ask(guarded(echo), method, headers=headers).status_code == status


async def parts(number: int, sent: list[int]) -> AsyncIterator[bytes]:
    for _ in range(number):
        sent.append(1000)
        yield b"x" * 1000


def test_a_body_that_says_that_it_is_too_long() -> None:
    app = guarded(echo, most_bytes=1000)
    assert ask(app, "POST", content=b"x" * 1000).json() == 1000
    answer = ask(app, "POST", content=b"x" * 1001)
    assert answer.status_code == 413
    assert "1,000 bytes" in answer.json()["error"]["message"]


def test_a_body_that_does_not_say_how_long_it_is() -> None:
    sent: list[int] = []
    app = guarded(echo, most_bytes=3000)
    assert ask(app, "POST", content=parts(3, sent)).json() == 3000
    assert ask(app, "POST", content=parts(4, sent)).status_code == 413


@pytest.mark.parametrize(
    "key", [{}, {"Authorization": b"Bearer " + KEY.encode()}], ids=["no key", "key"]
)
@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example"])
def test_who_still_sends_gets_the_answer(key: dict[str, bytes], host: str) -> None:
    """What is refused is read on for a while, and thrown away: a closed connection is reset."""
    app = guarded(echo, keys=[KEY], most_bytes=3000)
    headers = {"Host": host, **key}
    expected = 421 if host == "evil.example" else 413 if key else 401
    for number in (3, 4, 40):
        sent: list[int] = []
        answer = ask(app, "POST", content=parts(number, sent), headers=headers)
        assert answer.status_code == (200 if expected == 413 and number == 3 else expected)
        assert len(sent) >= min(number, 4)


def test_the_key_opens_every_route() -> None:
    app = guarded(echo, keys=[KEY, "other"], free=["/health"])
    assert ask(app, path="/health").status_code == 200
    for path in ("/any", "/health/", "/openapi.json", "//health"):
        answer = ask(app, path=path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        for key in (KEY, "other"):
            bearer = {"Authorization": b"Bearer " + key.encode()}
            assert ask(app, path=path, headers=bearer).status_code == 200
            assert ask(app, path=path, auth=("steer", key)).status_code == 200
        assert ask(app, path=path, auth=("steer", "wrong")).status_code == 401
        bare = {"Authorization": b"Basic ???"}
        assert ask(app, path=path, headers=bare).status_code == 401


@pytest.mark.parametrize("keys", [[""], ["  "], ["right", ""]])
def test_an_empty_key_is_no_key(keys: list[str]) -> None:
    with pytest.raises(SteerError, match="empty"):
        guarded(echo, keys=keys)


def test_guessing_is_slow() -> None:
    now = [0.0]
    keys = Keys([KEY], Guesses(lambda: now[0]))
    judged = [keys.judge("me", "wrong") for _ in range(30)]
    assert [said and said[0] for said in judged] == [401] * FREE + [429] * (30 - FREE)
    assert keys.judge("me", KEY) is not None  # not even the right one, meanwhile
    assert keys.judge("other", KEY) is None
    tried = 0
    while now[0] < 3600:
        said = keys.judge("me", "wrong")
        tried += said is not None and said[0] == 401
        now[0] += 0.5
    assert tried < 8 + 3600 / LONGEST + 2
    now[0] += LONGEST
    assert keys.judge("me", KEY) is None
    assert keys.judge("me", "wrong") == (401, "this is not the server's key or password")


def test_people_log_in_once() -> None:
    app = guarded(echo, keys=[KEY], people=True)
    page = {"Accept": "text/html"}
    assert ask(app).status_code == 401
    assert 'type="password"' in ask(app, headers=page).text
    assert ask(app, "POST", "/login", data={"password": "wrong"}).status_code == 401
    shown = ask(app, "POST", "/login", data={"password": "wrong"}, headers=page)
    assert (shown.status_code, 'role="alert"' in shown.text) == (401, True)
    welcome = ask(app, "POST", "/login", data={"password": KEY}, headers=page)
    assert (welcome.status_code, welcome.headers["location"]) == (303, ".")
    told = welcome.headers["set-cookie"]
    assert "HttpOnly" in told
    assert "SameSite=Strict" in told
    cookie = {"Cookie": told.partition(";")[0]}
    assert ask(app, headers=cookie).status_code == 200
    assert ask(app, headers={"Cookie": "steer-session=x"}).status_code == 401
    assert ask(app, path="/logout", headers=cookie).status_code == 303
    assert ask(app, headers=cookie).status_code == 401


@pytest.mark.parametrize("said", [None, 500])
def test_what_the_app_trips_over_is_a_sentence(said: int | None, caplog: Any) -> None:
    async def trips(scope: Any, receive: Any, send: Any) -> None:
        if said:
            await send({"type": "http.response.start", "status": said, "headers": []})
            await send({"type": "http.response.body", "body": b"Internal Server Error"})
        raise KeyError("fn_index")

    answer = ask(guarded(trips))
    assert answer.status_code == 400
    assert "KeyError" in answer.json()["error"]["message"]
    assert "fn_index" in caplog.text
    assert "Traceback" not in caplog.text


def test_an_apps_own_failure_is_passed_on() -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"busy"})

    answer = ask(guarded(fails))
    assert (answer.status_code, answer.text) == (503, "busy")


def test_every_answer_tells_the_browser_what_may_be_loaded() -> None:
    app = guarded(echo, keys=[KEY], people=True)
    for answer in (ask(app), ask(app, auth=("", KEY)), ask(app, headers={"Host": "evil.example"})):
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
