"""Wrong requests to `steer serve` and to the page, with the status and the words of the answer."""

from __future__ import annotations

from typing import Any

from tests.wrong_inputs.row import Asked, Site

KEY = "the right one"
GIVEN = {"Authorization": f"Bearer {KEY}"}
REBOUND = {**GIVEN, "Host": "evil.example", "Origin": "http://evil.example"}
ELSEWHERE = {**GIVEN, "Origin": "https://evil.example"}
WRONG = {"Authorization": "Bearer wrong"}
TYPED = {"Content-Type": "application/x-www-form-urlencoded"}
CLAMP = {"feature": 5, "clamp": "2x max"}
ETC = {"dictionary": "/etc"}
USUAL = [False, 8, 0.7, 1.1, 0, False]
"""Chat, and the numbers of the sampling."""
FORM = {"dictionary": "tiny", "kind": "clamp", "feature": 5, "value": "2x max"}


def sent(
    site: Site,
    path: str,
    body: Any,
    status: int,
    *words: str,
    headers: dict[str, str] = GIVEN,
) -> Asked:
    return Asked(site, "POST", path, body, headers, status, words)


def read(site: Site, path: str, status: int, *words: str, headers: dict[str, str]) -> Asked:
    return Asked(site, "GET", path, b"", headers, status, words)


def completed(status: int, *words: str, **fields: Any) -> Asked:
    """A completion of `steer serve` with these fields."""
    body = {"model": "model", "prompt": "w7", "max_tokens": 4, **fields}
    return sent("serve", "v1/completions", body, status, *words)


def clicked(*words: str, values: list[Any]) -> Asked:
    """A click on Run in the page; what is wrong is a sentence that it shows."""
    body = {"session": "me", "asked": 1, "values": values}
    return sent("page", "steer/run", body, 200, *words)


def called(name: str, *words: str, given: list[Any]) -> Asked:
    """A call of the page's API: its answer is an event that says what is wrong."""
    return sent("page", f"gradio_api/call/{name}", {"data": given}, 200, "event: error", *words)


def tool(name: str, *words: str, **arguments: Any) -> Asked:
    """A call of one of the page's tools."""
    params = {"name": name, "arguments": arguments}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    accepts = {**GIVEN, "Accept": "application/json, text/event-stream"}
    return sent("page", "mcp", body, 200, '"isError":true', *words, headers=accepts)


_SERVE = [
    completed(400, "n is 0; give at least 1", n=0),
    completed(400, 'temperature is \\"hot\\"; give a number', temperature="hot"),
    completed(400, "prompt is 5; give a text, token ids, or", prompt=5),
    completed(400, "stop is [5]; give a text or at most 16", stop=[5]),
    completed(404, "'gpt-4' is not served here; served: model.", model="gpt-4"),
    completed(400, "feature 48", "0 to 47", steering=[{**CLAMP, "feature": 48}]),
    completed(400, "needs one of", "clamp", "ablate", steering=[{"feature": 5}]),
    completed(400, "'2x most'", "2x mean", steering=[{**CLAMP, "clamp": "2x most"}]),
    completed(400, "feature 5", "in_order", steering=[CLAMP, CLAMP]),
    completed(400, "'/etc' is not one of this server's", steering=[{**CLAMP, **ETC}]),
    completed(400, "temperature", temperature="hot"),
    completed(400, "max_tokens", "1024", max_tokens=5000),
    completed(400, "steerng", steerng=[]),
    completed(400, "at least one token", prompt=" "),
    completed(422, "did nothing", silent="error", steering=[{"feature": 5, "scale": 1}]),
    sent("serve", "v1/completions", b"{", 400, "no JSON"),
    sent("serve", "v1/completions", b"[" * 100_000, 400, "no JSON"),
    sent("serve", "v1/completions", b" " * 2_000_000, 413, "1,048,576 bytes"),
    sent("serve", "v1/nothing", {}, 404, "v1/nothing", "Not Found"),
    sent("serve", "v1/models", {}, 405, "Method Not Allowed"),
    read("serve", "v1/models", 401, "key", headers={}),
    read("serve", "v1/models", 401, "not the server's key", headers=WRONG),
    read("serve", "v1/models", 421, "evil.example", "127.0.0.1", headers=REBOUND),
    sent("serve", "v1/completions", {}, 403, "https://evil.example", headers=ELSEWHERE),
]
_PAGE = [
    clicked("prompt is empty", values=["[]", " ", False, 8, 0.7, 1.1, 0]),
    clicked("not a number", values=["[]", "w7", False, None, 0.7, 1.1, 0]),
    clicked("not JSON", values=["{", "w7", False, 8, 0.7, 1.1, 0]),
    clicked("must be a list, not dict", values=["{}", "w7", False, 8, 0.7, 1.1, 0]),
    clicked("edit 1 is not as the page writes it", values=["[5]", "w7", False, 8, 0.7, 1.1, 0]),
    called("steer", "feature 99", "0 to 47", given=["w7", [{**FORM, "feature": 99}], *USUAL]),
    called("steer", "'/etc' is not one of this app's", given=["w7", [{**FORM, **ETC}], *USUAL]),
    called("steer", "two edits", "in_order", given=["w7", [FORM, FORM], *USUAL]),
    called("feature", "99", "0 to 47", given=[99, ""]),
    tool("steer", "feature 99", "0 to 47", prompt="w7", edits=[{**FORM, "feature": 99}]),
    tool("nothing", "nothing"),
    sent("page", "steer/run", b"{", 422, "JSON"),
    sent("page", "steer/run", {"session": "me"}, 422, "values"),
    sent("page", "steer/run", b" " * 3_000_000, 413, "2,097,152 bytes"),
    read("page", "config", 401, "password", headers={}),
    read("page", "config", 421, "evil.example", "127.0.0.1", headers=REBOUND),
    sent("page", "steer/run", {}, 403, "https://evil.example", headers=ELSEWHERE),
    sent(
        "page",
        "login",
        b"password=wrong",
        401,
        "password",
        headers=TYPED,
    ),
]
ROWS: list[Asked] = [*_SERVE, *_PAGE]
