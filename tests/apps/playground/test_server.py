"""The real server on a tiny model: named endpoints, sixteen callers at once, and closed doors."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from apps.playground import launch
from apps.playground.api import ENDPOINTS
from apps.playground.server import listen
from steer import SteerError
from tests.support import ROOT, tiny

gradio_client = pytest.importorskip("gradio_client")


def edit(feature: int, value: str = "2x max") -> dict[str, Any]:
    return {"dictionary": "tiny", "kind": "clamp", "feature": feature, "value": value}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    app = launch(tiny.tiny_model("llama"), dictionaries=[tiny.dictionary()], wait=False)
    yield app.local_url
    app.close()


@pytest.fixture(scope="module")
def client(address: str) -> Any:
    return gradio_client.Client(address, verbose=False)


def test_endpoints_are_named_and_documented(client: Any) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {f"/{name}" for name in ENDPOINTS}
    steer = endpoints["/steer"]["parameters"]
    assert [each["parameter_name"] for each in steer][:2] == ["prompt", "edits"]
    assert steer[0]["python_type"]["type"] == "str"


def test_steer_is_what_the_library_says(client: Any) -> None:
    answer = client.predict(tiny.PROMPT, [edit(5)], max_new_tokens=8, api_name="/steer")
    import steer

    run = tiny.tiny_model("llama").generate(
        tiny.PROMPT,
        steer.Intervention("tiny", [steer.Clamp(5, "2x max")]),
        dictionaries=[tiny.dictionary()],
        max_new_tokens=8,
        repetition_penalty=1.1,
    )
    assert answer["steered"] == run.text
    assert answer["baseline"] == run.baseline.text
    assert answer["receipt"][0]["acted_tokens"]


def test_the_other_endpoints(client: Any) -> None:
    assert client.predict("7", api_name="/search")[0]["feature"] == 7
    assert client.predict(7, api_name="/feature")["feature"] == 7
    assert len(client.predict(tiny.PROMPT, api_name="/features")) == 6
    assert client.predict(tiny.PROMPT, "w20 w3", api_name="/contrast")["one"]
    twice = [edit(5), edit(5, "3x max")]
    measured = client.predict("w3 w4\nw5 w6", twice, in_order=True, api_name="/measure")
    assert measured["prompts"] == 2
    state = {"prompt": "w3 w4", "rows": [edit(5)]}
    shell = client.predict(state, api_name="/take_away")["shell"]
    assert "given as an object" in shell  # as this page's model was


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("", []), "empty"),
        (("w3", [edit(9999)]), "out of range"),
        (("w3", [{**edit(5), "dictionary": "/etc"}]), "not one of this app"),
        (("w3", [edit(5), edit(5)]), "two edits"),
        (("w3", [edit(5, "NaN")]), "NaN"),
        (("w3", ["x"]), "edit 1"),
    ],
)
def test_a_bad_call_is_answered_with_a_sentence(
    client: Any, arguments: tuple[Any, ...], says: str
) -> None:
    with pytest.raises(gradio_client.exceptions.AppError, match=says):
        client.predict(*arguments, api_name="/steer")


def test_sixteen_sessions_each_get_their_own(address: str) -> None:
    def ask(feature: int) -> str:
        caller = gradio_client.Client(address, verbose=False)
        answer = caller.predict(
            tiny.PROMPT, [edit(feature, "4x max")], max_new_tokens=12, api_name="/steer"
        )
        return str(answer["steered"])

    features = list(range(1, 17))
    alone = [ask(feature) for feature in features]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(ask, features))
    assert together == alone
    assert len(set(alone)) > 1


def test_an_assistant_can_steer(address: str, client: Any) -> None:
    """The same endpoints are tools of the Model Context Protocol, described from their types."""
    mcp = pytest.importorskip("mcp", reason="pip install 'sae-steer[mcp]'")
    from mcp.client.streamable_http import streamable_http_client

    arguments = {"prompt": tiny.PROMPT, "edits": [edit(5)], "max_new_tokens": 6}
    last = tiny.dictionary().width - 2

    async def talk() -> tuple[dict[str, Any], list[Any]]:
        async with (
            streamable_http_client(address + "mcp") as (reader, writer, _),
            mcp.ClientSession(reader, writer) as session,
        ):
            await session.initialize()
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            asked = [("steer", arguments), ("dictionaries", {}), ("labels", {"start": last})]
            asked.append(("steer", {"prompt": "w3", "edits": [edit(9999)]}))
            return tools, [await session.call_tool(*each) for each in asked]

    tools, (answer, shelf, labels, wrong) = asyncio.run(talk())
    assert {"steer", "features", "measure"} <= set(tools)
    assert "receipt" in tools["steer"].description
    assert set(arguments) <= set(tools["steer"].inputSchema["properties"])
    called = client.predict(**arguments, api_name="/steer")
    assert json.loads(answer.content[0].text) == answer.structuredContent == called
    assert [load["dictionary"] for load in json.loads(shelf.content[0].text)] == ["tiny"]
    listed = labels.structuredContent["result"]
    assert [each["feature"] for each in listed] == [last, last + 1]
    assert set(listed[0]) == {"feature", "label", "density", "maximum"}
    assert wrong.isError
    assert "out of range" in wrong.content[0].text


def test_one_bad_caller_harms_no_other(address: str, client: Any) -> None:
    stop = threading.Event()

    def pester() -> None:
        while not stop.is_set():
            caller = gradio_client.Client(address, verbose=False)
            with pytest.raises(gradio_client.exceptions.AppError):
                caller.predict("w3", [edit(9999)], api_name="/steer")

    bad = threading.Thread(target=pester)
    bad.start()
    try:
        answers = {
            client.predict(tiny.PROMPT, [edit(5)], max_new_tokens=8, api_name="/steer")["steered"]
            for _ in range(5)
        }
    finally:
        stop.set()
        bad.join()
    assert len(answers) == 1


@pytest.mark.parametrize("form", ["file={}", "gradio_api/file={}", "file/{}", "gradio_api/file/{}"])
@pytest.mark.parametrize(
    "path", ["/etc/passwd", "{here}", "../../../../etc/passwd", "%2fetc%2fpasswd", "{root}"]
)
def test_no_file_can_be_read(address: str, form: str, path: str) -> None:
    here = Path(__file__)
    asked = path.format(here=here, root=ROOT / "pyproject.toml")
    answer = httpx.get(address + form.format(asked), follow_redirects=True)
    assert answer.status_code in (400, 403, 404, 405, 422) or "steer" in answer.text
    assert "root:" not in answer.text
    assert "import pytest" not in answer.text
    assert "[build-system]" not in answer.text


def test_an_upload_stays_in_its_folder(address: str) -> None:
    import os

    name = "../../../../tmp/steer-escape.txt"
    answer = httpx.post(address + "gradio_api/upload", files={"files": (name, b"x")})
    assert not Path("/tmp/steer-escape.txt").exists()
    if answer.status_code == 200:
        folder = Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
        assert all(Path(path).resolve().is_relative_to(folder) for path in answer.json())


def test_it_listens_here_only(address: str) -> None:
    assert address.startswith("http://127.0.0.1")


def test_sharing_needs_a_password() -> None:
    with pytest.raises(SteerError, match="password"):
        launch(tiny.tiny_model("llama"), dictionaries=[tiny.dictionary()], share=True)


def test_two_that_start_together_get_a_port_each() -> None:
    """Neither has begun to answer: a port that is only bound could be bound twice."""
    with listen() as one, listen() as other:
        taken = one.getsockname()[1]
        assert other.getsockname()[1] != taken
        with pytest.raises(SteerError, match=f"port {taken} can't be used"):
            listen(taken)
