"""`steer evaluate` and `steer lm-eval` on a tiny model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import steer
from steer.evals.lm_eval.compare import TASKS
from tests.support import ROOT
from tests.support.command import Run


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """In the folder of the tiny model."""
    monkeypatch.chdir(folder)


TINY = ["--model", "model", "--limit", "4"]


def test_edits_by_file_and_by_option_are_rows_of_one_table(run: Run) -> None:
    both = os.pathsep.join(["edit.json", "other.json"])
    edits = ["--edit", "edit.json", "--edit", both, "--clamp", "5=2x", "--ablate", "7"]
    given = ["evaluate", "--tasks", "gender,ioi", *edits, "--dictionary", "sae", *TINY]
    answer = run(*given, "--json")
    assert (answer.code, answer.err) == (0, "")
    data = json.loads(answer.out)
    names = ["edit", "edit+other", "clamp 5=2x ablate 7"]
    rows = {(each["task"], each["metric"], each["edit"]) for each in data["differences"]}
    assert rows == {(t, m, e) for t in ("gender", "ioi") for m in ("acc", "margin") for e in names}
    assert [len(each["receipt"]) for each in data["receipts"]] == [2, 3, 2] * 2
    shown = run(*given)
    assert shown.code == 0
    assert "gender acc: " in shown.out
    assert "unedited, n=4" in shown.out
    assert "acted on" in " ".join(shown.out.split())


def test_without_an_edit_it_is_the_baseline(run: Run) -> None:
    answer = run("evaluate", "--tasks", "sentiment", *TINY)
    assert answer.code == 0
    assert "± standard error" in answer.out
    data = json.loads(run("evaluate", "--tasks", "sentiment", *TINY, "--json").out)
    assert [each["n"] for each in data["baseline"]] == [4, 4]
    assert data["differences"] == []


def test_an_edit_that_did_nothing_is_shown(run: Run, folder: Path) -> None:
    silent = steer.Intervention(str(folder / "sae"), [steer.Clamp(5, 2.0, positions=50)])
    silent.save(folder / "silent.json")
    answer = run("evaluate", "--tasks", "gender", "--edit", "silent.json", *TINY)
    assert answer.code == 0
    assert "did nothing" in " ".join(answer.out.split())


BAD: dict[str, list[str]] = {
    "no task": ["--tasks", ""],
    "no file": ["--tasks", "gender", "--edit", "nowhere.json"],
    "twice": ["--tasks", "gender", *["--edit", "edit.json"] * 3],
    "no value": ["--tasks", "gender", "--clamp", "5"],
    "feature": ["--tasks", "gender", "--clamp", "48=1", "--dictionary", "sae"],
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name: str, run: Run) -> None:
    answer = run("evaluate", *BAD[name], *TINY)
    assert answer.code == 2
    assert answer.err.strip().startswith("steer: ")
    assert len(answer.err.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["evaluate", "lm-eval"])
def test_help_has_an_example(command: str, run: Run) -> None:
    answer = run(command, "--help")
    assert answer.code == 0
    assert f"Example: steer {command}" in answer.out


@pytest.mark.filterwarnings("ignore::steer.SilentEditWarning")
def test_lm_eval_s_own_command_line_knows_the_model_type(run: Run, folder: Path) -> None:
    files = os.pathsep.join(["edit.json", "other.json"])
    arguments = f"pretrained={folder / 'model'},intervention={files}"
    given = ["--tasks", str(TASKS / "gender.yaml"), "--limit", "3", "--output_path", "out"]
    run("lm-eval", "run", "--model", "steer", "--model_args", arguments, *given)
    (written,) = (folder / "out").rglob("results*.json")
    receipt = json.loads(written.read_text())["config"]["steer"]["receipt"]
    assert [each["requests"] for each in receipt] == [6, 6, 6]
    assert receipt[0]["acted_requests"] == 6


@pytest.mark.filterwarnings("ignore::steer.SilentEditWarning")
@pytest.mark.parametrize("kept", [[], ["-o", "kept"], ["--output_path=kept/mine.json"]])
def test_the_results_of_lm_eval_s_own_command_line_as_json(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: list[str]
) -> None:
    arguments = f"pretrained={folder / 'model'},intervention={folder / 'edit.json'}"
    monkeypatch.chdir(tmp_path)
    given = ["--tasks", "gender", "--limit", "3", "--model", "steer", "--model_args", arguments]
    answer = run("lm-eval", "run", *given, *kept, "--json")
    assert answer.code == 0, answer.err
    assert len(answer.out.splitlines()) == 1
    data = json.loads(answer.out)
    assert data["results"]["gender"]["acc,none"] in (0, 1 / 3, 2 / 3, 1)
    assert data["config"]["steer"]["receipt"][0]["acted_requests"] == 6
    files = list(tmp_path.rglob("*.json"))
    assert [json.loads(file.read_text())["results"] for file in files] == [data["results"]] * len(
        kept[:1]
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["ls", "tasks"], "results of a run"),
        ([], "results of a run"),
        (["run", "--config", "x.yaml"], "--output_path"),
    ],
)
def test_json_of_what_has_no_results_is_refused(run: Run, given: list[str], says: str) -> None:
    answer = run("lm-eval", *given, "--json")
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err


def test_the_command_line_does_not_load_lm_eval() -> None:
    code = "import apps.cli, sys; assert not {'lm_eval', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
