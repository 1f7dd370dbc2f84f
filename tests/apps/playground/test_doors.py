"""What the page's server answers, and to whom: asked of a real process by another."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from apps.playground.server import listen
from steer.errors import SteerError
from tests.support import tiny
from tests.support.page_process import PageProcess, page_process

PASSWORD = "the right one"
GIVEN = {"Authorization": f"Bearer {PASSWORD}"}
ROUTES = [
    ("GET", ""),
    ("GET", "config"),
    ("GET", "openapi.json"),
    ("GET", "gradio_api/openapi.json"),
    ("GET", "gradio_api/info"),
    ("GET", "theme.css"),
    ("POST", "gradio_api/call/steer"),
    ("POST", "gradio_api/queue/join"),
    ("POST", "gradio_api/upload"),
    ("POST", "steer/run"),
    ("POST", "mcp"),
    ("GET", "gradio_api/mcp/schema"),
    ("GET", "nothing/is/here"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("open")


@pytest.fixture(scope="module")
def ending() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def opened(folder: Path, ending: ExitStack) -> PageProcess:
    """Until `ending` is closed."""
    return ending.enter_context(page_process(folder))


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageProcess]:
    with page_process(tmp_path_factory.mktemp("locked"), PASSWORD) as page:
        yield page


def paths(page: PageProcess) -> set[str]:
    """Every route that the server itself knows of, without what is in braces."""
    described = httpx.get(page.address + "gradio_api/openapi.json", headers=GIVEN)
    named = httpx.get(page.address + "openapi.json", headers=GIVEN)
    found = {
        path.partition("{")[0].lstrip("/")
        for answer in (described, named)
        if answer.headers["content-type"].startswith("application/json")
        for path in answer.json().get("paths", {})
    }
    return found | {path for _, path in ROUTES}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_name_that_was_rebound_is_not_answered(
    opened: PageProcess, method: str, path: str
) -> None:
    """DNS rebinding: the page of evil.example asks what it takes for its own server."""
    for headers in (
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Host": f"evil.example:{urlsplit(opened.address).port}"},
    ):
        answer = httpx.request(method, opened.address + path, headers=headers, json={})
        assert answer.status_code == 421
        assert "127.0.0.1" in answer.json()["error"]["message"]
    other = {"Origin": "http://127.0.0.1:3000"}
    assert httpx.request(method, opened.address + path, headers=other).status_code == 403


def test_the_page_itself_is_answered(opened: PageProcess) -> None:
    for host in ("127.0.0.1", "localhost", "[::1]"):
        port = urlsplit(opened.address).port
        own = {"Host": f"{host}:{port}", "Origin": f"http://{host}:{port}"}
        assert httpx.get(opened.address, headers=own).status_code == 200


def test_the_page_may_load_nothing_from_elsewhere(opened: PageProcess) -> None:
    for path in ("", "config", "nothing/is/here"):
        policy = httpx.get(opened.address + path).headers["content-security-policy"]
        said = dict(each.strip().split(" ", 1) for each in policy.split(";"))
        assert said["default-src"] == said["connect-src"] == "'self'"
        assert said["frame-ancestors"] == said["object-src"] == "'none'"
        assert said["base-uri"] == "'self'"
        assert "unsafe-inline" not in said["script-src"]
        assert not any(word in policy for word in ("http:", "https:", "*"))


def test_every_route_asks_for_the_password(locked: PageProcess) -> None:
    known = paths(locked)
    assert len(known) > 15
    for path in sorted(known):
        for method in ("GET", "POST", "OPTIONS"):
            bare = httpx.request(method, locked.address + path)
            free = path.rstrip("/") == "login"
            assert (free and bare.status_code == 200) or bare.status_code == 401, path
            assert "gradio" not in bare.text.lower(), path
    assert httpx.get(locked.address, headers=GIVEN).status_code == 200


def test_who_has_logged_in_may_use_the_tools_too(locked: PageProcess) -> None:
    pytest.importorskip("mcp", reason="pip install 'sae-steer[mcp]'")
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def talk(**how: Any) -> list[Any]:
        async with (
            httpx.AsyncClient(**how) as client,
            streamable_http_client(locked.address + "mcp", http_client=client) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            answer = await session.call_tool("search", {"query": "7"})
            return json.loads(answer.content[0].text)

    visitor = httpx.Client(base_url=locked.address)
    assert visitor.post("/login", data={"password": PASSWORD}).json() == {"success": True}
    assert visitor.get("/config").status_code == 200
    for how in ({"headers": GIVEN}, {"cookies": dict(visitor.cookies)}):
        assert asyncio.run(talk(**how))[0]["feature"] == 7


def test_a_client_of_the_api_logs_in(locked: PageProcess) -> None:
    gradio_client = pytest.importorskip("gradio_client")
    client = gradio_client.Client(locked.address, auth=("anyone", PASSWORD), verbose=False)
    assert client.predict("7", api_name="/search")[0]["feature"] == 7


def test_guessing_is_slow(locked: PageProcess) -> None:
    with httpx.Client(base_url=locked.address) as visitor:

        def guess(word: str) -> httpx.Response:
            return visitor.post("/login", data={"password": word})

        answers = [guess(f"wrong {number}") for number in range(30)]
        judged = [each for each in answers if each.status_code == 401]
        told = [each for each in answers if each.status_code == 429]
        assert len(judged) + len(told) == 30
        assert len(judged) < 10
        while (answer := guess(PASSWORD)).status_code == 429:
            time.sleep(int(answer.headers["retry-after"]))
        assert answer.status_code == 200


def test_a_long_body_is_refused_before_it_is_sent(opened: PageProcess) -> None:
    """60 MB are announced and none comes: an answer shows that nothing waits for them."""
    at = urlsplit(opened.address)
    for path in ("/steer/run", "/gradio_api/queue/join", "/gradio_api/upload", "/mcp"):
        with socket.create_connection((at.hostname, at.port), timeout=60) as line:
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            line.sendall(f"{head}Content-Length: 60000000\r\n\r\n".encode())
            assert line.recv(4096).startswith(b"HTTP/1.1 413 ")
    assert httpx.post(opened.address + "steer/run", content=b"[" * 3_000_000).status_code == 413


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("gradio_api/call/steer", b"{"),
        ("gradio_api/call/steer", b'{"data": null}'),
        ("gradio_api/call/steer", b'{"data": [[], 7, {}, "x"]}'),
        ("gradio_api/call/nothing", b'{"data": []}'),
        ("gradio_api/queue/join", b"[]"),
        ("gradio_api/queue/join", b'{"fn_index": 10000, "data": [], "session_hash": "s"}'),
        ("gradio_api/queue/join", b'{"fn_index": "x", "data": 3}'),
        ("gradio_api/upload", b"no form"),
        ("gradio_api/component_server", b"{}"),
        ("steer/run", b"\xff\xfe"),
        ("mcp", b'{"jsonrpc": "2.0"'),
        ("mcp", b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 7}}'),
    ],
)
def test_what_makes_no_sense_leaves_no_traceback(
    opened: PageProcess, path: str, body: bytes
) -> None:
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }
    before = opened.log.read_text()
    answer = httpx.post(opened.address + path, content=body, headers=headers, timeout=60)
    assert answer.status_code < 500
    time.sleep(0.2)
    assert "Traceback" not in opened.log.read_text().removeprefix(before)


def test_nothing_stays_behind(opened: PageProcess, folder: Path, ending: ExitStack) -> None:
    """After all that was asked of it: the last test that needs this page."""
    (made,) = (folder / "tmp").glob("steer-app-*")
    assert made.is_dir()
    ending.close()
    assert opened.process.returncode == 0
    assert list((folder / "tmp").glob("steer-app-*")) == []
    assert "Traceback" not in opened.log.read_text()


def test_a_port_that_cannot_be_had_is_a_sentence() -> None:
    with listen(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SteerError, match=f"port {port} can't be used"):
            listen(port)
    for wrong in (-1, 65536, 10**9):
        with pytest.raises(SteerError, match="1 to 65535"):
            listen(wrong)


def test_an_empty_password_is_none_that_was_meant() -> None:
    from apps.playground import launch

    with pytest.raises(SteerError, match="empty"):
        launch(tiny.tiny_model("llama"), dictionaries=[tiny.dictionary()], password=" ")
