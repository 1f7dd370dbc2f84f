"""Every wrong input is told in one sentence that says the words that matter, and harms nothing.

Each row names its words, so that an error that is merely caught does not pass.
"""

from __future__ import annotations

import json
import shlex
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import steer
from dictionaries import catalogue
from tests.support import tiny
from tests.support.command import Run
from tests.support.page_process import page_process
from tests.support.serving import serving
from tests.wrong_inputs import asked, calls, typed
from tests.wrong_inputs.row import Asked, Called, Place, Typed

REFUSES = "{{ raise_exception('no chats here') }}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("place")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("model", "refusing"):
            tiny.build("llama").save_pretrained(folder / name)
            tiny.tokenizer().save_pretrained(folder / name)
    (folder / "refusing" / "chat_template.jinja").write_text(REFUSES)
    sae = tiny.dictionary()
    assert sae.statistics is not None
    for name in ("sae", "bare", "full"):
        catalogue.save(sae, folder / name)
    sae.statistics.save(folder / "sae")
    catalogue.save(tiny.dictionary(d=24), folder / "narrow")
    (folder / "folder").mkdir()
    (folder / "text").write_text(" w5\n")
    (folder / "binary").write_bytes(b"\xff\xfe\x00")
    (folder / "other.json").write_text('{"version": 1, "edits": []}')
    (folder / "task.yaml").write_text("dataset_path: json\n")
    for name, corpus in (("corpus", "nowhere.txt"), ("empty", folder / "folder")):
        (folder / f"{name}.toml").write_text(
            f'name = "x"\nmodel = "m"\nsites = ["resid_post.1"]\n[corpora]\n"{corpus}" = 1\n'
        )
    edit = steer.Intervention(str(folder / "sae"), [steer.Clamp(5, "5x max")])
    edit.save(folder / "edit.json")
    return Place(folder, tiny.tiny_model("llama"), sae)


@pytest.fixture(scope="module")
def busy() -> Iterator[int]:
    """A port that something listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.fixture(scope="module")
def closed() -> Iterator[int]:
    """A port that is taken, and that nothing listens at."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture(scope="module")
def serve(place: Place) -> Iterator[str]:
    """`steer serve` on the tiny model, with a key; its address."""
    folder = place.folder
    options = ["--model", folder / "model", "--dictionary", folder / "sae"]
    with serving(*options, STEER_API_KEY=asked.KEY) as server:
        yield f"{server.url}/"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page on the tiny model, with a password; its address."""
    with page_process(tmp_path_factory.mktemp("page"), asked.KEY) as running:
        yield running.address


@pytest.fixture
def names(place: Place, busy: int, closed: int) -> dict[str, str]:
    folder = place.folder
    model = f"--model {folder}/model"
    return {
        "place": str(folder),
        "model": model,
        "tiny": f"{model} --dictionary {folder}/sae",
        "bare": f"{model} --dictionary {folder}/bare",
        "refusing": f"--model {folder}/refusing --dictionary {folder}/sae",
        "busy": str(busy),
        "closed": f"http://127.0.0.1:{closed}/v1",
    }


def filled(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value)
    return text


@pytest.mark.parametrize("row", typed.ROWS, ids=[row.line[:60] for row in typed.ROWS])
def test_a_wrong_command_line(
    row: Typed, names: dict[str, str], run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable, value in row.environment.items():
        monkeypatch.setenv(variable, filled(value, names))
    if row.needs:
        pytest.importorskip(row.needs)
    for module in row.without:
        monkeypatch.setitem(sys.modules, module, None)
    answer = run(*shlex.split(filled(row.line, names)))
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("steer: ")
    assert answer.err.count("\n") == 1
    assert [word for word in row.words if filled(word, names) not in answer.err] == []
    assert "delete" not in answer.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("row", calls.ROWS, ids=[f"{' '.join(r.words)[:50]}" for r in calls.ROWS])
def test_a_wrong_call(row: Called, place: Place) -> None:
    with pytest.raises(steer.SteerError) as raised:
        row.call(place)
    said = str(raised.value)
    assert [word for word in row.words if word not in said] == []
    assert "\n" not in said
    assert "delete" not in said
    assert len(said) < 700


@pytest.mark.parametrize("row", asked.ROWS, ids=str)
def test_a_wrong_request(row: Asked, request: pytest.FixtureRequest) -> None:
    address: str = request.getfixturevalue(row.site)
    body = row.body if isinstance(row.body, bytes) else json.dumps(row.body).encode()
    headers = {"Content-Type": "application/json", **row.headers}
    answer = httpx.request(
        row.method, address + row.path, content=body, headers=headers, timeout=60
    )
    said = answer.text
    if said.startswith('{"event_id"'):  # the page's API gives its answer to a second request
        told = f"{address}{row.path}/{answer.json()['event_id']}"
        said = httpx.get(told, headers=headers, timeout=60).text
    assert answer.status_code == row.status, said
    assert [word for word in row.words if word not in said] == [], said
    assert "Traceback" not in said
    assert "/site-packages/" not in said
    assert len(said) < 1500


@pytest.mark.parametrize("site", ["serve", "page"])
def test_a_server_is_well_after_all_of_them(site: str, request: pytest.FixtureRequest) -> None:
    address: str = request.getfixturevalue(site)
    path = {"serve": "v1/models", "page": "config"}[site]
    assert httpx.get(address + path, headers=asked.GIVEN, timeout=60).status_code == 200


def test_there_are_a_hundred() -> None:
    assert len(typed.ROWS) + len(calls.ROWS) + len(asked.ROWS) >= 100
    assert len(asked.ROWS) >= 25
