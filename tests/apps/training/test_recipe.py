"""Training recipes, read."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.corpora import SOURCES
from apps.training.recipe import load_recipe
from dictionaries import catalogue
from dictionaries.errors import TrainingError
from steer.lm.hookpoints import parse
from tests.apps.training.conftest import GOOD, Write


def test_a_recipe(write: Write) -> None:
    recipe = load_recipe(str(write()))
    assert recipe.sites == ("resid_post.0", "resid_post.1")
    assert {site: config.k for site, config in recipe.train.items()} == {
        "resid_post.0": 4,
        "resid_post.1": 5,
    }
    assert {config.width for config in recipe.train.values()} == {40}
    assert recipe.corpora == {"sotu": 0.5, "news": 0.5}


def test_a_recipe_says_what_is_frozen(write: Write) -> None:
    path = write(("k = 5", 'k = 5\nfrozen = "soft decoder"\nleast_cosine = 0.9'))
    train = load_recipe(str(path)).train
    assert [config.frozen for config in train.values()] == ["nothing", "soft decoder"]
    assert train["resid_post.1"].least_cosine == 0.9


def test_the_shipped_recipe() -> None:
    recipe = load_recipe("smollm2-135m")
    assert set(recipe.corpora) <= set(SOURCES)
    assert {parse(site).kind for site in recipe.sites} == {"resid_post"}
    assert [f"{recipe.name}/{site}" for site in recipe.sites] == catalogue.names()


@pytest.mark.parametrize("name", catalogue.names())
def test_the_shipped_cards_are_of_the_shipped_recipe(name: str) -> None:
    recipe, card = load_recipe("smollm2-135m"), catalogue.read_card(name)
    dtype = {
        "candidates_dtype": card["train"]["candidates_dtype"]
    }  # the machine's, not the recipe's
    assert card["train"] == recipe.train[card["hookpoint"]].to_dict() | dtype
    assert (card["context"], card["seed"]) == (recipe.context, recipe.seed)
    assert card["corpora"] == recipe.corpora


BAD: dict[str, list[tuple[str, str]]] = {
    "unknown key": [("context = 16", "contexts = 16")],
    "unknown key of train": [("k = 4", "kk = 4")],
    "unknown key of a site": [("k = 5", "kk = 5")],
    "a table of no site": [('[train."resid_post.1"]', '[train."resid_post.7"]')],
    "no name": [('name = "tiny"', "")],
    "no corpora": [("[corpora]\nsotu = 0.5\nnews = 0.5", "")],
    "shares": [("news = 0.5", "news = 0.4")],
    "share as text": [("news = 0.5", 'news = "half"')],
    "unknown corpus": [("news = 0.5", "newss = 0.5")],
    "not TOML": [("tokens = 6400", "tokens = ")],
    "bad setting": [("k = 4", "k = 0")],
    "nothing that can be frozen": [("k = 4", 'k = 4\nfrozen = "rows"')],
    "setting of another type": [("width = 40", 'width = "wide"')],
    "architecture": [("width = 40", 'width = 40\narchitecture = "gated"')],
    "sites as text": [('sites = ["resid_post.0", "resid_post.1"]', 'sites = "resid_post.0"')],
    "train no table": [("[train]", "[[train]]"), ('[train."resid_post.1"]\nk = 5', "")],
    "not UTF-8": [("tiny", "tin\udcff")],
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD.keys())
def test_bad_recipes(changes: list[tuple[str, str]], tmp_path: Path) -> None:
    text = GOOD.replace("{model}", "smollm2-135m")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "recipe.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(TrainingError):
        load_recipe(str(path))


@pytest.mark.parametrize("name", ["nowhere", "", "/no/such.toml"])
def test_unknown_recipes(name: str) -> None:
    with pytest.raises(TrainingError, match="give a path, or one of smollm2-135m"):
        load_recipe(name)
