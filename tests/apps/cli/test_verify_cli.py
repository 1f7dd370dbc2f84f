"""`steer verify` on a tiny model."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

import pytest

from dictionaries import catalogue
from tests.support import tiny
from tests.support.command import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, a dictionary, and prompts."""
    root = tmp_path_factory.mktemp("verify")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiny.build("llama").save_pretrained(root / "model")
    tiny.tokenizer().save_pretrained(root / "model")
    sae = tiny.dictionary("resid_post.1", seed=3)
    catalogue.save(sae, root / "sae")
    assert sae.statistics is not None
    sae.statistics.save(root / "sae")
    chance = random.Random(0)
    texts = [" ".join(f"w{chance.randrange(3, 96)}" for _ in range(4)) for _ in range(5)]
    (root / "prompts.txt").write_text("\n".join(texts))
    return root


def places(folder: Path) -> list[str]:
    return ["--dictionary", str(folder / "sae"), "--model", str(folder / "model")]


def options(folder: Path) -> list[str]:
    prompts = ["--prompts", str(folder / "prompts.txt"), "--draws", "4"]
    return ["--clamp", "5=3", "--more", "w5", *prompts, *places(folder)]


def test_a_verdict_and_again(folder: Path, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "verdict.json"
    code, out, err = run("verify", *options(folder), "--out", str(file), "--json")
    assert (code, err) == (0, "")
    data = json.loads(out)
    assert {"verdict", "effect", "controls", "protocol"} <= set(data)
    assert json.loads(file.read_text()) == data
    assert data["claim"] == {"more": ["w5"], "less": [], "chosen": False}
    again = run("verify", "--again", str(file), "--model", str(folder / "model"), "--json")
    assert again.code == 0
    assert json.loads(again.out) == {"same": True, "said": data["verdict"], **data}


def test_many_edits(folder: Path, run: Run, tmp_path: Path) -> None:
    """Lines, or a folder; a shard of them has its part."""
    (tmp_path / "edits.txt").write_text("5=3\n7=2\n")
    common = [*options(folder)[2:], "--json"]
    several = run("verify", "--edits", tmp_path / "edits.txt", *common)
    assert (several.code, several.err) == (0, "")
    verdicts = json.loads(several.out)["verdicts"]
    assert [row["name"] for row in verdicts] == ["5=3", "7=2"]
    edits = tmp_path / "edits"
    edits.mkdir()
    for row in verdicts:
        text = json.dumps(row["protocol"]["intervention"])
        (edits / f"{row['name']}.json").write_text(text)
    rows = tmp_path / "rows.jsonl"
    asked = ["verify", "--edits", edits, *common, "--file", rows]
    part = json.loads(run(*asked, "--shard", "1/2").out)
    assert (part["units"], part["shard"]) == (1, "1/2")


def test_another_verdict_exits_with_1(folder: Path, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "verdict.json"
    run("verify", *options(folder), "--out", str(file))
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, "verdict": "harms everyone"}))
    answer = run("verify", "--again", str(file), "--model", str(folder / "model"))
    assert answer.code == 1
    assert "another verdict than harms everyone" in answer.out


def test_what_people_read(folder: Path, run: Run) -> None:
    answer = run("verify", *options(folder))
    assert answer.code == 0
    assert answer.out.startswith("Verdict: ")
    for words in ("random direction", "equal density", "sign turned", "wrong site", "asking"):
        assert words in answer.out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--clamp", "5=3", "--less", "w5"], "give --more too"),
        (["--again", "none.json", "--seed", "3"], "says all: leave out --"),
        (["--clamp", "5=3", "--more", "w5", "--less", "w5"], "on one side only"),
        ([], "no edit was given"),
        (["--clamp", "5=3", "--shard", "1/2"], "give them with --edits"),
        (["--edits", "none.txt"], "none.txt"),
        (["--edits", "none.txt", "--ablate", "5"], "leave out those beside it"),
        (["--edits", "none.txt", "--out", "x"], "give --file"),
    ],
)
def test_bad_input_is_one_line(folder: Path, run: Run, more: list[str], words: str) -> None:
    answer = run("verify", *more, *places(folder))
    assert answer.code == 2
    assert words in answer.err


def test_no_protocol_to_run_again(folder: Path, run: Run) -> None:
    answer = run("verify", "--again", "none.json", "--model", str(folder / "model"))
    assert answer.code == 2
    assert "can't be read" in answer.err
