"""`steer reproduce`, `labels make`, `labels judge` and `check --full` on a tiny model."""

from __future__ import annotations

import json
import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from apps.labels.detected import make_labels
from apps.reproduce.settings import Settings
from apps.training.recipe import load_recipe
from dictionaries import catalogue
from dictionaries.architectures import JumpReLU
from dictionaries.beside.labels import Label, Labels
from dictionaries.dictionary import Dictionary
from steer.disk.merge import merge
from tests.support import toy
from tests.support.command import Run
from tests.support.judge import serving

RECIPE = """
name = "toy"
model = {model!r}
sites = ["resid_post.1"]
tokens = 30_000
heldout_share = 0.2
context = 64
harvest_dtype = "float32"
evaluation_dtype = "float32"
[corpora]
python = 1.0
[train]
architecture = "topk"
width = 64
k = 8
samples = 4096
batch = 256
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, a recipe, its activations and a dictionary trained on them."""
    from apps.training.train import run_recipe

    root = tmp_path_factory.mktemp("measuring")
    toy.model_folder(root / "model")
    (root / "toy.toml").write_text(RECIPE.format(model=str(root / "model")))
    run_recipe(load_recipe(str(root / "toy.toml")), root / "out", root / "work")
    return root


def common(root: Path) -> list[str]:
    return ["--recipe", str(root / "toy.toml"), "--work", str(root / "work"), "--json"]


def test_labels_of_every_feature(run: Run, trained: Path) -> None:
    folder = trained / "out" / "toy" / "resid_post.1"
    Labels([Label(3, "from elsewhere", "another tool")]).save(folder)
    code, out, err = run("labels", "make", str(folder), *common(trained))
    assert (code, err) == (0, "")
    data = json.loads(out)
    labels = Labels.load(folder)
    made = [label for label in labels if label.source == "steer"]
    assert data["labels"] == len(made) > 50
    for label in made:
        assert 0 <= (label.precision or 0) <= 1
        assert label.f1 is not None
    good = sum((label.f1 or 0) > 0.8 for label in made) / len(made)
    assert data["share_f1_above_0.8"] == pytest.approx(good)
    assert [label.text for label in labels if label.source == "another tool"] == ["from elsewhere"]
    again = json.loads(run("labels", "make", str(folder), *common(trained))[1])
    assert again == data
    assert list(Labels.load(folder)) == list(labels)
    word = made[0].text.split()[0]
    assert json.loads(run("labels", "search", word, "--dictionary", str(folder), "--json")[1])


@pytest.mark.parametrize("architecture", ["topk", "jumprelu"])
def test_labels_of_blocks_and_of_shards_are_those_of_the_whole(
    trained: Path, tmp_path: Path, architecture: str
) -> None:
    """A dictionary that ranks its features is encoded whole, another by block."""
    dictionary: Dictionary = catalogue.load(trained / "out" / "toy" / "resid_post.1")
    if architecture == "jumprelu":
        fields = {name: getattr(dictionary, name) for name in ("W_enc", "W_dec", "b_enc", "b_dec")}
        threshold = torch.full((dictionary.width,), 0.5)
        dictionary = JumpReLU(**fields, threshold=threshold, config=dictionary.config)
    recipe, work = load_recipe(str(trained / "toy.toml")), trained / "work"
    whole = make_labels(dictionary, recipe, work=work)
    assert len(whole) > 40
    files = [tmp_path / f"{number}.jsonl" for number in (3, 1, 2)]
    for number, file in zip((3, 1, 2), files, strict=True):
        make_labels(dictionary, recipe, work=work, block=10, file=file, shard=f"{number}/3")
    merge(files, tmp_path / "all.jsonl")
    joined = make_labels(dictionary, recipe, work=work, block=10, file=tmp_path / "all.jsonl")
    assert list(joined) == list(whole)


def test_a_judge_over_http(run: Run, trained: Path, tmp_path: Path) -> None:
    folder = trained / "out" / "toy" / "resid_post.1"
    feature = next(iter(Labels.load(folder))).feature if Labels.load(folder) else 0
    reply = json.dumps({"choices": [{"message": {"content": "1, 2, 3"}}]}).encode()
    with serving(*[(200, reply)] * 2) as (url, seen):
        code, out, err = run(
            *("labels", "judge", "--feature", str(feature), "--endpoint", url, "--judge", "stub"),
            *("--dictionary", str(folder), "--out", str(tmp_path), *common(trained)),
        )
    assert (code, err) == (0, "")
    (label,) = json.loads(out)
    assert (label["feature"], label["text"], label["source"]) == (feature, "1, 2, 3", "judge stub")
    assert "«" in seen[0]["messages"][0]["content"]
    assert label["text"] in seen[1]["messages"][0]["content"]
    assert [each.to_dict() for each in Labels.load(tmp_path)] == [label]


def test_a_judge_asked_by_two_processes(run: Run, trained: Path, tmp_path: Path) -> None:
    """Each asks for its own features; what is there is not asked for again."""
    folder = trained / "out" / "toy" / "resid_post.1"
    before = Labels.load(folder)
    chosen = sorted({label.feature for label in before})[:3]
    files = [tmp_path / f"{number}.jsonl" for number in (1, 2)]
    reply = json.dumps({"choices": [{"message": {"content": "1, 2, 3"}}]}).encode()
    with serving(*[(200, reply)] * 2 * len(chosen)) as (url, seen):
        asked = ["labels", "judge", "--endpoint", url, "--judge", "stub", *common(trained)]
        asked += [word for feature in chosen for word in ("--feature", str(feature))]
        asked += ["--dictionary", str(folder)]
        for number, file in enumerate(files, 1):
            code, out, err = run(*asked, "--shard", f"{number}/2", "--file", str(file))
            assert (code, err) == (0, "")
            assert json.loads(out)["units"] == 2 - number // 2
        assert Labels.load(folder) == before
        assert run("merge", *files, "--out", tmp_path / "all.jsonl").code == 0
        to = ["--out", str(tmp_path)]
        code, out, err = run(*asked, *to, "--file", str(tmp_path / "all.jsonl"))
        assert (code, err) == (0, "")
        assert len(seen) == 2 * len(chosen)
    assert [label["feature"] for label in json.loads(out)] == chosen
    assert [label.feature for label in Labels.load(tmp_path)] == chosen


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--feature", "9999"], "feature 9999 is out of range"),
        (["--feature", "1", "--score", "guess"], "score 'guess' is unknown"),
        (["--feature", "1", "--endpoint", "nowhere"], "an endpoint is a URL"),
    ],
)
def test_a_judge_with_bad_input(run: Run, trained: Path, options: list[str], said: str) -> None:
    folder = trained / "out" / "toy" / "resid_post.1"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        more = [] if "--endpoint" in options else ["--endpoint", address]
        code, _, err = run(
            *("labels", "judge", *options, *more, "--dictionary", str(folder), *common(trained))
        )
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_a_recipe_of_another_site(run: Run, trained: Path) -> None:
    text = (trained / "toy.toml").read_text().replace("resid_post.1", "resid_post.0")
    (trained / "other.toml").write_text(text)
    folder = trained / "out" / "toy" / "resid_post.1"
    code, _, err = run("labels", "make", str(folder), "--recipe", str(trained / "other.toml"))
    assert code == 2
    assert "recipe toy harvests resid_post.0, not resid_post.1" in err


def test_a_full_check(run: Run, trained: Path) -> None:
    folder = trained / "out" / "toy" / "resid_post.1"
    model = ["--model", str(trained / "model")]
    code, out, _ = run("check", str(folder), "--full", "--outliers", *model, "--json")
    assert code == 0
    data: dict[str, Any] = json.loads(out)
    assert data["sparsity"]["l0"] == pytest.approx(8, abs=0.5)
    assert data["about"]["outliers"] is True
    assert "explained_variance" in run("check", str(folder), "--full", *model)[1]


def test_reproduce_prints_the_table_it_wrote(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = partial(Settings, scale=0.05, tokens=30_000, corpora=toy.CORPORA, cache=tmp_path)
    monkeypatch.setattr("apps.reproduce.settings.Settings", small)
    model = str(toy.model_folder(tmp_path / "model"))
    code, out, err = run(
        *("reproduce", "frontier", "--fast", "--model", model, "--json"),
        *("--out", str(tmp_path / "results")),
    )
    assert code == 0
    assert err == "" or err.startswith("pictures left out: ")  # for want of a browser
    assert (tmp_path / "results" / "e1.svg").exists() == (err == "")
    assert json.loads(out) == json.loads((tmp_path / "results" / "e1.json").read_text())


def test_an_unknown_experiment(run: Run) -> None:
    code, _, err = run("reproduce", "e99")
    assert code == 2
    assert "no experiment 'e99'" in err
    assert "e1 (frontier)" in err
