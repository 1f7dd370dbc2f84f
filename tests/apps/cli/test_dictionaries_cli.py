"""`steer check`, `convert`, `labels`, `statistics`, `neighbours` and `contrast` on a tiny model."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

import pytest
import torch

from dictionaries import baselines, catalogue
from dictionaries.beside.labels import Label, Labels
from tests.support import tiny
from tests.support.command import Run

SITE = "resid_post.1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tiny model, a text, and two dictionaries of it: one that fits, and a random one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiny.build("llama").save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    words = random.Random(3).choices(range(3, tiny.VOCABULARY), k=600)
    (tmp_path / "text.txt").write_text(" ".join(f"w{word}" for word in words))
    model = tiny.tiny_model("llama")
    ids = torch.tensor(words).view(-1, 60)
    x = model.collect(ids, torch.ones_like(ids), [SITE])[SITE].flatten(0, 1)
    catalogue.save(baselines.pca(x, hookpoint=SITE), tmp_path / "fits")
    catalogue.save(tiny.dictionary(SITE), tmp_path / "random")
    return tmp_path


@pytest.fixture
def options(root: Path) -> list[object]:
    return ["--model", root / "model", "--text", root / "text.txt"]


COMMANDS = ["check", "convert", "statistics", "contrast", "neighbours"]
COMMANDS += ["labels import", "labels search", "labels set", "find"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, run: Run) -> None:
    answer = run(*command.split(), "--help")
    assert answer.code == 0
    assert f"Example: steer {command}" in " ".join(answer.out.split())


def test_check(run: Run, root: Path, options: list[object]) -> None:
    answer = run("check", root / "fits", *options, "--json")
    assert answer.code == 0
    data = json.loads(answer.out)
    assert (data["passed"], data["best"]) == (True, "as loaded")
    assert "loaded right" in " ".join(run("check", root / "fits", *options).out.split())


def test_a_check_that_fails_ends_in_1(run: Run, root: Path, options: list[object]) -> None:
    answer = run("check", root / "random", *options, "--json")
    assert answer.code == 1
    assert not json.loads(answer.out)["passed"]


def test_convert(run: Run, root: Path) -> None:
    answer = run("convert", root / "random", root / "copy", "--to", "dictionary_learning", "--json")
    assert answer.code == 0
    assert catalogue.load(json.loads(answer.out)["written"]).architecture == "jumprelu"
    again = run("convert", root / "random", root / "copy", "--to", "saelens")
    assert (again.code, again.out) == (2, "")
    assert "is not empty" in again.err
    over = run("convert", root / "random", root / "copy", "--to", "saelens", "--overwrite")
    assert over.out.startswith("written:")


def test_labels(run: Run, root: Path) -> None:
    (root / "mine.csv").write_text("feature,label,f1\n5,a bridge,0.5\n6,towers,\n7,,\n")
    tiny.statistics(tiny.WIDTH).save(root / "random")
    of = ["--dictionary", root / "random"]
    assert "no labels" in run("labels", "search", "bridge", *of).err
    for _ in range(2):  # the second replaces the first
        data = json.loads(run("labels", "import", root / "mine.csv", *of, "--json").out)
        assert (data["imported"], data["blank"], data["kept"]) == (2, 1, 0)
    assert list(catalogue.labels(root / "random")) == [
        Label(5, "a bridge", "mine.csv", f1=0.5),
        Label(6, "towers", "mine.csv"),
    ]
    document = json.loads(run("labels", "search", "bridge", *of, "--json").out)
    assert [each["feature"] for each in document["hits"]] == [5]
    assert not document["measured"]
    assert "By labels alone" in document["note"]
    said = " ".join(run("labels", "search", "bridge", *of).out.split())
    assert "a bridge (F1 0.50)" in said
    assert "towers" in run("labels", "search", "towers", *of).out  # that nobody measured
    assert "Nothing matches “river”" in run("labels", "search", "river", *of).out
    card = ["feature", "5", *of, "--model", root / "model"]
    assert json.loads(run(*card, "--json").out)["labels"][0]["text"] == "a bridge"
    assert "a bridge  (mine.csv, F1 0.50)" in run(*card).out


def test_a_name_by_hand(run: Run, root: Path) -> None:
    data = json.loads(run("labels", "set", root / "random", 5, "bridges", "--writes", "--json").out)
    assert (data["side"], data["source"], data["text"]) == ("writes", "by hand", "bridges")
    assert Path(data["written"]) == root / "random" / "labels.jsonl"
    assert "reads towers (by hand)" in run("labels", "set", root / "random", 6, "towers").out
    of = ["--dictionary", root / "random"]
    assert "bridges (by hand)" in run("labels", "search", "bridges", *of).out
    again = run("labels", "set", root / "random", 999, "x")
    assert (again.code, "out of range" in again.err) == (2, True)


def test_find_and_labels_search_rank_alike(run: Run, root: Path) -> None:
    tiny.statistics(tiny.WIDTH).save(root / "random")
    run("labels", "set", root / "random", 5, "w20")
    of = ["--dictionary", root / "random", "--model", root / "model", "--json"]
    one = json.loads(run("find", "w20", *of).out)
    other = json.loads(run("labels", "search", "w20", *of).out)
    assert one["measured"]
    assert one["hits"] == other["hits"][: len(one["hits"])]
    assert one["hits"][0]["feature"] == 5
    for odd in ("-4", "<b>"):
        nothing = json.loads(run("find", *of, "--", odd).out)
        assert nothing["hits"] == []
        assert "search for words" in nothing["note"]


def test_labels_stand_beside_activations(run: Run, root: Path) -> None:
    Labels(Label(f, f"label of {f}", "s") for f in range(tiny.WIDTH)).save(root / "random")
    answer = run(
        "features", tiny.PROMPT, "--dictionary", root / "random", "--model", root / "model"
    )
    assert "(label of" in " ".join(answer.out.split())


def test_statistics(run: Run, root: Path) -> None:
    arguments = ["statistics", root / "random", "--corpus", root, "--model", root / "model"]
    data = json.loads(run(*arguments, "--json").out)
    assert (data["width"], data["corpus"]) == (tiny.WIDTH, "text.txt")
    assert 500 < data["tokens"] < 600
    of = ["--dictionary", root / "random", "--model", root / "model"]
    card = json.loads(run("feature", "5", *of, "--json").out)
    assert card["maximum"] > 0
    assert run("explain", "--clamp", "5=2x", *of).code == 0
    again = run(*arguments)
    assert (again.code, "--overwrite" in again.err) == (2, True)
    assert "features active on" in " ".join(run(*arguments, "--overwrite").out.split())


def test_statistics_that_a_card_vouches_for(run: Run, root: Path) -> None:
    tiny.statistics(tiny.WIDTH).save(root / "random")
    (root / "random" / "card.json").write_text('{"sha256": {"features.safetensors": "0"}}')
    arguments = ["--corpus", root, "--model", root / "model", "--overwrite"]
    answer = run("statistics", root / "random", *arguments)
    assert (answer.code, "its card vouches" in answer.err) == (2, True)


def test_neighbours(run: Run, root: Path) -> None:
    document = json.loads(run("neighbours", "5", "--dictionary", root / "random", "--json").out)
    assert len(document) == 10
    assert all(row["feature"] != 5 and -1 <= row["cosine"] <= 1 for row in document)
    assert "cosine" in run("neighbours", "5", "--dictionary", root / "random").out


def test_contrast(run: Run, root: Path) -> None:
    (root / "one.txt").write_text("w7 w8 w9\n\nw7 w9 w8\nw9 w8 w7\n")
    (root / "two.txt").write_text("w20 w21 w22\nw21 w20 w22\n")
    of = ["--dictionary", root / "random", "--model", root / "model"]
    arguments = ["contrast", "--first", root / "one.txt", "--second", root / "two.txt", *of]
    data = json.loads(run(*arguments, "--top", "3", "--json").out)
    assert (data["prompts"], len(data["features"])) == ([3, 2], 3)
    assert all(row["low"] <= row["difference"] <= row["high"] for row in data["features"])
    assert "95% interval" in " ".join(run(*arguments).out.split())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["check", "nowhere"], "neither a name of the catalogue nor a folder"),
        (["check", "random", "--text", "gone.txt"], "can't be read as text"),
        (["convert", "random", "copy", "--to", "onnx"], "formats: saelens"),
        (["convert", "random", "copy", "--to", "sparsify"], "can't be written"),
        (["labels", "import", "gone.json", "--dictionary", "random"], "can't be read as text"),
        (["labels", "import", "wide.csv", "--dictionary", "random"], "feature 48"),
        (["labels", "search", "a", "--dictionary", "nowhere"], "neither a name"),
        (["neighbours", "48", "--dictionary", "random"], "feature 48 is out of range"),
        (["statistics", "random", "--corpus", "gone.txt"], "can't be read as text"),
        (["statistics", "random", "--corpus", "model"], "holds no .txt files"),
        (["contrast", "--first", "wide.csv", "--second", "gone"], "can't be read as text"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], reason: str, run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    (root / "wide.csv").write_text("feature,label\n48,x\n")
    if arguments[0] in ("check", "statistics", "contrast"):
        arguments = [*arguments, "--model", "model"]
    answer = run(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert reason in answer.err
    assert len(answer.err.strip().splitlines()) == 1
