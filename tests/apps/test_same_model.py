"""What is run elsewhere is the model that is here, with all that it was loaded with; or refused."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import steer
from apps.playground.state.setup import Row, Setup
from apps.playground.studio import remote
from apps.playground.studio.studio import Shelf, Studio
from apps.playground.take_away.forms import forms
from apps.same_model import arguments, call
from apps.server.routes import concepts
from steer.errors import ModelError, SteerError
from steer.jobs.worker import Source
from steer.serving.engine import Limits
from tests.support import tiny
from tests.support.command import Run
from tests.support.serving import serving

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("bitsandbytes")
    tiny.save_packable(folder := tmp_path / "model")
    return folder


def test_it_is_told_in_options_and_in_python(folder: Path) -> None:
    plain, packed = (steer.load(folder, quantization=kind) for kind in (None, "4bit"))
    placed = steer.load(folder, device_map="cpu")
    named = ["--model", str(folder), "--dtype", "float32"]
    assert arguments(plain) == named
    assert arguments(packed) == [*named, "--quantize", "4bit"]
    assert arguments(placed) == [*named, "--device-map", "cpu"]
    assert call(plain) == f"steer.load({str(folder)!r}, dtype='float32')"
    again = eval(call(packed), {"steer": steer})
    assert (again.precision, again.fingerprint) == (packed.precision, packed.fingerprint)


def test_a_server_s_search_is_of_the_model_that_it_serves(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """The child is a script that prints what it was asked for; a command takes the same."""
    model = steer.load(folder, quantization="8bit", device_map="cpu")
    echo = tmp_path / "python"
    echo.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[4:]))\n")
    echo.chmod(0o755)
    monkeypatch.setattr(concepts.sys, "executable", str(echo))
    state: Any = SimpleNamespace(
        offer=SimpleNamespace(model=model), engine=SimpleNamespace(limits=Limits())
    )
    asked = asyncio.run(concepts._searched(state, "ocean", 3))
    for option in (["--device-map", "cpu"], ["--quantize", "8bit"], ["--seed", "3"]):
        assert " ".join(option) in " ".join(asked)
    refused = run(*asked[:-2], "--budget", "-1", *asked[-2:]).err
    assert "budget" in refused


def test_a_server_says_that_its_weights_are_packed(folder: Path) -> None:
    said = "float32 with 4bit weights"
    with serving("--model", folder, "--quantize", "4bit") as running:
        asked = {"model": running.announced["models"][0], "prompt": "w7 w31", "max_tokens": 1}
        answer = running.post("/v1/completions", asked)
        assert running.announced["dtype"] == said
        assert running.get("/v1/models").json()["steer"]["dtype"] == said
    assert answer.json()["steer"]["dtype"] == said
    assert f"; dtype={said};" in answer.headers["X-Steer"]


def test_a_page_hands_on_how_it_was_loaded(
    folder: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    model = steer.load(folder, quantization="4bit")
    dictionary = tiny.dictionary("resid_post.1", d=tiny.PACKABLE_D)
    studio = Studio(model, Shelf(model, [], [dictionary]))
    direction = steer.AddDirection(steer.Random(3), 2.0)
    setup = Setup(tiny.PROMPT, rows=(Row("resid_post.1", direction),), max_new_tokens=4, seed=2)
    text, taken = studio.run(setup).text, forms(studio, setup)
    capsys.readouterr()
    exec(compile(taken["python"], "taken", "exec"), {})
    assert capsys.readouterr().out == f"{text}\n"
    assert "--quantize 4bit" in taken["shell"]


def test_what_can_t_be_loaded_elsewhere_is_refused(
    folder: Path, llama: steer.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = dict.fromkeys(("model", "lm_head"), "cpu")
    other = steer.load(folder, tokenizer=tiny.tokenizer())
    for given in (llama, other):
        for hand_on in (arguments, call):
            with pytest.raises(ModelError, match="its tokenizer was given as an object"):
                hand_on(given)
    with pytest.raises(SteerError, match="its tokenizer was given as an object"):
        Source.of(other)
    spread = steer.load(folder, device_map=parts)
    assert repr(parts) in call(spread)
    with pytest.raises(ModelError, match="a device of each module"):
        arguments(spread)
    studio = Studio(llama, Shelf(llama, [], [tiny.dictionary()]))
    taken = forms(studio, Setup(tiny.PROMPT))
    assert taken["python"].startswith("# LlamaForCausalLM or its tokenizer was given as an object")
    monkeypatch.setattr(remote, "_about", lambda url: ("m", "0", "float32 with 4bit weights"))
    with pytest.raises(ModelError, match="serves m in float32 with 4bit weights, and the page"):
        remote.dtype_of("http://127.0.0.1:1")
