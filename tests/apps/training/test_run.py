"""A whole training run on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from apps.training import contexts as contexts_module
from apps.training.baselines import Baseline, run_baseline
from apps.training.recipe import Recipe
from apps.training.train import run_recipe
from dictionaries import catalogue
from dictionaries.errors import TrainingError
from tests.support import tiny


def test_a_whole_run(recipe: Recipe, tmp_path: Path) -> None:
    seen: set[str] = set()
    folders = run_recipe(
        recipe,
        tmp_path / "out",
        tmp_path / "work",
        progress=lambda what, done, total: seen.add(what.split(":")[0]),
    )
    assert [f.relative_to(tmp_path / "out").as_posix() for f in folders] == [
        "tiny/resid_post.0",
        "tiny/resid_post.1",
    ]
    assert {"harvesting", "training resid_post.0"} <= seen
    for folder, k in zip(folders, (4, 5), strict=True):
        card = json.loads((folder / "card.json").read_text())
        sae = catalogue.load(folder)  # which checks its sums
        assert card["name"] == f"tiny/{folder.name}"
        assert sae.config.hookpoint == folder.name
        assert sae.statistics is not None
        assert sae.statistics.promoted.shape == (40, 10)
        assert card["l0"] == pytest.approx(k, rel=0.3)
        assert 0 < card["fvu"] < card["random_fvu"] < 1.5
        assert set(card["sha256"]) == {f.name for f in folder.iterdir()} - {"card.json"}
    before = [(f / "card.json").stat().st_mtime_ns for f in folders]
    assert run_recipe(recipe, tmp_path / "out", tmp_path / "work") == folders
    assert [(f / "card.json").stat().st_mtime_ns for f in folders] == before


def test_a_run_repeats(recipe: Recipe, tmp_path: Path) -> None:
    cards = []
    for name in ("one", "other"):
        (folder,) = run_recipe(
            recipe, tmp_path / name / "out", tmp_path / name / "work", sites=["resid_post.1"]
        )
        cards.append(json.loads((folder / "card.json").read_text()))
    assert cards[0] == cards[1]


def test_only_harvest(recipe: Recipe, tmp_path: Path) -> None:
    assert run_recipe(recipe, tmp_path / "out", tmp_path / "work", harvest_only=True) == []
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "work" / "activations" / "harvest.jsonl").exists()


def test_an_unknown_site(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no site resid_post\.9; it has resid_post\.0"):
        run_recipe(recipe, tmp_path / "out", tmp_path / "work", sites=["resid_post.9"])


def test_so_few_tokens_that_nothing_is_held_out(recipe: Recipe, tmp_path: Path) -> None:
    """Said before anything is trained, where a card could not be written after it."""
    work = tmp_path / "work"
    with pytest.raises(TrainingError, match="of the 1 contexts harvested are of documents"):
        run_baseline(recipe, Baseline("decoder", 64, recipe.context), tmp_path / "out", work)
    assert not (work / "resid_post.0").exists()


def test_heldout_documents_are_not_trained_on(recipe: Recipe) -> None:
    contexts = contexts_module.build_contexts(recipe, tiny.tokenizer(), Path("unused"))
    assert contexts.tokens.shape[1] == recipe.context
    assert contexts.heldout.float().mean() == pytest.approx(recipe.heldout_share, abs=0.03)
    assert len(contexts.tokens) == recipe.tokens // recipe.context
    counts = torch.bincount(contexts.source.long())
    assert counts.tolist() == [200, 200]
    first = {tuple(row) for row in contexts.tokens[contexts.heldout].tolist()}
    assert first.isdisjoint(map(tuple, contexts.tokens[~contexts.heldout].tolist()))
