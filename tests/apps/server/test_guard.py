"""Who is let in, before anything of a request is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from apps.server.app import ROUTES
from apps.server.guard import Rules
from apps.server.start import _listen
from steer.errors import SteerError
from tests.support.serving import Server


async def _app(scope: Any, receive: Any, send: Any) -> None:
    """Reads the whole body, then says yes."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"yes"})


def ask(rules: Rules, path: str = "/v1/models", content: Any = None, **headers: str) -> int:
    async def run() -> int:
        transport = httpx.ASGITransport(app=rules.around(_app))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            response = await client.post(path, content=content, headers=headers)
            return response.status_code

    return asyncio.run(run())


def test_another_address_than_this_machine_needs_a_key() -> None:
    with pytest.raises(SteerError, match="a key is needed"):
        Rules("0.0.0.0")
    assert Rules("0.0.0.0", "secret").api_key == "secret"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic secret"}, 401),
        ({"Authorization": "Bearer secret"}, 200),
        ({"X-SECRET-KEY": "secret"}, 200),
    ],
)
def test_the_key(headers: dict[str, str], status: int) -> None:
    assert ask(Rules(api_key="secret"), **headers) == status


@pytest.mark.parametrize(
    "path", [*(path for _, path, _ in ROUTES if path != "/health"), "/openapi.json", "/nothing"]
)
def test_every_route_asks_for_the_key_but_health(path: str) -> None:
    assert ask(Rules(api_key="secret"), path) == 401


def test_health_needs_no_key() -> None:
    assert ask(Rules(api_key="secret"), "/health") == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8000"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "evil.example@127.0.0.1"}, 421),
        ({"Host": "127.0.0.1/evil.example"}, 421),
        ({"Host": "::1"}, 421),
        ({"Host": "[::1]"}, 200),
        ({"Host": "LocalHost:1"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "127.0.0.1:8000"}, 200),
        ({"Host": "lab.example"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:7860"}, 403),
        ({"Origin": "http://localhost"}, 200),
    ],
)
def test_host_and_origin(headers: dict[str, str], status: int) -> None:
    assert ask(Rules(hosts=("lab.example",)), **headers) == status


def test_a_body_may_not_be_larger_than_said_nor_grow_without_saying() -> None:
    rules = Rules(most_bytes=100)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 10

    assert ask(rules, content=b"x" * 100) == 200
    assert ask(rules, content=b"x" * 101) == 413
    assert ask(rules, content=parts()) == 413


def test_a_body_that_stops_coming_is_not_waited_for() -> None:
    async def silent() -> Any:
        await asyncio.sleep(60)

    async def run() -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "path": "/v1/models", "headers": [(b"host", b"localhost")]}
        await Rules(body_seconds=0.01).around(_app)(scope, silent, send)
        return int(sent[0]["status"])

    assert asyncio.run(run()) == 408


def test_the_real_server_lets_nobody_else_in(server: Server) -> None:
    assert server.get("/v1/models", headers={"Host": "evil.example"}).status_code == 421
    assert server.get("/v1/models", headers={"Origin": "http://evil.example"}).status_code == 403
    for size in (2**20, 2**22, 2**24) * 3:  # a connection that is reset tells nobody why
        huge = {"model": "x", "prompt": "a" * size}
        assert server.post("/v1/completions", huge).status_code == 413


def test_a_port_is_one_servers_from_the_start() -> None:
    with _listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(SteerError, match=f"127.0.0.1:{port} can't be listened on"):
            _listen("127.0.0.1", port)
