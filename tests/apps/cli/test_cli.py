"""The command line on a tiny model: what it prints."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

import steer
from dictionaries import catalogue
from dictionaries.training.config import FROZEN
from steer.lm import default_model
from steer.shown import number
from tests.support.command import Run
from tests.support.tiny import PROMPT

COMMANDS = ["demo", "generate", "explain", "features", "feature", "dictionaries", "train"]
COMMANDS += ["calibrate", "schema", "import", "export", "fetch", "app", "docs"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, run: Run) -> None:
    answer = run(command, "--help")
    assert answer.code == 0
    assert f"Example: steer {command}" in answer.out


def test_help_lists_the_commands(run: Run) -> None:
    answer = run("--help")
    assert answer.code == 0
    assert all(command in answer.out for command in COMMANDS)
    panels = ["Edit", "Look", "Effects", "Dictionaries", "Evaluate", "Make"]
    heads = [line.split()[1] for line in answer.out.splitlines() if line.startswith("╭─")]
    assert [head for head in heads if head in panels] == panels
    assert "Commands" not in heads


def test_version(run: Run) -> None:
    assert run("--version").out == f"steer {version('sae-steer')}\n"


RECEIPT = {"feature", "kind", "acted_tokens", "before", "after", "relative_dose", "reason"}


def test_generate_as_json(run: Run, tiny_options: list[str]) -> None:
    edits = ["--clamp", "5=9", "--ablate", "7", "--scale", "9=2", "--add", "4=3"]
    answer = run("generate", PROMPT, *edits, "-n", "5", "--json", *tiny_options)
    assert answer.code == 0
    data = json.loads(answer.out)
    assert {"prompt", "baseline", "steered", "intervention", "receipt"} <= set(data)
    assert [entry["kind"] for entry in data["receipt"]] == ["clamp", "ablate", "scale", "add"]
    assert all(set(entry) >= RECEIPT for entry in data["receipt"])
    edit = steer.Intervention.from_dict(data["intervention"])
    model = steer.load(tiny_options[1], device="cpu")
    again = model.generate(PROMPT, edit, max_new_tokens=5, if_silent="ignore")
    assert (again.text, again.baseline.text) == (data["steered"], data["baseline"])


POSITIONS = {
    "last": [5],
    "3": [3],
    "-1": [5],
    "2:5": [2, 3, 4],
    "1, 4": [1, 4],
    'tokens "w31"': [PROMPT.split().index("w31")],
}


@pytest.mark.parametrize(("positions", "acted"), POSITIONS.items(), ids=POSITIONS)
def test_positions(positions: str, acted: list[int], run: Run, tiny_options: list[str]) -> None:
    arguments = ["--clamp", "5=9", f"--positions={positions}", "-n", "1", "--json"]
    output = json.loads(run("generate", PROMPT, *arguments, *tiny_options).out)
    assert output["receipt"][0]["acted_tokens"] == acted


def test_a_condition_and_a_schedule(run: Run, tiny_options: list[str]) -> None:
    typed = ["--when", "not (5 and not 5)", "--schedule", "after 2", "--json"]
    answer = run("generate", PROMPT, "--clamp", "5=5x", *typed, *tiny_options)
    edit = json.loads(answer.out)["intervention"]["edits"][0]
    assert edit["when"]["kind"] == "not"
    assert edit["schedule"] == {"kind": "after", "n": 2}


@pytest.mark.parametrize(
    ("error", "said"), [("keep", "live"), ("frozen", "frozen"), ("drop", "dropped")]
)
def test_the_error_policy_is_stated(
    error: str, said: str, run: Run, tiny_options: list[str]
) -> None:
    given = ["--clamp", "5=9", "--error", error, *tiny_options]
    if error != "frozen":  # which takes the error from a clean run of the same tokens
        data = json.loads(run("generate", PROMPT, *given, "-n", "2", "--json").out)
        assert data["error"] == [error]
        assert [entry["error"] for entry in data["receipt"]] == [error]
        assert f"error term {said}" in run("generate", PROMPT, *given, "-n", "2").out
    effect = json.loads(run("effects", PROMPT, *given, "--draws", "0", "--json").out)
    assert effect["error"] == [error]
    assert f"error term {said}" in run("effects", PROMPT, *given, "--draws", "0").out
    assert f"error {error}" in run("explain", *given).out


def test_effects_say_what_did_nothing(run: Run, tiny_options: list[str]) -> None:
    answer = run("effects", PROMPT, "--clamp", "5=9", "--positions", "40", *tiny_options)
    assert answer.code == 0
    assert "clamp 5 did nothing: no token is at positions 40" in " ".join(answer.out.split())


def test_generate_from_a_file(run: Run, folder: Path, tiny_options: list[str]) -> None:
    path = folder / "edit.json"
    answer = run("generate", PROMPT, "--edit", str(path), "-n", "2", "--json", *tiny_options)
    edit = json.loads(answer.out)["intervention"]
    assert steer.Intervention.from_dict(edit) == steer.Intervention.load(path)


def test_generate_for_people(run: Run, tiny_options: list[str]) -> None:
    answer = run("generate", PROMPT, "--clamp", "5=9", "--clamp", "6=1", "-n", "3", *tiny_options)
    assert answer.code == 0
    for word in ("baseline", "steered", "receipt", "clamp 5", "w7 w31"):
        assert word in answer.out


def test_features(run: Run, tiny_options: list[str]) -> None:
    answer = run("features", PROMPT, "--json", "--top", "3", *tiny_options)
    data = json.loads(answer.out)
    assert [row["token"] for row in data] == PROMPT.split()
    assert all(len(row["features"]) <= 3 for row in data)
    assert "w31" in run("features", PROMPT, *tiny_options).out


def test_feature(run: Run, tiny_options: list[str]) -> None:
    data = json.loads(run("feature", "5", "--json", *tiny_options).out)
    assert data["feature"] == 5
    assert {"density", "maximum", "promoted", "suppressed", "contexts"} <= set(data)
    assert len(data["promoted"]) == 10
    assert "feature 5 of" in run("feature", "5", *tiny_options).out


CARD = {"name", "hookpoint", "width", "l0", "fvu", "explained_variance", "dead_share"}
CARD |= {"shrinkage", "delta_ce", "ce_clean", "ce_spliced", "heldout_tokens", "train_tokens"}


def test_dictionaries(run: Run) -> None:
    cards = json.loads(run("dictionaries", "--json").out)
    assert [card["name"] for card in cards] == catalogue.names()
    assert all(set(card) >= CARD for card in cards)
    said = run("dictionaries")
    assert said.code == 0
    told = " ".join(said.out.split())
    baselines = [baseline for card in cards for baseline in card.get("baselines", ())]
    assert {baseline["frozen"] for baseline in baselines} == set(FROZEN)
    for baseline in baselines:
        assert f"{baseline['frozen']} frozen {number(baseline['explained_variance'])}" in told


def test_explain(run: Run, tiny_options: list[str]) -> None:
    answer = run("explain", "--clamp", "5=9", "--json", *tiny_options)
    assert answer.code == 0
    assert json.loads(answer.out)["plans"]
    assert run("explain", "--clamp", "5=9", *tiny_options).out.strip()


def test_schema(run: Run) -> None:
    people, machines = run("schema").out, run("schema", "--json").out
    assert json.loads(people)["type"] == "object"
    assert json.loads(machines) == json.loads(people)
    assert len(machines.splitlines()) == 1


def test_fetch_says_where(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEER_CACHE", str(tmp_path))
    default_model.folder().mkdir(parents=True)
    data = json.loads(run("fetch", "--json").out)
    assert data == {"model": "smollm2-135m", "folder": str(default_model.folder()), "sha256": None}
