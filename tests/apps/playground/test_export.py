"""The state taken away: the Python script and the command line give exactly the app's text."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import steer
from apps.playground.state.setup import Row, Setup
from apps.playground.studio.studio import Shelf, Studio
from apps.playground.take_away.forms import forms, forms_view
from apps.playground.take_away.scripts import _edit, command_line, python_script
from dictionaries import catalogue
from steer import Ablate, Add, Clamp, Floor, Scale, Tokens
from steer.edits.conditions import Active
from tests.support import ROOT, tiny
from tests.support.command import Run

MODEL = ["--model", "m", "--dtype", "float32"]
LOAD = "steer.load('m', dtype='float32')"


@pytest.fixture
def studio(model_folder: Callable[[], Path], tmp_path: Path) -> Studio:
    """A tiny model and dictionary that both live in folders, as a script finds them."""
    folder = tmp_path / "dictionary"
    given = tiny.dictionary()
    catalogue.save(given, folder)
    assert given.statistics is not None
    given.statistics.save(folder)
    model = steer.load(str(model_folder()))
    return Studio(model, Shelf(model, [str(folder)]))


def setups(name: str) -> list[Setup]:
    """One that flags can say, one that they can't, and one whose order matters."""
    flags = (Row(name, Clamp(5, "2x max")), Row(name, Ablate(9)), Row(name, Add(11, -1.5)))
    ordered = (Row(name, Add(5, 1.0)), Row(name, Clamp(5, 3.0)), Row(name, Scale(5, 2.0)))
    files = (Row(name, Floor(5, "1.5x max", positions=(1, 2))), Row(name, Scale(7, 3.0)))
    return [
        Setup(tiny.PROMPT, rows=flags, max_new_tokens=8, seed=3),
        Setup(tiny.PROMPT, rows=files, max_new_tokens=8, temperature=0.0),
        Setup(tiny.PROMPT, rows=ordered, max_new_tokens=8, in_order=True),
    ]


def by_shell(command: list[str], folder: Path) -> str:
    """What a process of its own prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("which", [0, 1, 2])
def test_script_and_command_give_the_same_text(
    studio: Studio, which: int, run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    setup = setups(studio.default)[which]
    expected = studio.run(setup).text
    text_of = forms(studio, setup)
    capsys.readouterr()
    exec(compile(text_of["python"], "script", "exec"), {})
    assert capsys.readouterr().out == expected + "\n"
    if "cat >" in text_of["shell"]:  # a file is written first
        shell = f'steer() {{ "{sys.executable}" -c "from apps.cli import main; main()" "$@"; }}\n'
        printed = by_shell(["bash", "-euc", shell + text_of["shell"]], tmp_path)
    else:
        printed = run(*shlex.split(text_of["shell"].replace("\\\n", " "))[1:]).out
    assert json.loads(printed)["steered"] == expected
    assert studio.run(Setup.from_json(text_of["json"])).text == expected
    assert studio.run(Setup.from_fragment(text_of["link"].removeprefix("#s="))).text == expected


def test_flags_where_they_can_say_it() -> None:
    one, other, ordered = setups("some/name")
    assert "--add 5=1.0 \\\n  --clamp 5=3.0 \\\n  --scale 5=2.0 \\\n  --in-order" in command_line(
        ordered, "p", MODEL
    )
    assert "--clamp '5=2x max'" in command_line(one, "p", MODEL)
    assert "cat >" not in command_line(one, "p", MODEL)
    assert "--edit edit-1.json" in command_line(other, "p", MODEL)


def test_prompts_are_quoted() -> None:
    setup = Setup("x", rows=(Row("d", Ablate(1)),))
    prompt = '-n it\'s\n$(rm -rf ~) `x` "y" 🙂'
    assert (
        by_shell(
            [
                "bash",
                "-c",
                'steer() { printf %s "${@: -1}"; }\n' + command_line(setup, prompt, MODEL),
            ],
            Path.cwd(),
        )
        == prompt
    )
    names: dict[str, object] = {}
    script = python_script(setup, prompt, LOAD)
    exec("\n".join(script.splitlines()[3:4]), names)
    assert names["prompt"] == prompt


def test_edits_that_have_no_short_form() -> None:
    edit = Clamp(1, 2.0, when=Active(3))
    script = python_script(Setup("x", rows=(Row("d", edit),)), "x", LOAD)
    assert "edit_from_dict" in script
    compile(script, "script", "exec")


def test_a_script_imports_all_that_it_names() -> None:
    edit = Clamp(1, 2.0, positions=Tokens(" the", 7))
    line = _edit(edit)
    assert eval(line, {"steer": steer}) == edit


def test_without_edits_the_command_says_so() -> None:
    assert command_line(Setup("x"), "x", MODEL).startswith("#")
    compile(python_script(Setup("x"), "x", LOAD), "script", "exec")


def test_the_four_forms_are_shown_as_text() -> None:
    text_of = {"link": "<a>", "python": "<b>", "shell": "<i>", "json": "<u>"}
    assert "&lt;a&gt;" in forms_view(text_of)
    assert "<u>" not in forms_view(text_of)
