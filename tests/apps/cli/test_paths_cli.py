"""`steer downstream`, `tree`, `direct` and `patch` on a tiny model."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

import pytest

from dictionaries import catalogue
from tests.support import tiny
from tests.support.command import Run
from tests.support.tiny import PROMPT

COMMANDS = ("downstream", "tree", "direct", "patch")
OTHER = "w7 w33 w12 w55 w40 w9"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, dictionaries of an early and of a late site, and texts."""
    root = tmp_path_factory.mktemp("paths")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiny.build("llama").save_pretrained(root / "model")
    tiny.tokenizer().save_pretrained(root / "model")
    for name, hookpoint, seed in (("early", "resid_post.0", 3), ("late", "resid_post.1", 9)):
        sae = tiny.dictionary(hookpoint, seed=seed)
        catalogue.save(sae, root / name)
        assert sae.statistics is not None
        sae.statistics.save(root / name)
    chance = random.Random(0)
    texts = [" ".join(f"w{chance.randrange(3, 96)}" for _ in range(5)) for _ in range(12)]
    (root / "texts.txt").write_text("\n".join(texts))
    return root


def arguments(folder: Path, command: str) -> list[str]:
    early, late = str(folder / "early"), str(folder / "late")
    options = {
        "downstream": [PROMPT, "--clamp", "5=3", "--dictionary", early, "--later", late],
        "tree": ["5", "--dictionary", late, "--dictionary", early, "--contexts", "2", "--hydra"],
        "direct": [PROMPT, "--clamp", "5=3", "--answer", "w5", "--dictionary", early],
        "patch": [PROMPT, OTHER, "--dictionary", early, "--ranking", "norm"],
    }
    extra = ["--texts", str(folder / "texts.txt")] if command == "tree" else []
    return [command, *options[command], *extra, "--model", str(folder / "model")]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, run: Run) -> None:
    answer = run(command, "--help")
    assert answer.code == 0
    assert f"Example: steer {command}" in answer.out


@pytest.mark.parametrize("command", COMMANDS)
def test_it_prints_a_table(command: str, folder: Path, run: Run) -> None:
    answer = run(*arguments(folder, command))
    assert (answer.code, answer.err.count("Traceback")) == (0, 0)
    assert "─" in answer.out


KEYS = {
    "downstream": {"features", "changed", "at", "overall", "matched"},
    "tree": {"nodes", "edges", "backups"},
    "direct": {"paths", "frozen", "promoted", "suppressed"},
    "patch": {"points", "area", "each", "fewest", "error"},
}


@pytest.mark.parametrize("command", COMMANDS)
def test_it_prints_one_json_document(command: str, folder: Path, run: Run) -> None:
    goal = ["--kl", "10"] if command == "patch" else []
    answer = run(*arguments(folder, command), *goal, "--json")
    assert answer.code == 0
    assert set(json.loads(answer.out)) >= KEYS[command]


PLOTS = {"downstream": [], "direct": [], "direct alone": ["--feature", "5"]}


@pytest.mark.parametrize("command", PLOTS)
def test_it_is_drawn_with_its_controls(
    command: str, folder: Path, run: Run, tmp_path: Path
) -> None:
    pytest.importorskip("plotly")
    file, given = tmp_path / "figure.html", arguments(folder, command.split()[0])
    if PLOTS[command]:
        given = [*given[:2], *PLOTS[command], *given[-4:]]
    answer = run(*given, "--plot", file, "--draws", "2")
    assert (answer.code, "2 matched features: active on" in answer.out) == (0, True)
    assert "as large as a random direction" in file.read_text()


def test_without_controls_there_is_nothing_said_of_them(folder: Path, run: Run) -> None:
    for command in ("downstream", "direct"):
        data = json.loads(run(*arguments(folder, command), "--draws", "0", "--json").out)
        rows = data["features"] if command == "downstream" else data["paths"] + data["promoted"]
        assert not any("random" in row for row in rows)
        assert data["matched"] is None
        assert "matched" not in run(*arguments(folder, command), "--draws", "0").out


def test_a_feature_alone(folder: Path, run: Run) -> None:
    options = ["--dictionary", str(folder / "early"), "--model", str(folder / "model")]
    one, two = (
        json.loads(run("direct", PROMPT, "--feature", "5", *amount, *options, "--json").out)
        for amount in ([], ["--amount", "2"])
    )
    assert two["promoted"][0]["delta_logit"] == 2 * one["promoted"][0]["delta_logit"]
    assert "─" in run("direct", PROMPT, "--feature", "5", *options).out
    both = run("direct", PROMPT, "--feature", "5", "--ablate", "5", *options)
    assert (both.code, "not both" in both.err) == (2, True)


BAD = {
    "downstream": ["--later", "{early}"],
    "tree": ["--dictionary", "{late}"],
    "direct": ["--answer", "w5 w6"],
    "patch": ["--error", "drop"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_bad_input_is_one_line(command: str, folder: Path, run: Run) -> None:
    places = {"early": folder / "early", "late": folder / "late"}
    extra = [each.format(**places) for each in BAD[command]]
    answer = run(*arguments(folder, command), *extra, "--json")
    assert answer.code == 2
    assert answer.err.startswith("steer: ")
    assert answer.err.strip().count("\n") == 0


def test_the_error_policy_is_stated(folder: Path, run: Run) -> None:
    for command in COMMANDS:
        data = json.loads(run(*arguments(folder, command), "--json").out)
        assert data["error"] == "keep"
        assert "error term live" in run(*arguments(folder, command)).out
    dropped = run(*arguments(folder, "downstream"), "--error", "drop")
    assert "error term dropped" in dropped.out


def test_several_pairs_each_have_their_fewest(folder: Path, run: Run, tmp_path: Path) -> None:
    third = "w9 w40 w55 w12 w33 w7"
    options = ["--dictionary", str(folder / "early"), "--model", str(folder / "model")]
    options += ["--error", "patch", "--kl", "1e-6"]
    alone = [
        json.loads(run("patch", *both, *options, "--json").out)
        for both in ((PROMPT, OTHER), (OTHER, third))
    ]
    together = json.loads(run("patch", PROMPT, OTHER, OTHER, third, *options, "--json").out)
    assert together["each"] == [each["each"][0] for each in alone]
    sizes = [len(each["minimal"]["nodes"]) for each in together["each"]]
    assert together["fewest"]["mean"] == sum(sizes) / 2
    assert together["fewest"]["reached"] == together["fewest"]["pairs"] == 2
    file = tmp_path / "pairs.tsv"
    file.write_text(f"{PROMPT}\t{OTHER}\n\n{OTHER}\t{third}\n")
    assert json.loads(run("patch", "--pairs", file, *options, "--json").out) == together


def test_a_pair_that_misses_the_goal_is_named_not_counted(folder: Path, run: Run) -> None:
    """With the base's error, the pair of equal last tokens alone comes so near."""
    options = ["--dictionary", str(folder / "early"), "--model", str(folder / "model")]
    texts = [PROMPT, PROMPT, PROMPT, OTHER]
    document = json.loads(run("patch", *texts, *options, "--kl", "1e-9", "--json").out)
    assert (document["fewest"]["reached"], document["fewest"]["pairs"]) == (1, 2)
    assert "not reached" in document["each"][1]["missed"]


@pytest.mark.parametrize(
    "texts", [[], [PROMPT], ["--pairs", "nowhere.tsv"], ["--pairs", "{folder}/texts.txt"]]
)
def test_what_are_no_pairs(texts: list[str], folder: Path, run: Run) -> None:
    answer = run("patch", *(text.format(folder=folder) for text in texts))
    assert answer.code == 2
    assert answer.err.startswith("steer: ")
